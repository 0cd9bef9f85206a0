"""`Architecture`: a network's factorisation φ as an ordinary JAX function of its parameters; a value."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ._checks import real_array
from ._errors import UnsupportedPrimitiveError
from .display.latex import latex_name
from .display.text import card, key_values
from .exact.chains import is_product, recognised_chain
from .exact.parameters import Structure
from .exact.reading import require_derivative
from .exact.traced import TracedMap

if TYPE_CHECKING:
    from .exact.symbolic import SymbolicMap

Params = dict[str, Any]

#: A display lists so many factors and leaves out the middle of more.
_SHOWN_FACTORS = 12


@jax.tree_util.register_static
class Architecture:
    r"""A factorisation $z = \varphi(\theta)$: parameters with their shapes, and φ as a plain JAX function.

    The one place where a model is written. φ is traced once, in float64 and whatever the mode of JAX; numbers come
    from running what was traced, derivatives are those that JAX has for φ, and mathematics comes from interpreting
    the same program over another ring (`symbolic`), so φ should be polynomial or rational: `@`, `+`, `-`, `/`,
    `.T`, `reshape`, `einsum`, slices.

    An architecture is a value: two are equal if the names and shapes of their parameters are, and what their φ
    compute, constants included, is the same code. It does not matter what they are called and whether φ is a
    lambda, a method or a module. Equal architectures share everything that is compiled or derived.

    Args:
        phi: maps the parameters to one array $z$.
        shapes: the parameters: a dict of names and shapes, for example `{"U": (4, 2), "V": (3, 2)}`, or any pytree of
            shapes, arrays or `jax.ShapeDtypeStruct`s, such as nested dicts, lists, an equinox model or the
            variables of a flax model. φ is called with the same structure. Names are key paths,
            `"blocks/0/attn/Wq"`. Of a model the arrays of floats are parameters; all else is part of φ.
        name: how it is called in tables and figures.
        chain: declares that $\varphi = W_L \cdots W_1$ with the factors of these names, first layer first. It is
            verified, exactly. A chain that is not declared is recognised, where the factors are stored as
            $(d_l, d_{l-1})$.
        try_out: evaluate φ once at a random point, which checks that it is finite there. Ready-made families, whose
            φ is
            tested, skip it: JAX compiles every operation of a new shape.

    Attributes:
        phi: the function as given; `traced` is what is run.
        output_shape: the shape of $z$.
        size: the number of parameters $D$.
        chain: names of $W_1, …, W_L$ if φ is their product, else `None`.
        widths: $(d_0, …, d_L)$, input to output, of a chain, else `None`.

    Raises:
        ValueError: a shape with a non-positive or non-integer entry, a φ that does not return one float64 array, that
            is not finite at a random point, or a `chain` that is not φ.
        UnsupportedPrimitiveError: φ rounds its parameters to a type shorter than float64.

    Example:
        >>> arch = Architecture(lambda p: p["U"] @ p["V"].T, {"U": (4, 2), "V": (3, 2)}, name="factorisation")
        >>> arch.output_shape, arch.size
        ((4, 3), 14)
        >>> arch == Architecture(lambda q: q["U"] @ q["V"].T, {"U": (4, 2), "V": (3, 2)})
        True
    """

    phi: Callable[[Any], Any]
    name: str
    traced: TracedMap
    _structure: Structure
    _declared: tuple[str, ...] | None

    def __init__(
        self,
        phi: Callable[[Any], Any],
        shapes: Any,
        *,
        name: str = "architecture",
        chain: Sequence[str] | None = None,
        try_out: bool = True,
    ):
        if not callable(phi):
            raise ValueError(f"Argument `phi` must be a function of a dict of arrays, but is {phi!r}.")
        structure = Structure.of(shapes)
        flat = phi if structure.is_flat else lambda params: phi(structure.build(params))
        self._fill(phi, TracedMap(flat, structure.shapes), structure, str(name))
        if chain is not None:
            _check_chain(self, tuple(chain))
        self.__dict__["_declared"] = None if chain is None else tuple(chain)
        if try_out:
            _check_at_random_point(self)

    def _fill(self, phi: Any, traced: TracedMap, structure: Structure, name: str) -> None:
        self.__dict__.update(phi=phi, traced=traced, _structure=structure, name=name, _declared=None)

    def __setattr__(self, attribute: str, value: Any) -> None:
        raise AttributeError(f"An `Architecture` is a value: `{attribute}` cannot be set.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.traced == other.traced

    def __hash__(self) -> int:
        return hash(self.traced)

    def __copy__(self) -> Architecture:
        return self

    def __deepcopy__(self, memo: Any) -> Architecture:
        return self

    def __reduce__(self):
        # A jaxpr cannot be pickled; φ is traced anew. A lambda has no pickle: then pickle says so.
        return _restored, (self.phi, self._structure.template(), self.name, self._declared)

    @property
    def named_shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes of the factors, in the declared order."""
        return tuple(self.traced.shapes.items())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of each factor and its shape, in the declared order."""
        return dict(self.traced.shapes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of $z$."""
        return self.traced.output_shape

    @property
    def size(self) -> int:
        """The number of parameters $D$."""
        return sum(math.prod(shape) for shape in self.traced.shapes.values())

    @functools.cached_property
    def chain(self) -> tuple[str, ...] | None:
        """Names of $W_1, …, W_L$ if $\\varphi = W_L \\cdots W_1$, declared or recognised, else `None`."""
        return self._declared or recognised_chain(self.traced)

    @functools.cached_property
    def frozen(self) -> frozenset[str]:
        """The factors that φ depends on and does not train, by `stop_gradient` or a custom derivative of zero.

        Raises:
            UnsupportedPrimitiveError: JAX's derivative of φ differs from that of its value otherwise.
        """
        return require_derivative(self.traced)

    @property
    def widths(self) -> tuple[int, ...] | None:
        """$(d_0, …, d_L)$ of a chain of matrices, else `None`."""
        if self.chain is None:
            return None
        shapes = self.shapes
        return (shapes[self.chain[0]][1], *(shapes[name][0] for name in self.chain))

    def __call__(self, params: Any) -> jax.Array:
        """$z = \\varphi(\\theta)$ at parameters by name, or in the structure of the model.

        Jit-compatible, and so are its derivatives. Values are not looked at: see `check`.
        """
        return self.traced(self._flat(params))

    def check(self, params: Any, argument: str = "theta0") -> dict[str, jax.Array]:
        """The parameters by name, as arrays of JAX's float type in the declared order, or an error that says what
        is wrong.

        Not jit-compatible: it looks at values.

        Args:
            params: a dict of arrays by name, or the pytree that φ takes.
            argument: what the message calls it.

        Raises:
            ValueError: a missing or unknown name, a wrong shape, a complex, masked or non-numeric array, a non-finite
                entry.
        """
        given, expected = self.named(params, argument), self.traced.shapes
        if set(given) != set(expected):
            missing, unknown = (
                sorted(set(expected) - set(given)),
                sorted(map(str, set(given) - set(expected))),
            )
            raise ValueError(
                f"Argument `{argument}` must hold exactly the factors {list(expected)} of {self.name}, "
                f"but {missing or 'none'} missing and {unknown or 'none'} unknown."
            )
        checked = {}
        for factor, shape in expected.items():
            label = f"{argument}['{factor}']"
            value = real_array(given[factor], label, booleans=True)
            if value.shape != shape:
                raise ValueError(f"Argument `{label}` must have shape {shape}, but has shape {value.shape}.")
            checked[factor] = value.astype(jnp.result_type(float))
        # One transfer for all factors: this runs at every call of `solve`. A dict would come back with sorted keys.
        return dict(zip(checked, jax.device_put(list(checked.values())), strict=True))

    def named(self, params: Any, argument: str = "theta0") -> dict[str, Any]:
        """The leaves of parameters by name, unchecked, in whatever order and of whatever shape they are given."""
        return self._structure.named(params, argument)

    def as_pytree(self, params: Mapping[str, Any]) -> Any:
        """Parameters by name in the structure that φ takes: the inverse of `check`.

        Example:
            >>> arch = Architecture(lambda p: p["enc"]["W"] @ p["dec"][0], {"enc": {"W": (2, 3)}, "dec": [(3, 2)]})
            >>> list(arch.shapes)
            ['enc/W', 'dec/0']
            >>> arch.as_pytree({"enc/W": 1.0, "dec/0": 2.0})
            {'dec': [2.0], 'enc': {'W': 1.0}}
        """
        return self._structure.build(self._flat(params))

    def _flat(self, params: Any) -> Mapping[str, Any]:
        names = self.traced.shapes
        if isinstance(params, Mapping) and all(name in params for name in names):
            return params
        given = self.named(params, "params")
        if missing := sorted(set(names) - set(given)):
            raise ValueError(
                f"Argument `params` must hold the factors {list(names)}, but {missing} are missing."
            )
        return given

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
            inputs: $X$ of shape (n, d_0), one sample a row. Kept as given; exact computations read each entry as the
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
        samples = real_array(inputs, "inputs")
        if samples.ndim != 2 or samples.shape[1] != self.output_shape[1]:
            raise ValueError(
                f"Argument `inputs` must have shape (n, {self.output_shape[1]}), one sample a row, but has shape "
                f"{samples.shape}."
            )
        columns = samples.T

        def restricted(params: Params) -> jax.Array:
            return self.traced(params) @ jnp.asarray(columns, dtype=jnp.result_type(float))

        result = object.__new__(Architecture)
        label = f"{self.name} on {len(samples)} sample{'s' if len(samples) > 1 else ''}"
        result._fill(restricted, TracedMap(restricted, self.shapes), self._structure, label)
        return result

    def symbolic(self) -> SymbolicMap:
        """φ in SymPy: its symbols by name, $z$ as expressions, LaTeX. Read off the jaxpr of φ, exactly.

        Not jit-compatible. Float constants in φ are read as the simplest fraction that rounds to them.

        Raises:
            UnsupportedPrimitiveError: φ is not rational; the message names the operation and its source line.
        """
        from .exact.symbolic import symbolic_map

        return symbolic_map(self)

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
            facts.append(("widths", " → ".join(map(str, self.widths)) + ", a chain"))
        return [*facts, ("parameters", str(self.size)), ("z", _times(self.output_shape, "×") or "a number")]

    def _factors(self, form: str, sign: str) -> str:
        texts = [form.format(factor, _times(shape, sign)).rstrip() for factor, shape in self.named_shapes]
        if len(texts) <= _SHOWN_FACTORS:
            return ", ".join(texts)
        return f"{', '.join(texts[: _SHOWN_FACTORS - 2])}, …, {texts[-1]} ({len(texts)} factors)"

    def _map(self) -> tuple[str, str]:
        """φ in plain text and in LaTeX: the product of a chain, else the spaces."""
        if self.chain is not None:
            names, typeset = list(self.chain[::-1]), [latex_name(factor) for factor in self.chain[::-1]]
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


def _restored(phi: Any, template: Any, name: str, chain: tuple[str, ...] | None) -> Architecture:
    return Architecture(phi, template, name=name, chain=chain, try_out=False)


def _check_at_random_point(arch: Architecture) -> None:
    rng = np.random.default_rng(0)
    point = {factor: rng.standard_normal(shape) for factor, shape in arch.named_shapes}
    with jax.enable_x64(True):
        value = np.asarray(arch.traced(point))
    if not np.all(np.isfinite(value)):
        raise ValueError(
            f"Argument `phi` must be finite at a generic point, but {np.sum(~np.isfinite(value))} of "
            f"{value.size} entries of z are not."
        )


def _check_chain(arch: Architecture, chain: tuple[str, ...]) -> None:
    """Raise unless φ is the product, and JAX differentiates it as such: proofs and closed forms rest on it."""
    shapes = arch.traced.shapes
    if not chain or (unknown := [factor for factor in chain if factor not in shapes]):
        raise ValueError(
            f"Argument `chain` must name factors of `shapes`, but {unknown if chain else 'none'} are unknown."
        )
    if any(len(shapes[factor]) != 2 for factor in chain):
        raise ValueError("Argument `chain` must name matrices, but a factor in it is not two-dimensional.")
    for before, factor in itertools.pairwise(chain):
        if shapes[factor][1] != shapes[before][0]:
            raise ValueError(
                f"Argument `chain` must name matrices that can be multiplied, but '{factor}' of shape "
                f"{shapes[factor]} cannot follow a product with {shapes[before][0]} rows."
            )
    try:
        matches = is_product(arch.traced, chain)
    except UnsupportedPrimitiveError as error:
        raise ValueError(f"Argument `chain` must multiply to `phi`, but does not: {error}") from error
    if not matches:
        raise ValueError(
            "Argument `chain` must multiply to `phi`, with the derivative of the product, but does not (compared "
            "exactly, "
            "modulo a prime)."
        )
