r"""`from_model`: φ read off a model of parameters and inputs, so that nobody has to write it a second time."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import integer, integers
from .._errors import UnsupportedPrimitiveError
from .._precision import require_float64
from ..architecture import Architecture, Params
from ..exact import DivisionByZeroInRing, trace
from ..exact.rings.polynomials import Polynomials
from .relu_layers import find_relu_layers

Model = Callable[[Params, Any], Any]

#: Derivatives of degree k at 0 have (inputs)^k entries for each output.
MAX_DERIVATIVES = 200_000
MAX_TERMS = 20_000


@dataclasses.dataclass(frozen=True)
class Coefficients:
    r"""φ of a model that is a polynomial in its input: $z_{o,a}$ is the coefficient of $x^a$ in output o.

    $$\mathrm{model}(\theta, x)_o = \sum_a z_{o,a}(\theta)\, x^a$$

    Attributes:
        model: the model, `model(params, x)` for one sample.
        input_shape: the shape of x.
        monomials: for each column of z the indices of the entries of the raveled x that are multiplied, sorted; `()` is
            the constant.
    """

    model: Model
    input_shape: tuple[int, ...]
    monomials: tuple[tuple[int, ...], ...]

    def __call__(self, params: Params):
        size = math.prod(self.input_shape)
        dtype = jnp.result_type(float)

        def output(x):
            return jnp.ravel(self.model(params, jnp.reshape(x, self.input_shape)))

        columns: dict[tuple[int, ...], Any] = {}
        taylor, origin = output, np.zeros(size, dtype)
        for degree in range(max(map(len, self.monomials)) + 1):
            wanted = [one for one in self.monomials if len(one) == degree]
            if wanted:
                derivatives = taylor(origin)
                for one in wanted:
                    columns[one] = derivatives[(slice(None), *one)] * (1.0 / _factorial(one))
            taylor = jax.jacfwd(taylor)
        return jnp.stack([columns[one] for one in self.monomials], axis=1)

    def features(self, inputs: Any) -> np.ndarray:
        r"""(n, columns of z) the monomials $x^a$ of samples (n, *input_shape).

        The model's outputs are `features(inputs) @ z.T`, so `SquaredLoss(features(inputs), targets)` is its loss.

        Example:
            >>> arch = from_model(lambda p, x: (p["a"] @ x) ** 2, {"a": (2,)}, (2,))
            >>> arch.phi.features([[2.0, 3.0]])
            array([[4., 6., 9.]])

        Raises:
            ValueError: samples of another shape.
        """
        samples = np.asarray(inputs, dtype=np.float64)
        if samples.ndim != 1 + len(self.input_shape) or samples.shape[1:] != self.input_shape:
            raise ValueError(
                f"Argument `inputs` must have shape (n, {', '.join(map(str, self.input_shape))}), one sample a row, "
                f"but has shape {samples.shape}."
            )
        flat = samples.reshape(len(samples), -1)
        return np.stack([np.prod(flat[:, list(one)], axis=1) for one in self.monomials], axis=1)


def from_model(
    model: Model,
    shapes: Mapping[str, Sequence[int]],
    input_shape: Sequence[int] | int,
    *,
    name: str | None = None,
) -> Architecture:
    r"""The `Architecture` of a model: what its output depends on, read off its jaxpr.

    A model that is a polynomial in its input x depends on the parameters through the coefficients of that polynomial,
    $z_{o,a}$: linear networks, quadratic activations, linear attention, gated linear units, polynomial networks. A
    plain ReLU network (layers $\mathrm{relu}(Wh + b)$, the last one linear) depends on them through the products of
    weights along paths. Not jit-compatible (symbolic).

    Args:
        model: `model(params, x)` for one sample x, an ordinary JAX function.
        shapes: name and shape of each factor.
        input_shape: the shape of one sample.
        name: how the architecture is called; by default the name of the function.

    Returns:
        An architecture whose z has shape (outputs, coefficients that are not identically zero), outputs raveled. Its
        `phi` is a `Coefficients`, with `.monomials` and `.features(inputs)` for the loss; of a ReLU network a path
        lifting.

    Raises:
        UnsupportedPrimitiveError: the model is neither; the message names the operation and its line.
        ValueError: the polynomial has too many terms, or the output is no array.

    Example:
        >>> gate = from_model(lambda p, x: (p["U"] @ x) * (p["V"] @ x), {"U": (1, 2), "V": (1, 2)}, (2,), name="gate")
        >>> gate
        Architecture(gate: U[1, 2], V[1, 2] -> z[1, 3], 4 parameters)
        >>> print(gate.symbolic())
        z = Matrix([[U_{1,1}*V_{1,1}, U_{1,1}*V_{1,2} + U_{1,2}*V_{1,1}, U_{1,2}*V_{1,2}]])
    """
    require_float64("from_model")
    if not callable(model):
        raise ValueError(
            f"Argument `model` must be a function of parameters and one sample, but is {model!r}."
        )
    sizes = _input_sizes(input_shape)
    label = name or getattr(model, "__name__", "model").replace("<lambda>", "model")
    structs = _structs(model, shapes, sizes)
    try:
        monomials = _monomials(model, structs, sizes)
    except UnsupportedPrimitiveError as error:
        if error.primitive not in ("max", "select_n", "gt", "ge"):
            raise _not_a_polynomial(error) from error
        layers = find_relu_layers(model, {key: struct.shape for key, struct in structs.items()}, sizes)
        if layers is None:
            raise _not_a_polynomial(error, relu=True) from error
        return Architecture(layers, shapes, name=label)
    except _DividesByInputError as error:
        raise ValueError(
            "Argument `model` must be a polynomial in its input, but divides by a function of it. Normalise the data "
            "before, or write φ by hand: `Architecture(phi, shapes)` with the quantities on which the output depends. "
            "Divisions by parameters are fine."
        ) from error
    except DivisionByZeroInRing as error:
        raise ValueError(
            "Argument `model` must divide by parameters that are not identically zero, but divides by zero at a random "
            "point."
        ) from error
    return Architecture(Coefficients(model, sizes, monomials), shapes, name=label)


def _input_sizes(input_shape: Sequence[int] | int) -> tuple[int, ...]:
    if isinstance(input_shape, int | np.integer):
        return (integer(input_shape, "input_shape"),)
    return integers(input_shape, "input_shape", at_least=1, meaning="the shape of one sample")


def _structs(model: Model, shapes: Mapping[str, Sequence[int]], sizes: tuple[int, ...]) -> dict[str, Any]:
    """Shapes of the factors as JAX wants them, after one look at what the model returns."""
    if not isinstance(shapes, Mapping) or not shapes:
        raise ValueError(
            f"Argument `shapes` must be a non-empty dict of names and shapes, but is {shapes!r}."
        )
    structs = {key: jax.ShapeDtypeStruct(tuple(shape), np.float64) for key, shape in shapes.items()}
    try:
        output = jax.eval_shape(model, structs, jax.ShapeDtypeStruct(sizes, np.float64))
    except Exception as error:
        error.add_note(f"(while evaluating `model` on one sample of shape {sizes})")
        raise
    if not isinstance(output, jax.ShapeDtypeStruct) or not math.prod(output.shape):
        raise ValueError(f"Argument `model` must return one non-empty array, but returns {output}.")
    return structs


class _DividesByInputError(Exception):
    """A quotient whose denominator holds an entry of the input: no polynomial."""


class _InputPolynomials(Polynomials):
    """Polynomials in the entries of the input; the parameters are numbers, by which one may divide."""

    def reciprocal(self, x: np.ndarray) -> np.ndarray:
        entries = []
        for entry in np.ravel(x):
            if set(entry.terms) - {()}:
                raise _DividesByInputError
            if not entry:
                raise DivisionByZeroInRing("A denominator is zero at a random point.", np.array([True]))
            entries.append(1 / Fraction(int(entry.terms[()].p), int(entry.terms[()].q)))
        return self.from_fractions(np.array(entries, dtype=object).reshape(np.shape(x)))


def _monomials(model: Model, structs: dict[str, Any], sizes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The monomials in x whose coefficient is not identically zero in the parameters."""
    program = trace(model, structs, jax.ShapeDtypeStruct(sizes, np.float64))
    ring = _InputPolynomials()
    rng = np.random.default_rng(0)
    found: set[tuple[int, ...]] = set()
    # Random integers: a coefficient that is a non-zero polynomial vanishes at both points with probability 1e-11 or so.
    for _ in range(2):
        params = {
            key: ring.constant(rng.integers(-(10**6), 10**6, struct.shape)) for key, struct in structs.items()
        }
        output = program.evaluate(ring, params, ring.variables(sizes))
        for entry in np.ravel(output):
            found.update(entry.terms)
        if len(found) > MAX_TERMS:
            raise ValueError(
                f"Argument `model` must have at most {MAX_TERMS} coefficients, but has more than {len(found)}."
            )
    if not found:
        raise ValueError("Argument `model` must depend on something, but is identically zero.")
    degree, size = max(map(len, found)), math.prod(sizes)
    outputs = np.size(output)
    if size**degree * outputs > MAX_DERIVATIVES:
        raise ValueError(
            f"Argument `model` must have at most {MAX_DERIVATIVES} derivatives at 0, but degree {degree} in {size} "
            f"inputs with {outputs} outputs has {size**degree * outputs}. Shorten the sample."
        )
    return tuple(sorted(found, key=lambda one: (len(one), one)))


def _factorial(monomial: tuple[int, ...]) -> int:
    """a! of $x^a$: what a derivative at 0 has more than the coefficient."""
    return math.prod(math.factorial(len(list(group))) for _, group in itertools.groupby(monomial))


def _not_a_polynomial(error: UnsupportedPrimitiveError, relu: bool = False) -> UnsupportedPrimitiveError:
    what = (
        "but is a ReLU model that is no plain multilayer network (relu(W h + b) in every hidden layer, nothing else)"
        if relu
        else "but is not"
    )
    return UnsupportedPrimitiveError(
        f"Argument `model` must be a polynomial in its input with polynomial coefficients, or a plain ReLU network, "
        f"{what}: it uses `{error.primitive}` at {error.location}. Hint: a function applied to the output belongs in "
        "the loss; for softmax attention take φ = (Q K^T, V O) as `dlntheory.families.attention` does.",
        primitive=error.primitive,
        location=error.location,
    )
