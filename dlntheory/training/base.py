"""`AbstractDynamics`: the one numerical abstraction, and `Training`, the factors that every simulation shares."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..architecture import Architecture
from ..display.displayed import Displayed
from ..display.text import card, format_number, key_values

State = dict[str, Any]


class Training(eqx.Module):
    r"""What is minimised and at which speed: the one source of every factor in a flow or a closed form.

    $\theta_l' = -e_l\,(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma\,\theta_l)$, in gradient-flow time.

    Args:
        loss: the loss $f(z)$, any callable from $z$ to a scalar.
        weight_decay: $\gamma \ge 0$, the penalty being $\frac{\gamma}{2} \sum_l \|\theta_l\|^2$.
        rates: learning rate $e_l > 0$ of a factor by name; factors not named have rate 1.
    """

    loss: Any
    weight_decay: np.ndarray
    rates: dict[str, Any]
    is_decaying: bool = eqx.field(static=True)

    _STATEMENT: ClassVar[str] = (
        r"\dot\theta_l = -e_l \left(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma\,\theta_l\right)"
    )

    def __init__(self, loss, *, weight_decay: float = 0.0, rates: Mapping[str, float] | None = None):
        if not callable(loss):
            raise ValueError(f"Argument `loss` must be a function of z, but is {loss!r}.")
        decay = float(weight_decay)
        if not (np.isfinite(decay) and decay >= 0):
            raise ValueError(
                f"Argument `weight_decay` must be a finite number of at least 0, but is {weight_decay}."
            )
        self.loss = loss
        self.weight_decay = np.asarray(decay)
        self.is_decaying = decay > 0
        self.rates = {}
        for factor, rate in (rates or {}).items():
            if not (np.isfinite(float(rate)) and float(rate) > 0):
                raise ValueError(
                    f"Argument `rates['{factor}']` must be a finite positive number, but is {rate}."
                )
            if float(rate) != 1.0:
                self.rates[factor] = np.asarray(float(rate))

    def rate(self, factor: str):
        """The learning rate of one factor."""
        return self.rates.get(factor, 1.0)

    def check(self, arch: Architecture) -> None:
        """Raise unless the loss is a scalar function of the architecture's $z$ and the rates name its factors.

        Raises:
            ValueError: the loss fails or is no scalar on a $z$ of this shape, or a rate names no factor.
        """
        if unknown := [factor for factor in self.rates if factor not in arch.shapes]:
            raise ValueError(
                f"Argument `rates` must name factors of {arch.name}, {list(arch.shapes)}, but has {unknown}."
            )
        struct = jax.ShapeDtypeStruct(arch.output_shape, jnp.result_type(float))
        try:
            value = jax.eval_shape(self.loss, struct)
        except Exception as error:
            error.add_note(f"(while evaluating `loss` on a z of shape {arch.output_shape}, from {arch.name})")
            raise
        if getattr(value, "shape", None) != ():
            raise ValueError(
                f"Argument `loss` must map z of shape {arch.output_shape} to a scalar, but gives {value}."
            )

    @property
    def conventions(self) -> str:
        """The factors in words, for printing beside every result."""
        parts = [str(getattr(self.loss, "conventions", "loss f(z) as given"))]
        if float(self.weight_decay):
            parts.append(f"weight decay {float(self.weight_decay):g}/2 * sum |W_l|^2")
        if self.rates:
            parts.append("rates " + ", ".join(f"{k}: {float(v):g}" for k, v in self.rates.items()))
        return "; ".join(parts) + "; theta' = -grad, t in gradient-flow time"

    def __repr__(self) -> str:
        return f"Training({self.conventions})"

    def __str__(self) -> str:
        return key_values([("equation", self._STATEMENT), *self._facts()])

    def _repr_html_(self) -> str:
        return card("Training", formulas=self._STATEMENT, facts=self._facts())

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self._STATEMENT}$"

    def _facts(self) -> list[tuple[str, str]]:
        rates = ", ".join(f"{factor}: {float(rate):g}" for factor, rate in self.rates.items())
        return [
            ("loss f", str(getattr(self.loss, "conventions", "f(z) as given"))),
            ("weight decay gamma", format_number(float(self.weight_decay))),
            ("rates e_l", f"{rates}; all others 1" if rates else "all 1"),
        ]


@dataclasses.dataclass(frozen=True)
class Limit:
    """A monitor that must stay above a level for a dynamics to be what it claims to be.

    Attributes:
        monitor: its name in `AbstractDynamics.monitors`.
        warn_below: below this the result carries a warning.
        stop_below: at this the run ends with an `IntegrationError`.
        advice: why, and what to use instead.
    """

    monitor: str
    warn_below: float
    stop_below: float
    advice: str


class AbstractDynamics(Displayed, eqx.Module):
    """A differential equation for something that determines $z$: the full flow, a reduced flow, a closed system.

    The state is a dict of named arrays. Every subclass is final. `solve` runs any of them.

    Attributes:
        architecture: the network whose training this describes.
        training: loss and factors; `None` while a reduction is not yet bound to a flow.
        label: a short name for tables and legends.
    """

    architecture: eqx.AbstractVar[Architecture]
    training: eqx.AbstractVar[Training | None]
    label: ClassVar[Any]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.architecture.name})"

    def _title(self) -> str:
        return f"{self.label} of {self.architecture.name}"

    def _facts(self) -> list[tuple[str, Any]]:
        training = self.training
        return [
            ("network", repr(self.architecture)),
            ("loss", "not bound yet" if training is None else training.conventions),
        ]

    @abc.abstractmethod
    def initial(self, theta0: Mapping[str, Any]) -> State:
        """The state at checked parameters `theta0`. Pure: goes through jit and vmap."""

    @abc.abstractmethod
    def velocity(self, t, state: State) -> State:
        """The time derivative of the state, in gradient-flow time. Pure."""

    @abc.abstractmethod
    def output(self, state: State):
        r"""$z$ of the state, in the shape of $\varphi(\theta)$. Pure."""

    @abc.abstractmethod
    def check_start(self, theta0: Mapping[str, Any]) -> dict[str, jax.Array]:
        """`theta0` checked and as arrays; a host verb that raises if this dynamics does not hold there.

        Raises:
            ValueError: a malformed `theta0`.
            ConditionError: the condition of a reduction is broken, with the measured violation.
        """

    def conserved(self, state: State) -> dict[str, Any]:
        """Quantities that this dynamics conserves exactly, by name; `{}` if none is known. Pure."""
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        """Scalars that tell whether the state is still inside the domain of validity; may be `{}`. Pure."""
        return {}

    def limits(self) -> tuple[Limit, ...]:
        """Monitors at whose level `solve` ends a run, since the equation is not valid beyond; none by default."""
        return ()
