r"""The training rules of `breaking`, each with its identities for quadratic laws and for Noether laws."""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import flint
import jax
import jax.numpy as jnp
import sympy

from .breaking_values import VALUES, Defect, Evaluator, LawForm

_NOETHER = "[marcotte2024keep] (laws of momentum flows)"


class AbstractRule(abc.ABC):
    """A training rule as far as laws are concerned. Numbers may be floats, fractions or SymPy symbols."""

    def __post_init__(self):
        for name, value in vars(self).items():
            numbers = (
                value if isinstance(value, Mapping) else {name: value[1] if _is_over_t(value) else value}
            )
            for part, number in numbers.items():
                check_number(name if part == name else f"{name}['{part}']", number)

    @abc.abstractmethod
    def of_quadratic(self, form: LawForm) -> Defect:
        """The identity of a law of gradient flow."""

    def of_noether(self, form: LawForm) -> Defect:
        """The identity of a Noether law."""
        raise ValueError(
            f"Argument `rule` must have a velocity for the law {form.law.name}, but is {self!r}."
        )


@dataclasses.dataclass(frozen=True)
class GradientStep(AbstractRule):
    r"""A step of gradient descent on any minibatch, $\theta_+ = \theta - \eta E\,(g + \lambda\theta)$.

    $$h_+ - h = (a^2 - 1)\,h_2(\theta) + (a - 1)\,h_1(\theta) + \eta^2 h_2(g) + \eta(a - 1)\,h_1(g),
    \qquad a = 1 - \eta\lambda.$$

    Decoupled decay and an L2 penalty are the same here. With unequal `rates` the law is lost at order one, and the
    identity is the plain Taylor expansion. Adam and sign descent are such steps, with a rate for each entry.

    Args:
        learning_rate: $\eta$.
        weight_decay: $\lambda$.
        rates: the diagonal of $E$ by factor; 1 where not named.
    """

    learning_rate: Any
    weight_decay: Any = 0
    rates: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def of_quadratic(self, form: LawForm) -> Defect:
        H, decay = form.symbol, self.weight_decay
        left, common = f"{H}_+ - {H}", form.common("rates", self.rates, 1)
        if common is None:
            right = _sum(rf"\langle \nabla {H}, \Delta \rangle", form.written(r"\Delta_{{{0}}}", degree=2))
            right += r",\quad \Delta = -\eta E (G + \lambda\theta)"
            return Defect(form, self, left, right, "O(1)", ("theta", "gradient"), self._expansion)

        def change(h: Evaluator, at: Mapping[str, Any]) -> Any:
            step = h.number(self.learning_rate) * h.number(common)
            total = step * step * h.part(2, at["gradient"])
            if _is_zero(decay):
                return total
            less = -step * h.number(decay)
            a = h.number(1) + less
            total += (a * a - h.number(1)) * h.part(2, at["theta"]) + less * h.part(1, at["theta"])
            return total + step * less * h.part(1, at["gradient"])

        grown = _times(r"\eta^2", form.written("G_{{{0}}}", degree=2))
        if _is_zero(decay):
            return Defect(form, self, left, grown or "0", r"O(\eta)" if grown else "0", ("gradient",), change)
        if form.homogeneous_degree == 2:
            right = _sum(rf"\bigl((1 - \eta\lambda)^2 - 1\bigr) {H}", grown)
        elif form.homogeneous_degree == 1:
            right = rf"-\eta\lambda {H}"
        else:
            right = _sum(rf"\bigl((1 - \eta\lambda)^2 - 1\bigr) {H}_2 - \eta\lambda {H}_1", grown)
            right = _sum(right, _times(r"\eta^2\lambda", form.written("G_{{{0}}}", degree=1)), "-")
        return Defect(form, self, left, right, r"O(\eta)", ("theta", "gradient"), change)

    def _expansion(self, h: Evaluator, at: Mapping[str, Any]) -> Any:
        force = at["gradient"] + h.number(self.weight_decay) * at["theta"]
        step = -h.number(self.learning_rate) * h.by_factor(self.rates, 1) * force
        return h.pairing(at["theta"], step) + h.part(2, step)


@dataclasses.dataclass(frozen=True)
class HeavyBall(AbstractRule):
    r"""Momentum, $v_+ = \beta v - \eta g(\theta)$, $\theta_+ = \theta + v_+$.

    A Noether law becomes $\ell_+ = \beta\ell$. A law of gradient flow, with $q = \langle v, \nabla h\rangle$:
    $h_+ - h = \beta q + h_2(v_+)$, and as `companion` $q_+ - q = (\beta - 1) q + 2 h_2(v_+)$.

    Args:
        learning_rate: $\eta$.
        momentum: $\beta$.
    """

    learning_rate: Any
    momentum: Any

    def of_quadratic(self, form: LawForm) -> Defect:
        return _with_momentum(self, form, look_ahead=False)

    def of_noether(self, form: LawForm) -> Defect:
        S, needs = form.symbol, ("theta", "velocity")

        def change(h: Evaluator, at: Mapping[str, Any]) -> Any:
            return (h.number(self.momentum) - h.number(1)) * h.value(h.joined(at["theta"], at["velocity"]))

        factor = lambda steps: self.momentum**steps
        return Defect(form, self, f"{S}_+ - {S}", rf"(\beta - 1) {S}", "0", needs, change, _NOETHER, factor)


@dataclasses.dataclass(frozen=True)
class LookAhead(AbstractRule):
    r"""Nesterov's momentum, $v_+ = \beta v - \eta g(\theta + \beta v)$, $\theta_+ = \theta + v_+$.

    The gradient belongs to $\theta + \beta v$, so that every Noether law is lost:
    $\ell_+ = \beta\ell - \eta\beta\langle v, A g\rangle$. A law of gradient flow has the identities of `HeavyBall` with
    $\eta\beta\langle v, A g\rangle$ added to both.

    Args:
        learning_rate: $\eta$.
        momentum: $\beta$.
    """

    learning_rate: Any
    momentum: Any

    def of_quadratic(self, form: LawForm) -> Defect:
        return _with_momentum(self, form, look_ahead=True)

    def of_noether(self, form: LawForm) -> Defect:
        def change(h: Evaluator, at: Mapping[str, Any]) -> Any:
            eta, beta = h.number(self.learning_rate), h.number(self.momentum)
            kept = (beta - h.number(1)) * h.value(h.joined(at["theta"], at["velocity"]))
            return kept - eta * beta * h.part(2, h.joined(at["gradient"], at["velocity"]))

        S, lost = form.symbol, _times(r"\eta\beta", form.written("G_{{{0}}}", "V_{{{0}}}", degree=2))
        right, order = _sum(rf"(\beta - 1) {S}", lost, "-"), r"O(\eta)" if lost else "0"
        return Defect(form, self, f"{S}_+ - {S}", right, order, VALUES, change, _NOETHER)


@dataclasses.dataclass(frozen=True)
class WeightDecay(AbstractRule):
    r"""Weight decay, $\theta' = -g - \Lambda\theta$, so that $h' = -\langle\nabla h, \Lambda\theta\rangle$.

    With one rate a homogeneous law of degree $k$, polynomial or rational, is $e^{-k\lambda t}$ times its start; with
    unequal rates it is not a multiple of itself.

    Args:
        rate: $\lambda$, or the rates by factor, 0 where not named.
    """

    rate: Any

    def of_quadratic(self, form: LawForm) -> Defect:
        H, named = form.symbol, isinstance(self.rate, Mapping)
        common = form.common("rate", self.rate, 0) if named else self.rate
        degree, factor = form.homogeneous_degree, None

        def change(h: Evaluator, at: Mapping[str, Any]) -> Any:
            speed = h.by_factor(self.rate, 0) if named else h.number(self.rate)
            return -h.pairing(at["theta"], speed * at["theta"])

        if common is None or degree is None:
            speed = r"\Lambda" if common is None else r"\lambda"
            right = rf"-\langle \nabla {H}, {speed} \theta \rangle"
        else:
            right = rf"-{degree if degree != 1 else ''}\lambda {H}" if degree else "0"
            factor = lambda time: _exp(degree, common, time)
        source = "Euler's identity for homogeneous functions"
        return Defect(form, self, rf"\dot{{{H}}}", right, "0", ("theta",), change, source, factor)


@dataclasses.dataclass(frozen=True)
class Inertia(AbstractRule):
    r"""Momentum flow, $\theta'' + \tau\theta' = -g$, or $\theta'' + (c/t)\,\theta' = -g$.

    A Noether law obeys $\ell' = -\tau\ell$, so that $e^{\tau t}\ell$ is constant. A law of gradient flow obeys
    $h'' + \tau h' = 2 h_2(\theta')$, so that $(e^{\tau t} h')' = 2 e^{\tau t} h_2(\theta')$.

    Args:
        friction: $\tau$, or `("over_t", c)`.
    """

    friction: Any = 0

    def of_quadratic(self, form: LawForm) -> Defect:
        right = _times("2", form.written(r"\dot{{{0}}}", degree=2))
        left = _sum(rf"\ddot{{{form.symbol}}}", _times(self._letter, rf"\dot{{{form.symbol}}}", bare=True))
        order, change = "O(1)" if right else "0", lambda h, at: h.number(2) * h.part(2, at["velocity"])
        return Defect(form, self, left, right or "0", order, ("velocity",), change, _NOETHER)

    def of_noether(self, form: LawForm) -> Defect:
        over_t, needs = _is_over_t(self.friction), ("theta", "velocity")

        def change(h: Evaluator, at: Mapping[str, Any]) -> Any:
            speed = h.number(self.friction[1]) / at["time"] if over_t else h.number(self.friction)
            return -speed * h.value(h.joined(at["theta"], at["velocity"]))

        factor = None if over_t else lambda time: _exp(1, self.friction, time)
        right = "-" + _times(self._letter, form.symbol, bare=True) if self._letter else "0"
        needs += ("time",) if over_t else ()
        return Defect(form, self, rf"\dot{{{form.symbol}}}", right, "0", needs, change, _NOETHER, factor)

    @property
    def _letter(self) -> str:
        if _is_over_t(self.friction):
            return "(c/t)"
        return "" if _is_zero(self.friction) else r"\tau"


@dataclasses.dataclass(frozen=True)
class Noise(AbstractRule):
    r"""Gradient noise, $d\theta = -g\,dt + \sum_k g_k\,dB_k$, with columns $g_k$ in the span of the generators.

    In Itô's sense $dh = \sum_k h_2(g_k)\,dt$ without a martingale part; in Stratonovich's sense $dh = 0$.

    Args:
        stratonovich: whether it is meant in Stratonovich's sense, as the limit of smooth noise is.
    """

    stratonovich: bool = False

    def of_quadratic(self, form: LawForm) -> Defect:
        left, source = f"d{form.symbol}/dt", "Itô's formula; the chain rule in Stratonovich's calculus"
        right = _times(r"\sum_k", form.written("{{G^k_{{{0}}}}}", degree=2))
        if self.stratonovich or not right:
            return Defect(form, self, left, "0", "0", (), lambda h, at: h.zero(), source)

        def change(h: Evaluator, at: Mapping[str, Any]) -> Any:
            return functools.reduce(lambda total, column: total + h.part(2, column), at["noise"], h.zero())

        return Defect(form, self, left, right, "O(1)", ("noise",), change, source)


@dataclasses.dataclass(frozen=True)
class ImplicitMidpoint(AbstractRule):
    r"""The step $\theta_+ = \theta - \eta g(\tfrac{\theta + \theta_+}{2})$, like every Gauss method: $h_+ = h$.

    Explicit Runge-Kutta methods of order $q$ have no such identity; their drift over a fixed time is $O(\eta^q)$.
    """

    learning_rate: Any

    def of_quadratic(self, form: LawForm) -> Defect:
        left, source = f"{form.symbol}_+ - {form.symbol}", "Cooper 1987 (quadratic invariants)"
        return Defect(form, self, left, "0", "0", (), lambda h, at: h.zero(), source)


def _with_momentum(rule: HeavyBall | LookAhead, form: LawForm, look_ahead: bool) -> Defect:
    def change(kept: int, squares: int) -> Callable[[Evaluator, Mapping[str, Any]], Any]:
        def changed(h: Evaluator, at: Mapping[str, Any]) -> Any:
            eta, beta, v, g = (
                *map(h.number, (rule.learning_rate, rule.momentum)),
                at["velocity"],
                at["gradient"],
            )
            total = (beta - h.number(kept)) * h.pairing(at["theta"], v)
            total = total + h.number(squares) * h.part(2, beta * v - eta * g)
            return total + eta * beta * h.polar(v, g) if look_ahead else total

        return changed

    H, square = form.symbol, form.written("{{V^+_{{{0}}}}}", degree=2)
    lost = r"\eta\beta \langle V, A G \rangle" if look_ahead and square else ""
    where = rf",\quad Q = \langle V, \nabla {H} \rangle"
    order = r"O(\eta)" if square else "0"
    right = _sum(_sum(r"(\beta - 1) Q", _times("2", square)), lost) + where
    companion = Defect(form, rule, "Q_+ - Q", right, order, VALUES, change(1, 2))
    right = _sum(_sum(r"\beta Q", _times("", square)), lost) + where
    return Defect(form, rule, f"{H}_+ - {H}", right, order, VALUES, change(0, 1), companion=companion)


def check_number(name: str, value: Any) -> None:
    """Refuse a number that is negative or not finite; symbols pass."""
    if isinstance(value, (jax.Array, sympy.Basic)):
        return
    real = isinstance(value, (numbers.Real, flint.fmpq)) or getattr(value, "shape", None) == ()
    if not real or not (math.isfinite(float(value)) and float(value) >= 0):
        raise ValueError(f"Argument `{name}` must be a finite number of at least 0, but is {value!r}.")


def _is_over_t(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and value[0] == "over_t"


def _is_zero(value: Any) -> bool:
    try:
        return bool(value == 0)
    except jax.errors.TracerBoolConversionError:
        return False


def _exp(degree: int, rate: Any, time: Any) -> Any:
    r"""$e^{-k\lambda t}$ in the type of its arguments."""
    if any(isinstance(value, sympy.Basic) for value in (rate, time)):
        return sympy.exp(-degree * rate * time)
    if any(isinstance(value, jax.Array) for value in (rate, time)):
        return jnp.exp(-degree * rate * time)
    return math.exp(-degree * float(rate) * float(time))


def _times(factor: str, body: str, bare: bool = False) -> str:
    if not body or (bare and not factor):
        return ""
    return rf"{factor}\,{body}" if bare else rf"{factor} \bigl({body}\bigr)".lstrip()


def _sum(left: str, right: str, sign: str = "+") -> str:
    return f"{left} {sign} {right}" if right else left
