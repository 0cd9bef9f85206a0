"""`ClosedFlow`: a closed system of observables as a reduction that `solve` and `compare` take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp

from ..._checks import real_number
from ..._errors import NoReductionError
from ...architecture import Architecture
from ...families.relu import PathLifting
from ...training import State, Training
from ..base import CLOSURE, AbstractReduction, Condition, FormError
from .closed_system import AbstractClosedSystem
from .closure_search import search_closure
from .search_outcome import FULL_SPACE, explanation


class ClosedFlow(AbstractReduction):
    r"""The equations that `find_closure` has found: $\dot o = -T(o)[\nabla f(z(o))]$.

    Made by `Closure.dynamics`. Equations of matrices are integrated as the factors of a narrowed network, whose words
    are the observables: the rank of the network is kept by construction, where the observables themselves would leave
    it by rounding, as $e^{2st}$ (see `FactorForm`). Equations of single entries are integrated as they stand. Weight
    decay $\gamma$ adds $-\gamma \deg(o)\, o$ to each observable.

    Args:
        arch: the architecture.
        system: the closed system.
        loss: a function of $z$, or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        tolerance: the largest relative violation of a scalar law, $\|D - \lambda I\|_F / \max_l \|W_l\|_F^2$.

    Validity:
        Exact for every loss; from every start if no scalar laws are assumed, else from the starts that meet them.
        Matrix equations: with weight decay, rates and schedules by factor as well (the equations are then those of the
        factors; `statement` shows them for equal rates). Equations of single entries: with equal rates.

    Raises:
        ValueError: a loss that is no scalar function of $z$.
        NotApplicableError: layer rates with equations of single entries.
    """

    system: AbstractClosedSystem = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)

    label = "closed system"
    source = "derived by `dlntheory.find_closure`; setting of [marcotte2026intrinsic]"
    kind = CLOSURE
    order = 300.0

    def __init__(
        self,
        arch: Architecture,
        system: AbstractClosedSystem,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        tolerance: float = 1e-10,
    ):
        self.system = system
        self.tolerance = real_number(tolerance, "tolerance", minimum=0)
        super().__init__(arch, loss, weight_decay=weight_decay)

    @classmethod
    def from_start(
        cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None, *, time_limit: float = 20.0
    ) -> Self:
        if isinstance(arch.phi, PathLifting):
            raise FormError(f"Argument `arch` must be no path lifting for a closure, but {arch.name} is one.")
        found = search_closure(arch, time_limit=time_limit)
        if found.system is None:
            raise NoReductionError(f"{found.status}: {explanation(found.attempts)}")
        if found.status == FULL_SPACE:
            raise NoReductionError(
                f"{found.status}: the observables determine the {arch.size} parameters up to finitely many choices"
            )
        return cls(arch, found.system, loss)

    def check_training(self, training: Training) -> None:
        training.check(self.architecture)
        self.system.check(training)

    @property
    def statement(self) -> str:
        lines = self.system.latex_lines()
        if sum(map(len, lines)) > 2000:
            return r"\dot o = -T(o)\left[\nabla f(z(o))\right]"
        return r"\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}"

    @property
    def exactness(self) -> str:
        rules = self.system.rules
        where = "every start" if not rules else "starts where " + " and ".join(rules)
        return f"exact for every loss and {where}"

    @property
    def is_smaller(self) -> bool:
        """Whether fewer numbers are integrated than the network has parameters."""
        return self.system.variables < self.architecture.size

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        if not self.system.rules:
            return super().condition(theta0)
        found = self.system.violations(theta0)
        worst = max(measured for measured, _ in found.values())
        return Condition(
            requirement=" and ".join(found),
            measured=worst,
            tolerance=self.tolerance * max(scale for _, scale in found.values()),
            explanation="; ".join(
                f"{rule} is off by {measured:.3g}" for rule, (measured, _) in found.items()
            ),
            expected_error=worst / 2,
            remedy="Close the architecture without `balanced`, or take a λ-balanced start.",
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return self.system.integrated(theta0)

    def velocity(self, t: Any, state: State) -> State:
        assert self.training is not None  # `solve` refuses an unbound reduction
        return self.system.integrated_velocity(t, state, self.training)

    def output(self, state: State) -> Any:
        return self.system.integrated_output(state)

    def observables(self, state: State) -> State:
        """The observables of a state, by their names in the equations. Pure."""
        return self.system.integrated_observables(state)

    def conserved(self, state: State) -> dict[str, Any]:
        if self.training is None or self.training.is_decaying or self.training.rates:
            return {}
        observables = self.observables(state)
        return {law.text: law.value(observables) for law in self.system.laws}

    def monitors(self, state: State) -> dict[str, Any]:
        sizes = [jnp.max(jnp.abs(value)) for value in self.observables(state).values()]
        return {"largest entry of the observables": jnp.max(jnp.stack(sizes))}

    def _notes(self) -> list[str]:
        if self.is_smaller:
            return []
        return ["Nothing is gained: the network is its own smallest closed system that is known."]
