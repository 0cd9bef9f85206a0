"""What is said when φ uses an operation that has no meaning over a ring: which, where, what instead."""

from __future__ import annotations

from typing import Any

from jax.extend import source_info_util

from .._errors import UnsupportedPrimitiveError

_NOT_POLYNOMIAL = "φ must be polynomial or rational; put the nonlinearity in the loss"
_RELU = (
    "φ must be polynomial or rational; a ReLU network is linear in its path products, `dln.relu_network(widths)` or "
    "`dlntheory.from_model`; or put the nonlinearity in the loss"
)
_ROOT = (
    "φ must be polynomial or rational, without roots; square it, since an invertible function of φ has the laws "
    "of φ: g^2 v v^T/(v^T v) stands for g v/|v|; or put the nonlinearity in the loss"
)
_COMPARISON = "φ must not compare or order parameters; a mask of constants is fine"
_LINEAR_ALGEBRA = "matrix factorisations are no rational maps; write φ with products, sums and quotients"
_PRECISION = "φ must stay in float64, since other types lose digits; remove the conversion"
_LOOP = "use a Python loop, or `fori_loop` and `scan` with a length that does not depend on parameters"
_GENERAL = "φ must be written with products, sums, quotients, constants and moves of entries"

_HINTS = {
    _NOT_POLYNOMIAL: (
        "tanh exp exp2 log log1p expm1 sin cos tan asin acos atan atan2 sinh cosh asinh acosh atanh logistic "
        "erf erfc erf_inv lgamma digamma abs sign min clamp reduce_max reduce_min floor "
        "ceil round nextafter cummax cummin cumlogsumexp rem reduce_window_max select_and_scatter_add "
        "is_finite"
    ),
    _RELU: "max",
    _COMPARISON: (
        "eq ne lt le gt ge eq_to lt_to le_to and or not xor sort argmax argmin top_k reduce_and reduce_or"
    ),
    _LINEAR_ALGEBRA: (
        "cholesky lu qr eig eigh svd schur triangular_solve custom_linear_solve householder_product geqrf "
        "hessenberg tridiagonal_solve lu_pivots_to_permutation fft"
    ),
    _ROOT: "sqrt rsqrt cbrt",
    _PRECISION: "convert_element_type reduce_precision bitcast_convert_type complex real imag",
    _LOOP: "while",
    "the branch must not depend on parameters; choose it with a Python `if`": "cond",
    "the exponent must be a constant integer; roots are removed by squaring": "pow",
}
_HINT_OF = {primitive: hint for hint, primitives in _HINTS.items() for primitive in primitives.split()}


def refusal(stack: list[Any], hint: str | None = None) -> UnsupportedPrimitiveError:
    """The error for the innermost equation of `stack`, a list of nested jaxpr equations, outermost first.

    The line of the outermost equation is the one in φ. The inner ones can be stale or missing, because JAX
    traces a jitted function once and remembers the lines of its first caller; so they are only added in
    brackets.
    """
    primitive = stack[-1].primitive.name
    lines = [source_line(eqn) for eqn in stack]
    location = next((line for line in lines if line), "unknown line")
    inner = next((line for line in reversed(lines) if line), location)
    inside = "" if inner == location else f" (in a function traced at {inner})"
    hint = hint or _HINT_OF.get(primitive, _GENERAL)
    return UnsupportedPrimitiveError(
        f"Argument `phi` must be exact over every ring, but uses `{primitive}` on parameters at "
        f"{location}{inside}. Hint: {hint}.",
        primitive=primitive,
        location=location,
    )


def source_line(eqn: Any) -> str:
    """`file:line:column (function)` of user code that made an equation, or an empty string.

    The file without its folders: messages end up in notebooks, which must not carry paths of a machine.
    """
    try:
        return source_info_util.summarize(eqn.source_info).replace("\\", "/").rpartition("/")[2]
    except (AttributeError, TypeError):
        # The location only serves the message: a JAX that stores it elsewhere must not turn a refusal into a
        # crash.
        return ""
