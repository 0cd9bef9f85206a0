"""`MirrorDescent`: the explicit Euler steps of `MirrorFlow`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import equinox as eqx

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange
from ..settings import Settings, Training, checked_number
from .descent import AbstractDescent, descent_change
from .mirror_flow import checked_metric, metric_direction


class MirrorDescent(AbstractDescent):
    r"""Multiplicative steps on some factors, $\theta_l \leftarrow \theta_l - \eta e_l\,\theta_l \odot g_l$.

    Euler steps of the mirror flow of the entropy; factors not named step by gradient descent. Laws of that flow change
    at second order, as under `GradientDescent` with $\theta \odot g$ in place of the gradient.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        metric: `{"U": "theta"}` puts the metric diag(U) on the factor U.
        **settings: `rates` and `schedule` of `Training`; `weight_decay` must be decoupled.

    Raises:
        ValueError: a learning rate that is not positive, an unknown factor or metric, or a loss that does not fit.
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    multiplicative: frozenset[str] = eqx.field(static=True)
    label: ClassVar[str] = "mirror descent"

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        learning_rate: float,
        *,
        metric: Mapping[str, str],
        **settings: Unpack[Settings],
    ):
        self.multiplicative = checked_metric(arch, metric)
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        if self.training.is_decaying and not self.training.decoupled:
            raise ValueError(
                "Argument `decoupled` must be True for mirror descent with weight decay, but is not."
            )
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)

    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        slope = gradient(theta)
        along = {n: theta[n] * g if n in self.multiplicative else g for n, g in slope.items()}
        return {name: theta[name] - eta[name] * along[name] for name in theta}, memory

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def law_change(self, law: Law) -> LawChange:
        return descent_change(self, law, direction=metric_direction(self.multiplicative))
