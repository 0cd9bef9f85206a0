r"""Learning rates, weight decay and schedules in closed forms.

The full flow is $\dot\theta_l = -a(t)\,e_l(\nabla_{\theta_l} f + \gamma_l(t)\theta_l)$. The schedule $a$ multiplies
every velocity. With $I' = a\,e_l\gamma_l$ equal for all factors, a law of degree k is its start times $e^{-kI}$: a
closed form that rests on laws stays exact with their values at that time. With other decays the laws are no multiples
of their start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._errors import NotApplicableError
from ..training import State, Training

#: Times at which decays that are functions of time are compared.
_TIMES = (0.0, 0.37, 1.0, 7.3)


def rate_of(training: Training | None, name: str) -> Any:
    """$e_l$ of a factor, without the schedule; 1 before a flow is bound."""
    return 1.0 if training is None else training.rates.get(name, 1.0)


def decay_of(training: Training, name: str, t: Any) -> Any:
    r"""$e_l\gamma_l(t)$, at which a factor shrinks without gradient and schedule; $\gamma_l(t)$ if decoupled."""
    decay = training.decay_of(name, t)
    return decay if training.decoupled else rate_of(training, name) * decay


def common_decay(training: Training, names: Sequence[str], t: Any) -> Any:
    r"""$e_l\gamma_l(t)$ of factors that passed `check_common_decay`; 0 without weight decay. Pure."""
    return decay_of(training, names[0], t) if training.is_decaying else 0.0


def check_common_decay(training: Training, names: Sequence[str], label: str) -> None:
    """Raise unless all factors shrink alike.

    Raises:
        NotApplicableError: weight decay with unequal rates, or unequal weight decay.
    """
    if not training.is_decaying:
        return
    found = [[float(np.asarray(decay_of(training, name, t))) for name in names] for t in _TIMES]
    if all(max(row) - min(row) <= 1e-14 * max(row) for row in found):
        return
    raise NotApplicableError(
        f"Argument `weight_decay` must be 0 with unequal `rates` for {label}, or shrink all factors alike (the laws do "
        f"not keep their ratios otherwise), but the products of rate and decay are {sorted(set(found[0]))}: make them "
        "equal, or use the full flow.",
        requirement="equal products of rate and weight decay",
        measured=found[0],
    )


def scheduled(training: Training, t: Any, velocity: State) -> State:
    """A velocity times the schedule at a time. Pure."""
    if training.schedule is None:
        return velocity
    speed = training.speed(t)
    return {name: jnp.asarray(speed * value) for name, value in velocity.items()}
