"""`ClosedFlow`: a closed system of observables as a reduction that `solve` and `compare` take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import NoReductionError, NotApplicableError
from ...architecture import Architecture
from ...exact.words.reading import Word, word_value
from ...families.relu import PathLifting
from ...training import State, Training
from ..base import CLOSURE, AbstractReduction, Condition, FormError
from .closed_system import AbstractClosedSystem
from .observable_laws import ObservableLaw
from .words.matrix_system import WordSystem
from .words.scalar_law_rewriting import Rule


class ClosedFlow(AbstractReduction):
    r"""The equations that `find_closure` has found: $\dot o = -T(o)[\nabla f(z(o))]$.

    Made by `Closure.dynamics`. Weight decay $\gamma$ adds $-\gamma \deg(o)\, o$ to each observable.

    Args:
        arch: the architecture.
        system: the closed system.
        rules: the scalar laws on which it rests, measured at every start.
        laws: conserved functions of the observables.
        loss: a function of $z$, or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        tolerance: the largest relative violation of a scalar law, $\|D - \lambda I\|_F / \max_l \|W_l\|_F^2$.

    Validity:
        Exact for every loss; from every start if there are no rules, else from the starts that meet them.

    Raises:
        ValueError: a loss that is no scalar function of $z$, or weight decay with a rule whose λ is not zero.
    """

    system: AbstractClosedSystem = eqx.field(static=True)
    rules: tuple[Rule, ...] = eqx.field(static=True)
    laws: tuple[ObservableLaw, ...] = eqx.field(static=True)
    tolerance: float

    label = "closed system"
    source = "derived by `dlntheory.find_closure`; setting of [marcotte2026intrinsic]"
    kind = CLOSURE
    order = 300.0

    def __init__(
        self,
        arch: Architecture,
        system: AbstractClosedSystem,
        rules: tuple[Rule, ...] = (),
        laws: tuple[ObservableLaw, ...] = (),
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        tolerance: float = 1e-10,
    ):
        self.system, self.rules, self.laws = system, rules, laws
        self.tolerance = float(tolerance)
        super().__init__(arch, loss, weight_decay=weight_decay)

    @classmethod
    def from_start(
        cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None, *, time_limit: float = 20.0
    ) -> Self:
        # Imported here, since the search makes the flows that it finds.
        from .closure_result import FULL_SPACE
        from .closure_search import find_closure

        if isinstance(arch.phi, PathLifting):
            raise FormError(f"Argument `arch` must be no path lifting for a closure, but {arch.name} is one.")
        found = find_closure(arch, time_limit=time_limit, progress=False)
        if not found.is_closed:
            raise NoReductionError(f"{found.status}: {found.explanation}")
        if found.status == FULL_SPACE:
            raise NoReductionError(
                f"{found.status}: the observables determine the {arch.size} parameters up to finitely many choices"
            )
        return found.dynamics(loss)  # pyright: ignore[reportReturnType]

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        training.require_constant(f"the {self.label}")
        if training.is_decaying and any(rule.value for rule in self.rules):
            raise NotApplicableError(
                "Argument `weight_decay` must be 0 for a closure that rests on λ-balance (λ decays then), but is "
                f"{float(training.weight_decay):g}."
            )
        if training.rates:
            raise NotApplicableError(
                "Argument `rates` must be empty for a closed system, which is derived for equal layer rates, but is "
                f"{ {name: float(rate) for name, rate in training.rates.items()} }."
            )

    @property
    def statement(self) -> str:
        lines = self.system.latex_lines()
        if sum(map(len, lines)) > 2000:
            return r"\dot o = -T(o)\left[\nabla f(z(o))\right]"
        return r"\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}"

    @property
    def exactness(self) -> str:
        where = "every start" if not self.rules else "starts where " + " and ".join(map(str, self.rules))
        return f"exact for every loss and {where}"

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        if not self.rules or not isinstance(self.system, WordSystem):
            return Condition(requirement="none: it closes for every start", measured=0.0, tolerance=0.0)
        form = self.system.closure.form
        matrices = {name: np.asarray(value) for name, value in form.matrices(theta0).items()}
        scale = max(float(np.linalg.norm(value)) ** 2 for value in matrices.values())
        defects = [_defect(rule.left, rule.right, rule.value, matrices) for rule in self.rules]
        worst = max(float(np.linalg.norm(defect)) for defect in defects)
        found = [
            f"{rule} is off by {float(np.linalg.norm(defect)):.3g}"
            for rule, defect in zip(self.rules, defects, strict=True)
        ]
        return Condition(
            requirement=" and ".join(map(str, self.rules)),
            measured=worst,
            tolerance=self.tolerance * scale,
            explanation="; ".join(found),
            expected_error=worst / 2,
            remedy="Close the architecture without `balanced`, or take a λ-balanced start.",
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return self.system.initial(theta0)

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        change = self.system.velocity(state, jax.grad(training.loss)(self.system.output(state)))
        if training.is_decaying:
            decay = self.system.decay(state)
            change = {name: change[name] - training.weight_decay * decay[name] for name in change}
        return change

    def output(self, state: State):
        return self.system.output(state)

    def conserved(self, state: State) -> dict[str, Any]:
        if self.training is None or self.training.is_decaying:
            return {}
        return {law.text: law.value(state) for law in self.laws}

    def monitors(self, state: State) -> dict[str, Any]:
        return {
            "largest entry of the observables": jnp.max(
                jnp.asarray([jnp.max(jnp.abs(x)) for x in state.values()])
            )
        }


def _defect(left: Word, right: Word, value: float, matrices: Mapping[str, np.ndarray]) -> np.ndarray:
    difference = word_value(left, matrices) - word_value(right, matrices)
    return difference - value * np.eye(len(difference))
