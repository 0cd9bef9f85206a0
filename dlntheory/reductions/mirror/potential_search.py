"""`mirror_potential`: the potential whose mirror flow training is, or why there is none, with numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..._errors import UnsupportedPrimitiveError
from ..._precision import require_float64
from ...architecture import Architecture
from ...display.progress import waiting
from ...display.text import card, key_values
from ...exact.reading import CUTS, DerivativeError
from ..base import FormError
from ..entrywise.chain import ScalarChainFlow
from ..entrywise.diagonal import DiagonalFlow
from ..entrywise.neuron import NeuronFlow
from ..entrywise.powers import PowersFlow
from ..entrywise.squares import SquaresFlow
from .commuting_fields import BracketTest, SymmetryDefect, commuting_test, symmetry_defect
from .mirror_potentials import (
    AbstractPotential,
    AbstractScalars,
    ChainScalars,
    EntropyScalars,
    MirrorPotential,
    PowersScalars,
    WarpedPotential,
)

#: A defect of symmetry below this is rounding.
ROUNDING = 1e-10


@dataclasses.dataclass(frozen=True)
class NoPotential:
    """The answer of `mirror_potential` where it has no potential to give.

    Attributes:
        network: name of the architecture.
        reason: why there is none, in words and numbers.
        brackets: the exact test of commuting gradient fields, or `None` where φ is no polynomial.
        symmetry: the defect of symmetry of the derivatives of the inverse metric at the start, or `None`.
    """

    network: str
    reason: str
    brackets: BracketTest | None = None
    symmetry: SymmetryDefect | None = None

    @property
    def exists(self) -> bool:
        """Always false."""
        return False

    def __repr__(self) -> str:
        return f"NoPotential({self.network}: {self.reason})"

    def __str__(self) -> str:
        found = [] if self.brackets is None else [("brackets", str(self.brackets))]
        rows = [("network", self.network), ("potential", "none"), ("reason", self.reason), *found]
        return key_values([*rows, *self._defect()])

    def _repr_html_(self) -> str:
        found = [] if self.brackets is None else self.brackets.facts()
        facts = [("reason", self.reason), *found, *self._defect()]
        return card(f"No mirror potential of {self.network}", facts=facts)

    def _defect(self) -> list[tuple[str, str]]:
        if self.symmetry is None:
            return []
        return [("symmetry defect", f"{self.symmetry.relative:.3g} (on rank {self.symmetry.rank})")]


def mirror_potential(
    arch: Architecture, theta0: Mapping[str, Any], *, progress: bool | None = None
) -> AbstractPotential | NoPotential:
    r"""The potential $\Phi$ with $\frac{d}{dt}\nabla\Phi(z) = -\nabla f(z)$ along training, for every loss.

    Known: diagonal networks, differences of squares and of higher powers, scalar chains of any depth; a neuron
    $z = u v$ with a scalar $u$ has a warped one, $\frac{d}{dt}\nabla Q(z) = -|u|\,\nabla f(z)$. Their form is read off
    the exact polynomials of φ. For any other φ two tests say what stands in the way.

    Not jit-compatible. Ctrl-C is raised, since half of a test says nothing.

    Args:
        arch: the architecture.
        theta0: the start, whose laws enter the potential.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Returns:
        A potential (`.exists` is true), or a `NoPotential` with the reason. An answer with commuting fields but no
        closed form says so.

    Raises:
        ValueError: a malformed `theta0`.
        PrecisionError: JAX is in float32 mode.

    References:
        [woodworth2020kernel] (hyperbolic entropy); [azulay2021implicit] (time warp); [li2022implicit]
        (commuting fields).

    Example:
        >>> import dlntheory as dln, numpy as np
        >>> arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}, name="diagonal")
        >>> mirror_potential(arch, {"u": np.array([1.0, 2.0]), "v": np.array([0.5, 1.0])})
        MirrorPotential(diagonal: mirror flow, d/dt grad Phi(z) = -grad f(z))
        >>> tied = dln.Architecture(lambda p: p["U"] @ p["U"].T, {"U": (2, 2)}, name="tied")
        >>> mirror_potential(tied, {"U": np.eye(2) + 0.1}).exists
        False
    """
    require_float64("mirror_potential")
    checked = arch.check(theta0)
    with waiting(f"looking for a potential of {arch.name}", progress):
        return _found(arch, checked)


def _found(arch: Architecture, checked: Mapping[str, Any]) -> AbstractPotential | NoPotential:
    for build in (_of_product, _of_squares, _of_powers, _of_chain, _of_neuron):
        try:
            answer = build(arch, checked)
        except FormError:
            continue
        except DerivativeError:
            raise
        except UnsupportedPrimitiveError as error:
            what = "is no polynomial" if error.primitive not in CUTS else "freezes a factor"
            return _tested(arch, checked, None, f"φ {what} ({error.primitive}): no closed form is known")
        if answer is not None:
            return answer
    try:
        brackets = commuting_test(arch)
    except FormError:
        return _tested(arch, checked, None, "φ could not be read as polynomials: no closed form is known")
    if brackets.commuting:
        reason = (
            "the gradient fields commute, so that training is a mirror flow from every start (Li et al. 2022), but no "
            "closed form of its potential is known here"
        )
        return NoPotential(arch.name, reason, brackets)
    assert brackets.outputs is not None
    left, right = (f"z{list(index)}" for index in brackets.outputs)
    return _tested(arch, checked, brackets, f"the gradient fields of {left} and {right} do not commute")


def _tested(
    arch: Architecture, checked: Mapping[str, Any], brackets: BracketTest | None, reason: str
) -> NoPotential:
    try:
        symmetry = symmetry_defect(arch, checked)
    except ValueError:
        return NoPotential(arch.name, f"{reason}; φ does not vary at the start", brackets)
    full = symmetry.rank == symmetry.outputs
    where = "" if full else f" on the range of the metric, of rank {symmetry.rank} of {symmetry.outputs}"
    if symmetry.relative > ROUNDING:
        reason += (
            f"; the largest bracket is {symmetry.bracket:.2g} of its terms, and the derivatives of the inverse metric "
            f"are off symmetry by {symmetry.relative:.2g}{where}"
        )
        if full:
            reason += ": even where the metric is a function of z, its inverse is no Hessian"
    else:
        reason += (
            f"; at this start the derivatives of the inverse metric are symmetric to rounding "
            f"({symmetry.relative:.1g}{where}), which leaves the question open"
        )
    return NoPotential(arch.name, reason, brackets, symmetry)


def _separable(
    flow: Any, checked: Mapping[str, Any], scalars: Callable[[dict[str, Any]], AbstractScalars], source: str
) -> AbstractPotential | NoPotential:
    if flow.mix is not None:
        raise FormError(
            f"Argument `arch` must be entrywise for a potential, but {flow.architecture.name} is a map of it."
        )
    condition = flow.condition(checked)
    if not condition.holds:
        return NoPotential(
            flow.architecture.name,
            f"the closed form needs that {condition.requirement}, but {condition.explanation}",
        )
    state = flow.initial(checked)
    start = flow.output(state)
    potential = MirrorPotential(
        arch=flow.architecture,
        start=start,
        scalars=scalars(state),
        scale=flow.scale,
        offset=flow.offset,
        origin=source,
    )
    bare = (start - flow.offset) / flow.scale
    dead = np.argwhere(np.asarray(potential.scalars.speed(bare)) == 0)
    if len(dead):
        shown = [list(map(int, index)) for index in dead[:4]]
        return NoPotential(
            flow.architecture.name,
            f"{len(dead)} entries of z start where all their gradients vanish and never move (the first "
            f"at {shown[0]}), so that no potential describes them: remove them",
        )
    return potential


def _of_product(arch: Architecture, checked: Mapping[str, Any]):
    flow = DiagonalFlow(arch)
    return _separable(
        flow,
        checked,
        lambda state: EntropyScalars(width=jnp.abs(state["lambda"]) / 2, factor=0.5),
        "[woodworth2020kernel]; [gunasekar2018characterizing]",
    )


def _of_squares(arch: Architecture, checked: Mapping[str, Any]):
    flow = SquaresFlow(arch)
    return _separable(
        flow,
        checked,
        lambda state: EntropyScalars(width=2 * jnp.abs(state["kappa"]), factor=0.25),
        "[woodworth2020kernel]",
    )


def _of_powers(arch: Architecture, checked: Mapping[str, Any]):
    flow = PowersFlow(arch)
    return _separable(
        flow,
        checked,
        lambda state: PowersScalars(a=state["a"], b=state["b"], exponent=flow.exponent),
        "[woodworth2020kernel] for u_0 = v_0; otherwise derived here",
    )


def _of_chain(arch: Architecture, checked: Mapping[str, Any]):
    flow = ScalarChainFlow(arch)
    return _separable(
        flow, checked, lambda state: ChainScalars(origin=state["p"], gaps=state["c"]), "derived here"
    )


def _of_neuron(arch: Architecture, checked: Mapping[str, Any]):
    flow = NeuronFlow(arch)
    if 1 not in flow.size:
        return None
    left, right = flow.factors(checked)
    number, vector = (left, right) if flow.size[0] == 1 else (right, left)
    if float(number[0]) == 0:
        return NoPotential(
            arch.name, "the warped potential needs a scalar factor that is not 0 at the start, but it is 0"
        )
    gap = number[0] ** 2 - jnp.sum(vector**2)
    return WarpedPotential(
        arch=arch, start=arch(dict(checked)), gap=gap, scale=flow.scale, offset=flow.offset
    )
