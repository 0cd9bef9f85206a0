"""`Architecture`: a network's factorisation φ as an ordinary JAX function of named arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .display.text import card, key_values

if TYPE_CHECKING:
    from .exact.symbolic import SymbolicMap

Params = dict[str, Any]

#: A display lists so many factors and leaves out the middle of more.
_SHOWN_FACTORS = 12


class Architecture(eqx.Module):
    r"""A factorisation $z = \varphi(\theta)$: named factors with their shapes, and φ as a plain JAX function.

    The one place where a model is written. Numbers come from calling it; mathematics comes from interpreting its
    jaxpr over another ring (`symbolic`), so φ should be polynomial or rational: `@`, `+`, `-`, `/`, `.T`, `reshape`,
    `einsum`, slices.

    Args:
        phi: maps a dict of named arrays to one array $z$.
        shapes: name of each factor and its shape, for example `{"U": (4, 2), "V": (3, 2)}`.
        name: how it is called in tables and figures.
        chain: declares that $\varphi = W_L \cdots W_1$ with the factors of these names, first layer first. The
            declaration is checked at a random point; closed forms for deep linear networks dispatch on it.
        try_out: evaluate φ once at a random point, which checks that it is finite and that `chain` multiplies to it.
            Ready-made families, whose φ is tested, skip it: JAX compiles every operation of a new shape.

    Attributes:
        output_shape: the shape of $z$.
        size: the number of parameters $D$.
        widths: $(d_0, …, d_L)$, input to output, if `chain` is declared, else `None`.

    Raises:
        ValueError: a shape with a non-positive or non-integer entry, a φ that does not return one float array, that
            loses precision (float32), that is not finite at a random point, or a `chain` that is not φ.

    Example:
        >>> arch = Architecture(lambda p: p["U"] @ p["V"].T, {"U": (4, 2), "V": (3, 2)}, name="factorisation")
        >>> arch.output_shape, arch.size
        ((4, 3), 14)
    """

    phi: Callable[[Params], Any] = eqx.field(static=True)
    named_shapes: tuple[tuple[str, tuple[int, ...]], ...] = eqx.field(static=True)
    name: str = eqx.field(static=True)
    chain: tuple[str, ...] | None = eqx.field(static=True)
    output_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        phi: Callable[[Params], Any],
        shapes: Mapping[str, Sequence[int]],
        *,
        name: str = "architecture",
        chain: Sequence[str] | None = None,
        try_out: bool = True,
    ):
        if not callable(phi):
            raise ValueError(f"Argument `phi` must be a function of a dict of arrays, but is {phi!r}.")
        self.phi = phi
        self.named_shapes = _checked_shapes(shapes)
        self.name = str(name)
        self.chain = None if chain is None else tuple(chain)
        self.output_shape = _checked_output_shape(phi, self.named_shapes)
        if try_out:
            _check_at_random_point(self)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of each factor and its shape, in the declared order."""
        return dict(self.named_shapes)

    @property
    def size(self) -> int:
        """The number of parameters $D$."""
        return sum(math.prod(shape) for _, shape in self.named_shapes)

    @property
    def widths(self) -> tuple[int, ...] | None:
        """$(d_0, …, d_L)$ of a declared chain of matrices, else `None`."""
        if self.chain is None:
            return None
        shapes = self.shapes
        return (shapes[self.chain[0]][1], *(shapes[name][0] for name in self.chain))

    def __call__(self, params: Params) -> jax.Array:
        """$z = \\varphi(\\theta)$; goes through jit, vmap, grad. Nothing is validated here: see `check`."""
        return self.phi(params)

    def check(self, params: Mapping[str, Any], argument: str = "theta0") -> dict[str, jax.Array]:
        """The parameters as arrays of JAX's float type in the declared order, or an error that names what is wrong.

        A host verb: it looks at values, so it cannot run under jit.

        Raises:
            ValueError: a missing or unknown name, a wrong shape, a complex or non-numeric array, a non-finite entry.
        """
        if not isinstance(params, Mapping):
            raise ValueError(
                f"Argument `{argument}` must be a dict of named arrays, but is {type(params).__name__}."
            )
        expected = self.shapes
        if set(params) != set(expected):
            missing, unknown = (
                sorted(set(expected) - set(params)),
                sorted(map(str, set(params) - set(expected))),
            )
            raise ValueError(
                f"Argument `{argument}` must hold exactly the factors {list(expected)} of {self.name}, "
                f"but {missing or 'none'} missing and {unknown or 'none'} unknown."
            )
        checked = {}
        for factor, shape in expected.items():
            value = np.asarray(params[factor])
            if value.dtype.kind not in "fiub":
                raise ValueError(
                    f"Argument `{argument}['{factor}']` must be real, but has dtype {value.dtype}."
                )
            if value.shape != shape:
                raise ValueError(
                    f"Argument `{argument}['{factor}']` must have shape {shape}, but has shape {value.shape}."
                )
            if not np.all(np.isfinite(value)):
                bad = int(np.sum(~np.isfinite(value)))
                raise ValueError(
                    f"Argument `{argument}['{factor}']` must be finite, but {bad} of {value.size} entries are not."
                )
            checked[factor] = np.asarray(value, dtype=jnp.result_type(float))
        # One transfer for all factors: this runs at every call of `solve`.
        return jax.device_put(checked)

    def ravel(self, params: Params) -> jax.Array:
        """The parameters as one vector (D,), factors in declared order, each row by row."""
        return jnp.concatenate([jnp.ravel(params[factor]) for factor, _ in self.named_shapes])

    def unravel(self, vector: jax.Array) -> Params:
        """The inverse of `ravel`."""
        params, start = {}, 0
        for factor, shape in self.named_shapes:
            stop = start + math.prod(shape)
            params[factor] = jnp.reshape(vector[start:stop], shape)
            start = stop
        return params

    def restricted_to(self, inputs: Any) -> Architecture:
        r"""The same network seen through one data set: $\varphi_X(\theta) = z X^\top$, its outputs at the inputs.

        Fewer functions of the parameters can be reached, so its laws are those of φ and possibly more.

        Args:
            inputs: $X$ of shape (n, d_0), one sample a row. Kept as given; exact verbs read each entry as the
                simplest fraction that rounds to it.

        Returns:
            An `Architecture` with the same factors and an output of shape (d_L, n), one sample a column.

        Raises:
            ValueError: $z$ is no matrix, or `inputs` has another shape or a non-finite entry.

        Example:
            >>> arch = Architecture(lambda p: p["U"] @ p["V"].T, {"U": (4, 2), "V": (3, 2)}, name="factorisation")
            >>> arch.restricted_to([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]])
            Architecture(factorisation on 2 samples: U[4, 2], V[3, 2] -> z[4, 2], 14 parameters)
        """
        if len(self.output_shape) != 2:
            raise ValueError(
                f"Argument `inputs` must meet a matrix z, but z of {self.name} has shape {self.output_shape}."
            )
        samples = np.asarray(inputs)
        if samples.dtype.kind not in "fiu":
            raise ValueError(f"Argument `inputs` must be real numbers, but has dtype {samples.dtype}.")
        if samples.ndim != 2 or not len(samples) or samples.shape[1] != self.output_shape[1]:
            raise ValueError(
                f"Argument `inputs` must have shape (n, {self.output_shape[1]}), one sample a row, but has shape "
                f"{samples.shape}."
            )
        if not np.all(np.isfinite(samples)):
            raise ValueError(
                f"Argument `inputs` must be finite, but {np.sum(~np.isfinite(samples))} of {samples.size} "
                "entries are not."
            )
        phi, columns = self.phi, np.array(samples.T, dtype=np.float64)
        return Architecture(
            lambda params: phi(params) @ jnp.asarray(columns, dtype=jnp.result_type(float)),
            self.shapes,
            name=f"{self.name} on {len(samples)} sample{'s' if len(samples) > 1 else ''}",
        )

    def symbolic(self) -> SymbolicMap:
        """φ in SymPy: its symbols by name, $z$ as expressions, LaTeX. Read off the jaxpr of φ, exactly.

        A symbolic verb: not for jit. Float constants in φ are read as the simplest fraction that rounds to them.

        Raises:
            UnsupportedPrimitiveError: φ is not rational; the message names the operation and its source line.
        """
        from .exact.symbolic import symbolic_map

        return symbolic_map(self.phi, self.shapes)

    def __repr__(self) -> str:
        factors = self._factors("{0}[{1}]", ", ")
        return f"Architecture({self.name}: {factors} -> z{list(self.output_shape)}, {self.size} parameters)"

    def __str__(self) -> str:
        return key_values([("architecture", self.name), ("map", self._map()[0]), *self._facts()])

    def _repr_html_(self) -> str:
        return card(f"Architecture {self.name}", formulas=self._map()[1], facts=self._facts())

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self._map()[1]}$"

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("factors", self._factors("{0} {1}", "×"))]
        if self.widths is not None:
            facts.append(("widths", " → ".join(map(str, self.widths)) + ", a declared chain"))
        return [*facts, ("parameters", str(self.size)), ("z", _times(self.output_shape, "×") or "a number")]

    def _factors(self, form: str, sign: str) -> str:
        texts = [form.format(factor, _times(shape, sign)).rstrip() for factor, shape in self.named_shapes]
        if len(texts) <= _SHOWN_FACTORS:
            return ", ".join(texts)
        return f"{', '.join(texts[: _SHOWN_FACTORS - 2])}, …, {texts[-1]} ({len(texts)} factors)"

    def _map(self) -> tuple[str, str]:
        """φ in plain text and in LaTeX: the product of a chain, else the spaces. Nothing is traced for a display."""
        from .exact.words.printing import letter_latex

        if self.chain is not None:
            names, typeset = list(self.chain[::-1]), [letter_latex(factor) for factor in self.chain[::-1]]
            if len(names) > _SHOWN_FACTORS:
                names[2:-1], typeset[2:-1] = ["…"], [r"\cdots"]
            return f"z = {' '.join(names)}", f"z = {' '.join(typeset)}"
        shapes = [*(shape for _, shape in self.named_shapes), self.output_shape]
        cross = r" \times "
        spaces = [f"ℝ^({_times(shape, '×')})" if shape else "ℝ" for shape in shapes]
        typeset = [
            rf"\mathbb{{R}}^{{{_times(shape, cross)}}}" if shape else r"\mathbb{R}" for shape in shapes
        ]
        if len(spaces) > _SHOWN_FACTORS:
            spaces[2:-2], typeset[2:-2] = ["…"], [r"\cdots"]
        domain = cross.join(typeset[:-1])
        return f"φ: {' × '.join(spaces[:-1])} → {spaces[-1]}", rf"\varphi : {domain} \to {typeset[-1]}"


def _times(shape: tuple[int, ...], sign: str) -> str:
    return sign.join(map(str, shape))


def _checked_shapes(shapes: Mapping[str, Sequence[int]]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    if not isinstance(shapes, Mapping) or not shapes:
        raise ValueError(
            f"Argument `shapes` must be a non-empty dict of names and shapes, but is {shapes!r}."
        )
    checked = []
    for factor, shape in shapes.items():
        if not isinstance(factor, str) or not factor:
            raise ValueError(f"Argument `shapes` must have non-empty strings as names, but has {factor!r}.")
        entries: tuple[Any, ...] = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not all(isinstance(n, (int, np.integer)) and n >= 1 for n in entries):
            raise ValueError(
                f"Argument `shapes['{factor}']` must be a tuple of positive integers, but is {shape!r}."
            )
        checked.append((factor, tuple(int(n) for n in entries)))
    return tuple(checked)


def _checked_output_shape(phi, named_shapes) -> tuple[int, ...]:
    dtype = jnp.result_type(float)
    structs = {factor: jax.ShapeDtypeStruct(shape, dtype) for factor, shape in named_shapes}
    try:
        output = jax.eval_shape(phi, structs)
    except Exception as error:
        error.add_note(f"(while evaluating `phi` on factors of shapes {dict(named_shapes)})")
        raise
    if not isinstance(output, jax.ShapeDtypeStruct):
        raise ValueError(f"Argument `phi` must return one array, but returns {type(output).__name__}.")
    if output.dtype != dtype:
        raise ValueError(
            f"Argument `phi` must keep the precision of its input ({dtype}), but returns {output.dtype}."
        )
    if math.prod(output.shape) == 0:
        raise ValueError(f"Argument `phi` must return a non-empty array, but returns shape {output.shape}.")
    return tuple(output.shape)


def _check_at_random_point(arch: Architecture) -> None:
    rng = np.random.default_rng(0)
    point = {factor: rng.standard_normal(shape) for factor, shape in arch.named_shapes}
    dtype = jnp.result_type(float)
    value = np.asarray(arch.phi({factor: jnp.asarray(array, dtype) for factor, array in point.items()}))
    if not np.all(np.isfinite(value)):
        raise ValueError(
            f"Argument `phi` must be finite at a generic point, but {np.sum(~np.isfinite(value))} of "
            f"{value.size} entries of z are not."
        )
    if arch.chain is None:
        return
    if unknown := [factor for factor in arch.chain if factor not in point]:
        raise ValueError(f"Argument `chain` must name factors of `shapes`, but {unknown} are unknown.")
    if any(point[factor].ndim != 2 for factor in arch.chain):
        raise ValueError("Argument `chain` must name matrices, but a factor in it is not two-dimensional.")
    product = point[arch.chain[0]]
    for factor in arch.chain[1:]:
        if point[factor].shape[1] != product.shape[0]:
            raise ValueError(
                f"Argument `chain` must name matrices that can be multiplied, but '{factor}' of shape "
                f"{point[factor].shape} cannot follow a product of shape {product.shape}."
            )
        product = point[factor] @ product
    scale = np.max(np.abs(product))
    if value.shape != product.shape or np.max(np.abs(value - product)) > 1e3 * jnp.finfo(dtype).eps * scale:
        raise ValueError("Argument `chain` must multiply to `phi`, but does not at a random point.")
