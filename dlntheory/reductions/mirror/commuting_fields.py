r"""Two tests for mirror structure: do the $\nabla\varphi_i$ commute, and is $\partial_k (K^{-1})_{ij}$ symmetric."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._precision import require_float64
from ...architecture import Architecture
from ...display.text import card, key_values
from ...exact.rings.polynomials import SparsePolynomial, sum_of_products
from ..entrywise.recognise import parameter_names, polynomials_of


@dataclasses.dataclass(frozen=True)
class BracketTest:
    r"""Whether all brackets $[\nabla\varphi_i, \nabla\varphi_j]$ vanish identically, decided in exact arithmetic.

    Attributes:
        commuting: whether they all do.
        pairs: how many pairs of outputs share a parameter and were computed before the answer was clear.
        outputs: indices into $z$ of the first pair that does not commute, or `None`.
        component: name of a parameter in whose direction that bracket is not 0, or "".
        witness: that component of the bracket as a polynomial, or "".
    """

    commuting: bool
    pairs: int
    outputs: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    component: str = ""
    witness: str = ""

    def __repr__(self) -> str:
        return f"BracketTest({'commuting' if self.commuting else 'not commuting'}, {self.pairs} pairs)"

    def __str__(self) -> str:
        return key_values(self.facts())

    def _repr_html_(self) -> str:
        return card("Brackets of the factors' fields", facts=self.facts())

    def facts(self) -> list[tuple[str, Any]]:
        """What a display shows: names and values."""
        rows: list[tuple[str, Any]] = [("commuting", self.commuting), ("pairs computed", self.pairs)]
        if self.outputs is not None:
            rows += [("first pair", f"z{list(self.outputs[0])}, z{list(self.outputs[1])}")]
            rows += [("component", f"{self.component}: {self.witness}")]
        return rows


def commuting_test(arch: Architecture) -> BracketTest:
    r"""Whether the gradient fields of all pairs of outputs commute, as polynomial identities.

    $[\nabla\varphi_i, \nabla\varphi_j] = \partial^2\varphi_j \nabla\varphi_i - \partial^2\varphi_i \nabla\varphi_j$.
    If all vanish, gradient flow is a mirror flow in $z$ from every start. A symbolic verb: not for jit.

    Args:
        arch: the architecture, with polynomial φ.

    Raises:
        UnsupportedPrimitiveError: φ is no polynomial.
        ValueError: φ divides by parameters, or is too large to be read.

    Validity:
        A proof in both directions. Not commuting does not exclude a mirror flow on one level set: see
        `symmetry_defect`.

    References:
        [li2022implicit], Theorem 4.8.

    Example:
        >>> import dlntheory as dln
        >>> commuting_test(dln.linear_network((2, 1, 1))).commuting
        False
    """
    polynomials = polynomials_of(arch)
    gradients = [entry.gradient() for entry in polynomials]
    owners: dict[int, list[int]] = {}
    for place, gradient in enumerate(gradients):
        for variable in gradient:
            owners.setdefault(variable, []).append(place)
    pairs = sorted({(i, j) for places in owners.values() for i in places for j in places if i < j})
    seconds: dict[int, dict[int, dict[int, SparsePolynomial]]] = {}

    def second(place: int) -> dict[int, dict[int, SparsePolynomial]]:
        if place not in seconds:
            seconds[place] = {variable: part.gradient() for variable, part in gradients[place].items()}
        return seconds[place]

    names = parameter_names(arch)
    for count, (i, j) in enumerate(pairs, start=1):
        left = _directional(second(j), gradients[i])
        right = _directional(second(i), gradients[j])
        for variable in sorted({*left, *right}):
            zero = SparsePolynomial({})
            component = left.get(variable, zero) - right.get(variable, zero)
            if component:
                shape = arch.output_shape or (1,)
                outputs = tuple(tuple(map(int, np.unravel_index(place, shape))) for place in (i, j))
                return BracketTest(
                    commuting=False,
                    pairs=count,
                    outputs=(outputs[0], outputs[1]),
                    component=names[variable],
                    witness=component.text(names),
                )
    return BracketTest(commuting=True, pairs=len(pairs))


@dataclasses.dataclass(frozen=True)
class SymmetryDefect:
    r"""How far $T_{kij} = \partial_k (K^{-1})_{ij}$ is from being symmetric at one point.

    Attributes:
        relative: $\|T_{kij} - T_{ikj}\| / \|T\|$, between 0 and 2; 0 where T vanishes.
        bracket: the largest bracket of two gradient fields, in outputs that make $M$ the identity, divided by the
            largest of the two terms that it is the difference of.
        rank: of $M = \partial\varphi\,\partial\varphi^\top$, the dimension on which $T$ is taken.
        outputs: the number of outputs.
    """

    relative: float
    bracket: float
    rank: int
    outputs: int


def symmetry_defect(arch: Architecture, theta: Mapping[str, Any]) -> SymmetryDefect:
    r"""The defect of total symmetry of $\partial_k (K^{-1})_{ij}$ at θ, where $K^{-1}$ would be a Hessian.

    $\partial_k M$ is the derivative of $M = \partial\varphi\,\partial\varphi^\top$ along
    $\partial\varphi^\top M^{-1} e_k$, which moves $z$ in direction $e_k$ and stays where training can get.
    Not jit-compatible.

    Args:
        arch: the architecture; φ any twice differentiable function, of at most a few hundred outputs.
        theta: a point.

    Raises:
        ValueError: a malformed `theta`, or φ is constant there.
        PrecisionError: JAX is in float32 mode.

    Validity:
        If M has full rank and is a function K of $z$ near θ, a defect excludes that $K^{-1}$ is a Hessian in the
        coordinates $z$. With a rank below the number of outputs T is taken on the range of M only.

    References:
        Elementary: a metric is a Hessian exactly if its first derivatives are totally symmetric (Poincaré's lemma).

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)})
        >>> bool(symmetry_defect(arch, dln.gaussian(arch, jax.random.key(0))).relative < 1e-13)
        True
    """
    require_float64("symmetry_defect")
    checked = arch.check(theta)
    count = math.prod(arch.output_shape)

    def flat_phi(vector):
        return jnp.ravel(arch(arch.unravel(vector)))

    point = arch.ravel(checked)
    jacobian, hessian = (np.asarray(part(flat_phi)(point)) for part in (jax.jacrev, jax.hessian))
    metric = jacobian @ jacobian.T
    values, vectors = np.linalg.eigh(metric)
    kept = values > 1e-10 * values[-1]
    if values[-1] == 0:
        raise ValueError(f"Argument `theta` must be a point where φ varies, but ∂φ = 0 there in {arch.name}.")
    basis = vectors[:, kept]
    # Coordinates in which M is the identity: T_kij becomes minus the derivative of M, term by term.
    fields = (basis / np.sqrt(values[kept])).T @ jacobian
    second = np.einsum("ka,aij->kij", (basis / np.sqrt(values[kept])).T, hessian)
    # <e_i, dM[f_k] e_j> = f_j . second_i f_k + f_i . second_j f_k, with f the orthonormal fields.
    moved = np.einsum("iab,kb->ika", second, fields)
    half = np.einsum("ika,ja->kij", moved, fields)
    tensor = half + np.swapaxes(half, 1, 2)
    # A full change of coordinates keeps total symmetry, so that the test may be made in these.
    size = float(np.linalg.norm(tensor))
    gap = float(np.linalg.norm(tensor - np.swapaxes(tensor, 0, 1)))
    brackets = moved - np.swapaxes(moved, 0, 1)
    scale = float(np.max(np.linalg.norm(moved, axis=2))) if moved.size else 0.0
    return SymmetryDefect(
        relative=gap / size if size else 0.0,
        bracket=float(np.max(np.linalg.norm(brackets, axis=2))) / scale if scale else 0.0,
        rank=int(np.sum(kept)),
        outputs=count,
    )


def _directional(
    second: dict[int, dict[int, SparsePolynomial]], direction: dict[int, SparsePolynomial]
) -> dict[int, SparsePolynomial]:
    """The derivative of a gradient, given by its own gradients, along a field: component by component."""
    parts = {}
    for variable, row in second.items():
        shared = [(part, direction[other]) for other, part in row.items() if other in direction]
        if shared:
            parts[variable] = sum_of_products(shared)
    return parts
