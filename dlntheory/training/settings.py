"""`Training`: loss, weight decay, learning rates and schedule, the settings that every training rule shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypedDict, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import instance_of, is_traced, mapping, real_number
from .._errors import NotApplicableError
from ..architecture import Architecture
from ..display.displayed import Displayed
from ..losses.traced import traced_loss


class Settings(TypedDict, total=False):
    """The keyword arguments of `Training`, which every rule takes."""

    weight_decay: Any
    rates: Mapping[str, float] | None
    schedule: Callable[[Any], Any] | None
    decoupled: bool


class Training(Displayed, eqx.Module):
    r"""What is minimised and at which speed: the one source of every factor in a flow, a step or a closed form.

    $\theta_l' = -a(t)\,e_l\,(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma_l\,\theta_l)$, in gradient-flow time. A
    rule with steps of size $\eta$ takes every function of time at $t = k\eta$.

    Args:
        loss: the loss $f(z)$, any callable from $z$ to a scalar.
        weight_decay: $\gamma \ge 0$, the penalty being $\frac{\gamma}{2} \sum_l \|\theta_l\|^2$; one number,
            numbers by name of the factor (0 where not named), or a function of $t$ that returns either.
        rates: learning rate $e_l > 0$ of a factor by name; factors not named have rate 1.
        schedule: a function $a(t) \ge 0$ that multiplies all rates, and the weight decay with them.
        decoupled: the decay is $-a\,\gamma_l\theta_l$ and no part of the gradient: rates do not multiply it, and no
            momentum or adaptive scale sees it (as in AdamW).
    """

    loss: Any
    decay: Any
    rates: dict[str, Any]
    schedule: Callable[[Any], Any] | None
    is_decaying: bool = eqx.field(static=True)
    decoupled: bool = eqx.field(static=True)

    _STATEMENT: ClassVar[str] = (
        r"\dot\theta_l = -e_l \left(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma\,\theta_l\right)"
    )

    def __init__(
        self,
        loss: Any,
        *,
        weight_decay: Any = 0.0,
        rates: Mapping[str, float] | None = None,
        schedule: Callable[[Any], Any] | None = None,
        decoupled: bool = False,
    ):
        if not callable(loss):
            raise ValueError(f"Argument `loss` must be a function of z, but is {loss!r}.")
        self.loss = loss
        self.decay = _checked_decay(weight_decay)
        named = {
            name: real_number(rate, f"rates['{name}']", above=0)
            for name, rate in mapping(rates, "rates").items()
        }
        self.rates = {name: np.asarray(rate) for name, rate in named.items() if rate != 1.0}
        self.schedule = None if schedule is None else _function_of_time(schedule, "schedule")
        self.decoupled = bool(decoupled)
        self.is_decaying = callable(self.decay) or any(
            is_traced(value) or bool(value > 0) for value in jax.tree.leaves(self.decay)
        )

    @classmethod
    def of(cls, arch: Architecture, loss: Any, **settings: Unpack[Settings]) -> Training:
        """The settings of the training of an architecture, checked against it."""
        instance_of(arch, Architecture, "arch")
        training = cls(loss, **settings)
        training.check(arch)
        return training

    @property
    def weight_decay(self) -> Any:
        r"""The one constant $\gamma$ of all factors.

        Raises:
            NotApplicableError: the decay differs between factors, depends on time, or is multiplied by a schedule.
        """
        self.require_constant("one constant weight decay")
        return self.decay

    def require_constant(self, what: str) -> None:
        """Raise unless the settings are those of a plain flow: no function of time, one decay for all factors.

        Raises:
            NotApplicableError: they are not; `what` says for what that is needed.
        """
        found = [
            ("a schedule", self.schedule is not None),
            ("a weight decay that depends on time", callable(self.decay)),
            ("weight decay by factor", isinstance(self.decay, Mapping)),
            ("decoupled weight decay with rates", self.decoupled and self.is_decaying and bool(self.rates)),
        ]
        for name, is_there in found:
            if is_there:
                raise NotApplicableError(
                    f"Argument `training` must have constant settings for {what}, but has {name}.",
                    requirement="no schedule and one constant weight decay",
                    measured=name,
                )

    def require_plain_time(self, what: str) -> None:
        """Raise if a schedule or a weight decay depends on time.

        Raises:
            NotApplicableError: one does; `what` says for what it must not.
        """
        if not self.is_constant:
            raise NotApplicableError(
                f"Argument `training` must not depend on time for {what}, but has a schedule or a decay that does.",
                requirement="settings that do not depend on time",
            )

    def require_no_decay(self, what: str) -> None:
        """Raise if there is weight decay.

        Raises:
            NotApplicableError: there is; `what` says for what there must be none.
        """
        if self.is_decaying:
            raise NotApplicableError(
                f"Argument `weight_decay` must be 0 for {what}, but is {self._decay_text}.",
                requirement="no weight decay",
                measured=self._decay_text,
            )

    @property
    def is_constant(self) -> bool:
        """Whether nothing depends on time."""
        return self.schedule is None and not callable(self.decay)

    def rate(self, factor: str) -> Any:
        """The constant learning rate of one factor.

        Raises:
            NotApplicableError: a schedule multiplies it; see `require_constant`.
        """
        if self.schedule is not None:
            self.require_constant("a constant learning rate")
        return self.rates.get(factor, 1.0)

    def speed(self, t: Any) -> Any:
        r"""The schedule $a(t)$; 1 without one."""
        return 1.0 if self.schedule is None else self.schedule(t)

    def decay_of(self, factor: str, t: Any = 0.0) -> Any:
        r"""$\gamma_l$ of one factor at a time, without rate and schedule."""
        decay = self.decay(t) if callable(self.decay) else self.decay
        return decay.get(factor, 0.0) if isinstance(decay, Mapping) else decay

    def numbers(self, arch: Architecture, t: Any) -> dict[str, Any]:
        r"""Rates $e_l$ and decays $\gamma_l$ by factor at a time, `{}` where all are 1 and all are 0."""
        decay = {name: self.decay_of(name, t) for name in arch.shapes} if self.is_decaying else {}
        return {
            "rates": {name: self.rates.get(name, 1.0) for name in arch.shapes} if self.rates else {},
            "decay": decay,
        }

    def velocity(self, arch: Architecture, params: Mapping[str, Any], t: Any = 0.0) -> dict[str, Any]:
        r"""$\theta' = -a(t)\,e_l(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma_l\theta_l)$ at a time. Pure."""
        gradient = jax.grad(lambda p: self.loss(arch(p)))(dict(params))
        return {name: self.change(name, slope, params[name], t) for name, slope in gradient.items()}

    def change(self, factor: str, slope: Any, value: Any, t: Any = 0.0) -> Any:
        r"""$\theta_l'$ of one factor, or of a part of it, from the gradient of $f(\varphi(\theta))$ in it. Pure."""
        if self.is_decaying and not self.decoupled:
            slope = slope + self.decay_of(factor, t) * value
        if factor in self.rates:
            slope = self.rates[factor] * slope
        if self.is_decaying and self.decoupled:
            slope = slope + self.decay_of(factor, t) * value
        return -slope if self.schedule is None else -self.schedule(t) * slope

    def check(self, arch: Architecture) -> None:
        """Raise unless the loss is a scalar function of the architecture's $z$ and all names are those of factors.

        Raises:
            ValueError: the loss fails, is no scalar on a $z$ of this shape or rounds to float32, or a rate or decay
                names no factor.
        """
        decay = self.decay(jnp.zeros(())) if callable(self.decay) else self.decay
        names = {"rates": self.rates, "weight_decay": decay if isinstance(decay, Mapping) else {}}
        for argument, given in names.items():
            if unknown := [factor for factor in given if factor not in arch.shapes]:
                raise ValueError(
                    f"Argument `{argument}` must name factors of {arch.name}, {list(arch.shapes)}, but has {unknown}."
                )
        # The shape of z is known only here. The traced loss is the same function, as a value: a lambda that is
        # written twice is one loss, and what is compiled for it is compiled once.
        object.__setattr__(self, "loss", traced_loss(self.loss, arch.output_shape))

    @property
    def conventions(self) -> str:
        """The factors in words, for printing beside every result."""
        parts = [str(getattr(self.loss, "conventions", "loss f(z) as given"))]
        if self.is_decaying:
            kind = "decoupled weight decay" if self.decoupled else "weight decay"
            decay = self._decay_text
            parts.append(f"{kind} {decay}/2 * sum |W_l|^2" if _is_number(decay) else f"{kind} {decay}")
        if self.rates:
            parts.append("rates " + ", ".join(f"{k}: {float(v):g}" for k, v in self.rates.items()))
        if self.schedule is not None:
            parts.append("a schedule a(t) on all rates")
        return "; ".join(parts) + "; theta' = -grad, t in gradient-flow time"

    @property
    def _decay_text(self) -> str:
        if callable(self.decay):
            return "gamma(t)"
        if isinstance(self.decay, Mapping):
            return ", ".join(f"{name}: {float(value):g}" for name, value in self.decay.items())
        return f"{float(self.decay):g}"

    def __repr__(self) -> str:
        return f"Training({self.conventions})"

    def _formulas(self) -> list[str]:
        return [self._STATEMENT]

    def _facts(self) -> list[tuple[str, str]]:
        rates = ", ".join(f"{factor}: {float(rate):g}" for factor, rate in self.rates.items())
        facts = [
            ("loss f", str(getattr(self.loss, "conventions", "f(z) as given"))),
            ("weight decay gamma", self._decay_text + (", decoupled" if self.decoupled else "")),
            ("rates e_l", f"{rates}; all others 1" if rates else "all 1"),
        ]
        return facts + [("schedule", "a(t) multiplies all rates")] * (self.schedule is not None)


def checked_number(value: Any, argument: str, **bounds: Any) -> Any:
    """A number of a rule as an array, checked by `real_number`; a traced one, inside `vmap` or `grad`, as it is."""
    return value if is_traced(value) else np.asarray(real_number(value, argument, **bounds))


def _function_of_time(function: Any, argument: str, *, mapping: bool = False) -> Callable[[Any], Any]:
    """A function of time as a value: equal to the same function written again, so that it compiles once."""
    if not callable(function):
        raise ValueError(f"Argument `{argument}` must be a function of time, but is {function!r}.")
    value = jax.eval_shape(function, jax.ShapeDtypeStruct((), jnp.result_type(float)))
    if mapping and isinstance(value, Mapping):
        return function
    if getattr(value, "shape", ()) != ():
        raise ValueError(
            f"Argument `{argument}` must return a number, but returns an array of shape {value.shape}."
        )
    return traced_loss(function, ())


def _checked_decay(decay: Any) -> Any:
    if callable(decay):
        return _function_of_time(decay, "weight_decay", mapping=True)
    if isinstance(decay, Mapping):
        return {
            name: checked_number(value, f"weight_decay['{name}']", minimum=0) for name, value in decay.items()
        }
    return checked_number(decay, "weight_decay", minimum=0)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("e-", "", 1).replace("e+", "", 1).isdigit()
