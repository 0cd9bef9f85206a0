r"""How training rules other than gradient flow break a law: exact identities for the change of a quadratic.

For a law $h(\theta) = \tfrac12\theta^\top A\theta + \langle b, \theta\rangle + c$ of gradient flow every combination $g$
of the generators has $\langle g, \nabla h(\theta)\rangle = 0$, so that a step changes $h$ at second order only, by a
known amount. With $h_2$ and $h_1$ the quadratic and the linear part, and $A$ skew in a Noether law
$\ell = \langle v, A\theta + b\rangle$, each rule below states its identity.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flint
import jax
import jax.numpy as jnp
import sympy

from .._text import key_values
from .breaking_values import Evaluator, LawForm, Numbers, noether_form
from .law import Law

_TAYLOR = "Taylor's formula, which is exact for a quadratic"
_NOETHER = "Marcotte, Gribonval and Peyré 2024 (laws of momentum flows)"
_VALUES = ("theta", "velocity", "gradient")


@dataclasses.dataclass(frozen=True, repr=False)
class Defect:
    r"""How a rule changes a law, as an exact identity: `quantity = right_side`.

    Attributes:
        law: the law; for a Noether law the identity is about $\ell$, without the factor $e^{\tau t}$.
        rule: the rule.
        quantity: LaTeX of the left side, such as $H_+ - H$.
        right_side: LaTeX, with $G$ the gradient and $V$ the velocity of a factor.
        order: LaTeX of the drift over a fixed time beyond a decay that the identity states; `"0"` for none.
        needs: the arguments of `predict`.
        source: where the identity is from.
        companion: the identity of $q = \langle v, \nabla h\rangle$, which that of a law under momentum needs.

    Example:
        >>> from dlntheory.laws.law import law_of_terms
        >>> law = law_of_terms((("U", (2, 1)), ("V", (3, 1))), [(1, "U", "gram-left"), (-1, "V", "gram-left")])
        >>> defect(law, GradientStep(Fraction(1, 2))).right_side
        '\\eta^2 \\bigl(G_{U}^\\top G_{U} - G_{V}^\\top G_{V}\\bigr)'
    """

    form: LawForm
    rule: AbstractRule
    quantity: str
    right_side: str
    order: str
    needs: tuple[str, ...]
    change: Callable[[Evaluator, Mapping[str, Any]], Any]
    source: str = _TAYLOR
    multiplier: Callable[[Any], Any] | None = None
    companion: Defect | None = None

    @property
    def law(self) -> Law:
        """The law that changes."""
        return self.form.law

    @property
    def statement(self) -> str:
        """The identity in LaTeX, with what its symbol stands for."""
        return rf"{self.quantity} = {self.right_side},\qquad {self.form.symbol} = {self.form.definition}"

    def predict(
        self,
        *,
        theta: Mapping[str, Any] | None = None,
        velocity: Mapping[str, Any] | None = None,
        gradient: Mapping[str, Any] | None = None,
        noise: Sequence[Mapping[str, Any]] | None = None,
        time: Any = None,
    ) -> Any:
        """The right side at a point, in the shape of `law(params)`; pure for JAX arrays.

        Args:
            theta: the factors before the step, by name. For this and the others only what `needs` lists is read.
            velocity: the velocity before the step, by name of the factor.
            gradient: what the rule subtracts, a combination of the generators where the rule takes it.
            noise: the columns of the noise.
            time: for friction c/t.

        Returns:
            A JAX array for floats; an object array for integers, `Fraction`, `flint.fmpq`, SymPy or
            `SparsePolynomial` entries, exactly, where floats in the rule are read as simplest fractions.

        Raises:
            ValueError: an argument is missing, or has other names or shapes than the factors.
        """
        given = {"theta": theta, "velocity": velocity, "gradient": gradient, "noise": noise, "time": time}
        if missing := [name for name in self.needs if given[name] is None]:
            raise ValueError(f"Argument `{missing[0]}` must be given for {self.rule!r}, but is not.")
        used = {name: self.form.checked(name, given[name]) for name in self.needs if name in _VALUES}
        columns = [self.form.checked("noise", column) for column in noise or () if "noise" in self.needs]
        arrays = [array for group in (*used.values(), *columns) for array in group]
        numbers = Numbers(arrays)
        at: dict[str, Any] = {name: numbers.flat(group) for name, group in used.items()}
        at |= {"noise": [numbers.flat(column) for column in columns]}
        at |= {"time": numbers.scalar(time)} if "time" in self.needs else {}
        return self.form.arranged(self.change(Evaluator(self.form, numbers), at))

    def factor(self, time: Any) -> Any:
        """What the law is multiplied by after some time, in steps for a discrete rule; `None` if no such number."""
        return None if self.multiplier is None else self.multiplier(time)

    def __str__(self) -> str:
        pairs = [("law", self.law.name), ("rule", repr(self.rule)), ("identity", self.statement)]
        return key_values([*pairs, ("drift over a fixed time", self.order), ("source", self.source)])

    def __repr__(self) -> str:
        return f"Defect({self.law.name}, {self.rule!r}: {self.quantity} = {self.right_side})"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.statement}$"


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
        Marcotte, Gribonval and Peyré 2023 and 2024; Cooper 1987 for the implicit midpoint rule.
    """
    rule = _as_rule(rule)
    if noether := noether_form(law):
        return rule.of_noether(noether)
    if not isinstance(rule, WeightDecay) and (law.is_rational or law.degree > 2):
        kind = "is rational" if law.is_rational else f"has degree {law.degree}"
        raise ValueError(f"Argument `law` must be at most quadratic for {rule!r}, but {law.name} {kind}.")
    return rule.of_quadratic(LawForm(law, law.blocks, law.polynomials))


class AbstractRule(abc.ABC):
    """A training rule as far as laws are concerned. Numbers may be floats, fractions or SymPy symbols."""

    def __post_init__(self):
        for name, value in vars(self).items():
            numbers = (
                value if isinstance(value, Mapping) else {name: value[1] if _is_over_t(value) else value}
            )
            for part, number in numbers.items():
                _check_number(name if part == name else f"{name}['{part}']", number)

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
        return _with_momentum(self, form, 0)

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
        return _with_momentum(self, form, 1)

    def of_noether(self, form: LawForm) -> Defect:
        def change(h: Evaluator, at: Mapping[str, Any]) -> Any:
            eta, beta = h.number(self.learning_rate), h.number(self.momentum)
            kept = (beta - h.number(1)) * h.value(h.joined(at["theta"], at["velocity"]))
            return kept - eta * beta * h.part(2, h.joined(at["gradient"], at["velocity"]))

        S, lost = form.symbol, _times(r"\eta\beta", form.written("G_{{{0}}}", "V_{{{0}}}", degree=2))
        right, order = _sum(rf"(\beta - 1) {S}", lost, "-"), r"O(\eta)" if lost else "0"
        return Defect(form, self, f"{S}_+ - {S}", right, order, _VALUES, change, _NOETHER)


@dataclasses.dataclass(frozen=True)
class WeightDecay(AbstractRule):
    r"""Gradient flow with weight decay, $\theta' = -g - \Lambda\theta$, where $h' = -\langle\nabla h, \Lambda\theta\rangle$.

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
        right = _times(r"\sum_k", form.written("G^k_{{{0}}}", degree=2))
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


def _with_momentum(rule: HeavyBall | LookAhead, form: LawForm, look_ahead: int) -> Defect:
    def change(squares: int, kept: int) -> Callable[[Evaluator, Mapping[str, Any]], Any]:
        def changed(h: Evaluator, at: Mapping[str, Any]) -> Any:
            eta, beta, v, g = (
                h.number(rule.learning_rate),
                h.number(rule.momentum),
                at["velocity"],
                at["gradient"],
            )
            total = (beta - h.number(kept)) * h.pairing(at["theta"], v)
            total += h.number(squares) * h.part(2, beta * v - eta * g)
            # The polar form of h_2 is <v, A g>.
            return total + eta * beta * h.polar(v, g) if look_ahead else total

        return changed

    H, square = form.symbol, form.written("V^+_{{{0}}}", degree=2)
    lost = r"\eta\beta \langle V, A G \rangle" if look_ahead and square else ""
    order, Q = r"O(\eta)" if form.degree == 2 else "0", rf"\langle V, \nabla {H} \rangle"
    right = _sum(_sum(rf"\beta {Q}", _times("2", square)), lost)
    companion = Defect(
        form, rule, "Q_+ - Q", right.replace(rf"\beta {Q}", r"(\beta - 1) Q"), order, _VALUES, change(2, 1)
    )
    right = _sum(_sum(r"\beta Q", _times("", square)), lost) + rf",\quad Q = {Q}"
    return Defect(form, rule, f"{H}_+ - {H}", right, order, _VALUES, change(1, 0), companion=companion)


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
    return GradientStep(
        *(_plain(value) for value in (rate, decay)), {name: _plain(rates[name]) for name in rates}
    )


def _plain(value: Any) -> Any:
    """Zero-dimensional arrays, as training rules hold them, as numbers."""
    return value if isinstance(value, jax.core.Tracer) or not hasattr(value, "item") else value.item()


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, (jax.Array, sympy.Basic)):
        return
    real = isinstance(value, (numbers.Real, flint.fmpq)) or getattr(value, "shape", None) == ()
    if not real or not (math.isfinite(float(value)) and float(value) >= 0):
        raise ValueError(f"Argument `{name}` must be a finite number of at least 0, but is {value!r}.")


def _is_over_t(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and value[0] == "over_t"


def _is_zero(value: Any) -> bool:
    return not isinstance(value, jax.core.Tracer) and bool(value == 0)


def _exp(degree: int, rate: Any, time: Any) -> Any:
    r"""$e^{-k \lambda t}$ in the type of its arguments."""
    if isinstance(rate, sympy.Basic) or isinstance(time, sympy.Basic):
        return sympy.exp(-degree * sympy.sympify(rate) * sympy.sympify(time))
    if isinstance(rate, jax.Array) or isinstance(time, jax.Array):
        return jnp.exp(-degree * rate * time)
    return math.exp(-degree * float(rate) * float(time))


def _times(factor: str, body: str, bare: bool = False) -> str:
    if not body or (bare and not factor):
        return ""
    return rf"{factor}\,{body}" if bare else rf"{factor} \bigl({body}\bigr)".lstrip()


def _sum(left: str, right: str, sign: str = "+") -> str:
    return f"{left} {sign} {right}" if right else left
