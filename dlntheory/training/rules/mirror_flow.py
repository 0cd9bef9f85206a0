"""`MirrorFlow`: training in another metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import equinox as eqx

from ..._checks import instance_of, mapping
from ...architecture import Architecture
from ...laws.law import Law
from ...laws.law_forms import Evaluator
from ..base import AbstractFlow, State
from ..law_change import LawChange, flow_change
from ..settings import Settings, Training


class MirrorFlow(AbstractFlow):
    r"""Mirror flow of the entropy on some factors, $\theta_l' = -\theta_l \odot \nabla_{\theta_l} f$.

    Entries keep their sign: a zero entry stays zero. Factors not named move by plain gradient flow. Weight decay is
    part of the gradient, $\theta_l' = -a\,e_l\,\theta_l \odot (\nabla_{\theta_l} f + \gamma_l\theta_l)$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        metric: `{"U": "theta"}` puts the metric diag(U) on the factor U.
        **settings: `weight_decay`, `rates` and `schedule` of `Training`.

    Raises:
        ValueError: an unknown factor or metric, or a loss that does not fit.

    References:
        [marcotte2024keep] (laws in non-Euclidean metrics).
    """

    architecture: Architecture
    training: Training
    multiplicative: frozenset[str] = eqx.field(static=True)
    label: ClassVar[str] = "mirror flow"

    def __init__(
        self, arch: Architecture, loss: Any, *, metric: Mapping[str, str], **settings: Unpack[Settings]
    ):
        self.multiplicative = checked_metric(arch, metric)
        if settings.get("decoupled"):
            raise ValueError("Argument `decoupled` must be False for a mirror flow, but is True.")
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)

    def velocity(self, t: Any, state: State) -> State:
        force = self.training.velocity(self.architecture, state, t)
        return {
            name: state[name] * force[name] if name in self.multiplicative else force[name] for name in state
        }

    def law_change(self, law: Law) -> LawChange:
        return flow_change(self, law, direction=metric_direction(self.multiplicative))


def metric_direction(multiplicative: frozenset[str]) -> Callable[[Evaluator, Any, Any], Any]:
    """The product with the metric, for law changes."""

    def direction(h: Evaluator, theta: Any, force: Any) -> Any:
        chosen = h.by_factor(dict.fromkeys(multiplicative, 1), 0)
        return chosen * theta * force + h.by_factor(dict.fromkeys(multiplicative, 0), 1) * force

    return direction


def checked_metric(arch: Architecture, metric: Mapping[str, str]) -> frozenset[str]:
    """The factors with the metric diag(theta).

    Raises:
        ValueError: an unknown factor or metric.
    """
    instance_of(arch, Architecture, "arch")
    for name, kind in mapping(metric, "metric", "metrics by factor name").items():
        if name not in arch.shapes or kind != "theta":
            raise ValueError(
                f'Argument `metric` must map factors of {arch.name}, {list(arch.shapes)}, to "theta", '
                f"but has {name!r}: {kind!r}."
            )
    return frozenset(metric or ())
