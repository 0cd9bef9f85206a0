"""`Adam`: steps scaled entry by entry by running moments of the gradient; AdamW with decoupled decay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import jax.numpy as jnp

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange, form_of, taylor
from ..settings import Settings, Training, checked_number
from .descent import AbstractDescent


class Adam(AbstractDescent):
    r"""Adam, and AdamW with `decoupled=True`.

    $$m_+ = \beta_1 m + (1 - \beta_1) g,\quad s_+ = \beta_2 s + (1 - \beta_2) g^2,\quad
    \theta_+ = \theta - \eta e_l\,\frac{m_+/(1 - \beta_1^{k+1})}{\sqrt{s_+/(1 - \beta_2^{k+1})} + \varepsilon}.$$

    It commutes with signed permutations of the hidden units only, and keeps no quadratic law of gradient flow: their
    change is Taylor's formula in the step. For $\beta_1 = \beta_2 = \varepsilon = 0$ it is sign descent.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        beta1: $\beta_1$ in $[0, 1)$.
        beta2: $\beta_2$ in $[0, 1)$.
        epsilon: $\varepsilon > 0$.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`.

    Raises:
        ValueError: a number out of range, or what `GradientFlow` refuses.

    References:
        [kingma2015adam]; [loshchilov2019decoupled] (decoupled decay).
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    beta1: Any
    beta2: Any
    epsilon: Any
    label: ClassVar[str] = "Adam"

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        learning_rate: float,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        **settings: Unpack[Settings],
    ):
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)
        self.beta1 = checked_number(beta1, "beta1", minimum=0, below=1)
        self.beta2 = checked_number(beta2, "beta2", minimum=0, below=1)
        self.epsilon = checked_number(epsilon, "epsilon", above=0)

    def memory(self, theta: Mapping[str, Any]) -> State:
        moments = {f"{name} {kind}": 0 * x for name, x in theta.items() for kind in ("mean", "square")}
        # The powers of the two factors that correct for the start at zero.
        return {**moments, "mean left": jnp.ones(()), "square left": jnp.ones(())}

    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        slope, new, after = gradient(theta), {}, {}
        left1, left2 = self.beta1 * memory["mean left"], self.beta2 * memory["square left"]
        for name, g in slope.items():
            mean = self.beta1 * memory[f"{name} mean"] + (1.0 - self.beta1) * g
            square = self.beta2 * memory[f"{name} square"] + (1.0 - self.beta2) * g**2
            scale = jnp.sqrt(square / (1.0 - left2)) + self.epsilon
            after[name] = theta[name] - eta[name] * (mean / (1.0 - left1)) / scale
            new |= {f"{name} mean": mean, f"{name} square": square}
        return after, {**new, "mean left": left1, "square left": left2}

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def law_change(self, law: Law) -> LawChange:
        return taylor(self, form_of(self, law))
