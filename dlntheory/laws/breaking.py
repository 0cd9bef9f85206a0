r"""How training rules other than gradient flow break a law: exact identities for the change of a quadratic.

For a law $h(\theta) = \tfrac12\theta^\top A\theta + \langle b, \theta\rangle + c$ of gradient flow every
combination $g$ of the generators has $\langle g, \nabla h(\theta)\rangle = 0$, so that a step changes $h$ at
second order only, by a known amount. With $h_2$ and $h_1$ the quadratic and the linear part, and $A$ skew in a
Noether law $\ell = \langle v, A\theta + b\rangle$, each rule states its identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .breaking_rules import (
    AbstractRule as AbstractRule,
    GradientStep as GradientStep,
    HeavyBall as HeavyBall,
    ImplicitMidpoint as ImplicitMidpoint,
    Inertia as Inertia,
    LookAhead as LookAhead,
    Noise as Noise,
    WeightDecay as WeightDecay,
)
from .breaking_values import Defect as Defect, LawForm, noether_form
from .law import Law


def defect(law: Law, rule: Any) -> Defect:
    r"""How a training rule changes a law.

    Args:
        law: a law of gradient flow of degree at most 2, or a Noether law of momentum flow. Under `WeightDecay` any
            law. For metric flows the gradients below are the generators of the law's system, metric included.
        rule: one of the rules of this module, or an object with a `learning_rate` such as
            `dlntheory.GradientDescent`; its `training` says the weight decay and the rates.

    Returns:
        A `Defect`.

    Raises:
        ValueError: the law is of higher degree or rational, or the rule has no velocity for a Noether law.
        TypeError: `rule` is none.

    Validity:
        The identities are algebraic: exact for every $g$ with $\langle g, \nabla h\rangle = 0$ at the point where the
        rule takes it, that is for every loss, minibatch and data set.

    References:
        [marcotte2023abide]; [marcotte2024keep]; [cooper1987stability] for the implicit midpoint rule.
    """
    rule = _as_rule(rule)
    if noether := noether_form(law):
        return rule.of_noether(noether)
    if not isinstance(rule, WeightDecay) and (law.is_rational or law.degree > 2):
        kind = "is rational" if law.is_rational else f"has degree {law.degree}"
        raise ValueError(f"Argument `law` must be at most quadratic for {rule!r}, but {law.name} {kind}.")
    return rule.of_quadratic(LawForm(law, law.blocks, law.polynomials))


def _as_rule(rule: Any) -> AbstractRule:
    """A rule of this module, also from an object that only has a learning rate."""
    if isinstance(rule, AbstractRule):
        return rule
    rate = getattr(rule, "learning_rate", None)
    if rate is None or getattr(rule, "momentum", None) is not None:
        known = ", ".join(kind.__name__ for kind in AbstractRule.__subclasses__())
        raise TypeError(
            f"Argument `rule` must be one of {known}, or have a `learning_rate` and no momentum, but is {rule!r}."
        )
    training = getattr(rule, "training", None)
    decay, rates = getattr(training, "weight_decay", 0), getattr(training, "rates", {})
    named = {name: _plain(value) for name, value in rates.items()}
    return GradientStep(_plain(rate), _plain(decay), named)


def _plain(value: Any) -> Any:
    """Zero-dimensional arrays, as training rules hold them, as numbers."""
    return value.item() if isinstance(value, (np.ndarray, np.generic)) else value
