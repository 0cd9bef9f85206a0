r"""`LawChange`: the exact change of a conservation law under a training rule, and what all such identities need.

For a law $h(\theta) = \tfrac12\theta^\top A\theta + \langle b, \theta\rangle + c$ of gradient flow every
combination $g$ of the generators has $\langle g, \nabla h(\theta)\rangle = 0$, so that a step changes $h$ at
second order only, by a known amount. With $h_2$ and $h_1$ the quadratic and the linear part, and $A$ skew in a
Noether law $\ell = \langle v, A\theta + b\rangle$, each rule states its identity. That the law is one of the rule's own
flow is tested, not assumed: where it is not, the identity keeps its term of first order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from .._errors import NotApplicableError
from ..citations import in_words
from ..display.displayed import Displayed
from ..display.text import Formula
from ..laws.law import Law
from ..laws.law_forms import Evaluator, LawForm, noether_form
from ..laws.number_types import Numbers

NOETHER = "[marcotte2024keep] (laws of momentum flows)"
TAYLOR = "Taylor's formula, which is exact for a quadratic"
#: The named arrays that an identity may need, each with the factors' names and shapes.
VALUES = ("theta", "velocity", "gradient", "shift", "displacement", "middle")
#: Largest violation, relative to the sizes of what cancels, at which a derivative counts as identically zero. It is a
#: polynomial at random points: if it is not zero identically it is of the size of its terms.
VANISHES = 1e-9

At = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, repr=False)
class LawChange(Displayed):
    r"""How a rule changes a law, as an exact identity: `quantity = right_side`; made by `law.change(rule)`.

    Attributes:
        law: the law; for a Noether law the identity is about $\ell$, without the factor $e^{\tau t}$.
        rule: the training rule.
        quantity: LaTeX of the left side, such as $H_+ - H$ for a step and $\dot H$ for a flow.
        right_side: LaTeX, with $G$ the gradient and $V$ the velocity of a factor.
        order: LaTeX of the drift over a fixed time beyond a decay that the identity states; `"0"` for none.
        needs: the arguments of `predict`.
        source: where the identity is from.
        companion: the identity of $q = \langle v, \nabla h\rangle$, which that of a law under momentum needs.
        numbers: numbers that stand for those of the rule, see `with_numbers`.

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.Architecture(lambda p: p["U"] @ p["V"].T, {"U": (2, 2), "V": (3, 2)})
        >>> law = dln.conservation_laws(arch).laws[0]
        >>> law.change(dln.GradientDescent(arch, lambda z: (z**2).sum(), 0.5)).right_side
        '\\eta^2 \\bigl(G_{U}^\\top G_{U} - G_{V}^\\top G_{V}\\bigr)'
    """

    form: LawForm
    rule: Any
    quantity: str
    right_side: str
    order: str
    needs: tuple[str, ...]
    identity: Callable[[Evaluator, At, At], Any]
    source: str = TAYLOR
    multiplier: Callable[[Any, At], Any] | None = None
    companion: LawChange | None = None
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def law(self) -> Law:
        """The law that changes."""
        return self.form.law

    @property
    def statement(self) -> str:
        """The identity in LaTeX, with what its symbol stands for."""
        return rf"{self.quantity} = {self.right_side},\qquad {self.form.symbol} = {self.form.definition}"

    def with_numbers(self, **numbers: Any) -> LawChange:
        """The same identity with other numbers in place of the rule's own: fractions, SymPy symbols, traced arrays.

        Args:
            **numbers: by the names of `rule.numbers_at`, such as `learning_rate=sympy.Symbol("eta")`.

        Raises:
            ValueError: a name that the rule does not have.
        """
        known = self.rule.numbers_at(0.0)
        if unknown := sorted(set(numbers) - set(known)):
            raise ValueError(f"Argument `numbers` must be among {sorted(known)}, but has {unknown}.")
        companion = self.companion and self.companion.with_numbers(**numbers)
        return dataclasses.replace(self, numbers={**self.numbers, **numbers}, companion=companion)

    def predict(
        self,
        *,
        theta: Mapping[str, Any] | None = None,
        velocity: Mapping[str, Any] | None = None,
        gradient: Mapping[str, Any] | None = None,
        shift: Mapping[str, Any] | None = None,
        displacement: Mapping[str, Any] | None = None,
        middle: Mapping[str, Any] | None = None,
        noise: Sequence[Mapping[str, Any]] | None = None,
        time: Any = None,
    ) -> Any:
        r"""The right side at a point, in the shape of `law(params)`; pure for JAX arrays.

        Args:
            theta: the factors before the step, by name. For this and the others only what `needs` lists is read.
            velocity: the velocity before the step, by name of the factor.
            gradient: $\nabla f$ where the rule takes it: of any loss, minibatch and data set. Without weight decay and
                rates, which the identity adds.
            shift: the point at which the rule takes the gradient, minus `theta`.
            displacement: the step itself.
            middle: the midpoint of an implicit step.
            noise: the columns of the noise.
            time: the time, for schedules and friction c/t.

        Returns:
            A JAX array for floats; an object array for integers, `Fraction`, `flint.fmpq`, SymPy or
            `SparsePolynomial` entries, exactly, where floats in the rule are read as simplest fractions.

        Raises:
            ValueError: an argument is missing, or has other names or shapes than the factors.
        """
        given = {name: value for name, value in locals().items() if name != "self"}
        if missing := [name for name in self.needs if given[name] is None]:
            raise ValueError(f"Argument `{missing[0]}` must be given for {self.rule!r}, but is not.")
        used = {name: self.form.checked(name, given[name]) for name in self.needs if name in VALUES}
        columns = [self.form.checked("noise", column) for column in noise or () if "noise" in self.needs]
        arrays = [array for group in (*used.values(), *columns) for array in group]
        # An identity that needs nothing answers in the number type of what it is given.
        spare = [array for name in VALUES if given[name] is not None for array in given[name].values()]
        numbers = Numbers(arrays or spare)
        at: dict[str, Any] = {name: numbers.flat(group) for name, group in used.items()}
        at |= {"noise": [numbers.flat(column) for column in columns]}
        at |= {"time": numbers.scalar(time)} if "time" in self.needs else {}
        own = {**self.rule.numbers_at(0.0 if time is None else time), **self.numbers}
        return self.form.arranged(self.identity(Evaluator(self.form, numbers), at, own))

    def at(self, state: Mapping[str, Any], when: Any = 0) -> Any:
        """The right side at a state of a run, with the rule's own gradient there; pure for JAX arrays.

        Args:
            state: the state before step `when`, or at time `when`.
            when: the number of the step, or the time of a flow.
        """
        values = self.rule.law_values(when, dict(state))
        used = {name: value for name, value in values.items() if name in self.needs}
        return self.predict(**(used or {"theta": self.rule.parameters(dict(state))}))

    def factor(self, time: Any) -> Any:
        """By what the law is multiplied after some time, in steps for a discrete rule; `None` if by nothing."""
        if self.multiplier is None:
            return None
        return self.multiplier(time, {**self.rule.numbers_at(0.0), **self.numbers})

    def _title(self) -> str:
        return f"Change of {self.law.name} under {self.rule.label}"

    def _formulas(self) -> list[str]:
        return [self.statement]

    def _facts(self) -> list[tuple[str, Any]]:
        what = "drift beyond that decay" if self.order == "0" else "drift over a fixed time"
        return [
            ("law", self.law.name),
            ("rule", repr(self.rule)),
            (what, Formula(self.order)),
            ("source", in_words(self.source)),
        ]

    def __repr__(self) -> str:
        return f"LawChange({self.law.name}, {self.rule!r}: {self.quantity} = {self.right_side})"


def form_of(rule: Any, law: Law, *, any_degree: bool = False) -> LawForm:
    """The form of a law that a rule can change: about its factors, and of degree two unless `any_degree`.

    Raises:
        ValueError: the law is about other factors.
        NotApplicableError: it is of higher degree or rational, or no time factor times <v, A theta + b>.
    """
    form = noether_form(law) or LawForm(law, law.blocks, law.polynomials)
    if dict(form.factors) != rule.architecture.shapes:
        raise ValueError(
            f"Argument `law` must be about the factors {rule.architecture.shapes} of {rule.architecture.name}, but is "
            f"about {dict(form.factors)}."
        )
    if not form.noether and not any_degree and (law.is_rational or law.degree > 2):
        kind = "is rational" if law.is_rational else f"has degree {law.degree}"
        raise NotApplicableError(
            f"Argument `law` must be at most quadratic for {rule!r}, but {law.name} {kind}.",
            requirement="a law of degree at most 2",
            measured=kind,
        )
    return form


def needs_velocity(rule: Any, form: LawForm) -> NotApplicableError:
    """The error that a rule without a velocity raises for a Noether law."""
    return NotApplicableError(
        f"Argument `rule` must have a velocity for the law {form.law.name}, but {rule!r} has none.",
        requirement="a rule with a velocity",
    )


def is_conserved_by(
    form: LawForm, rule: Any, direction: Callable[[Evaluator, Any, Any], Any] | None = None
) -> bool:
    r"""Whether $\langle\nabla h(\theta), E\,\nabla\varphi(\theta)^\top c\rangle = 0$ for all $\theta$ and $c$.

    Tested at two random points with JAX's derivative of φ, relative to the size of the terms that cancel.

    Args:
        form: the law.
        rule: its architecture and rates are used.
        direction: maps evaluator, flat θ and flat gradient to the direction that replaces the gradient.
    """
    arch = rule.architecture
    rates = rule.training.rates
    with jax.ensure_compile_time_eval():
        rng = np.random.default_rng(0)
        for _ in range(2):
            theta = {name: rng.standard_normal(shape) for name, shape in form.factors}
            _, pull = jax.vjp(arch, {name: jnp.asarray(value) for name, value in theta.items()})
            (gradient,) = pull(jnp.asarray(rng.standard_normal(arch.output_shape)))
            numbers = Numbers([np.zeros(0)])
            x, g = (numbers.flat([group[name] for name in form.names]) for group in (theta, gradient))
            exact, size = Evaluator(form, numbers), Evaluator(form, numbers, absolute=True)
            g = g if direction is None else direction(exact, x, g)
            g = exact.by_factor({name: np.asarray(rate) for name, rate in rates.items()}, 1) * g
            if form.noether:
                found, bound = exact.value(exact.joined(x, g)), size.value(exact.joined(abs(x), abs(g)))
            else:
                found, bound = exact.numerator(x, g), size.numerator(abs(x), abs(g), 1)
            if not bool(jnp.all(jnp.abs(found) <= VANISHES * bound)):
                return False
    return True


def invariance(rule: Any, form: LawForm, source: str, *, discrete: bool = True) -> LawChange:
    """The identity of a rule that keeps a law exactly."""
    quantity = f"{form.symbol}_+ - {form.symbol}" if discrete else rf"\dot{{{form.symbol}}}"
    return LawChange(form, rule, quantity, "0", "0", (), lambda h, at, p: h.zero(), source)


def taylor(rule: Any, form: LawForm) -> LawChange:
    r"""$h_+ - h = \langle\nabla h(\theta), \Delta\rangle + h_2(\Delta)$, the identity of any step at all."""
    H = form.symbol
    right = plus(rf"\langle \nabla {H}, \Delta \rangle", form.written(r"\Delta_{{{0}}}", degree=2))

    def identity(h: Evaluator, at: At, p: At) -> Any:
        return h.pairing(at["theta"], at["displacement"]) + h.part(2, at["displacement"])

    return LawChange(form, rule, f"{H}_+ - {H}", right, "O(1)", ("theta", "displacement"), identity)


def scaled(h: Evaluator, values: Mapping[str, Any], x: Any) -> Any:
    """A vector times numbers by factor; `{}` stands for ones."""
    return h.by_factor(values, 1) * x if values else x


def decayed(h: Evaluator, p: At, x: Any, coupled: bool) -> Any:
    r"""$\Gamma x$, with the rates where the decay is part of the gradient."""
    product = h.by_factor(p["decay"], 0) * x
    return scaled(h, p["rates"], product) if coupled else product


def common_decay(rule: Any, form: LawForm) -> Any:
    """The decay, rate included, that all factors in a law share at all times, or `None`."""
    training = rule.training
    if not training.is_decaying:
        return 0.0
    at = training.numbers(rule.architecture, 0.0)
    if callable(training.decay) and isinstance(training.decay(0.0), Mapping):
        return None
    if at["rates"] and not training.decoupled:
        at["decay"] = {name: at["rates"][name] * value for name, value in at["decay"].items()}
    every = [at["decay"][name] for name in form.involved] or [0.0]
    return every[0] if all(same(value, every[0]) for value in every) else None


def times(factor: str, body: str, bare: bool = False) -> str:
    """LaTeX of a product; empty if the body is."""
    if not body or (bare and not factor):
        return ""
    return rf"{factor}\,{body}" if bare else rf"{factor} \bigl({body}\bigr)".lstrip()


def plus(left: str, right: str, sign: str = "+") -> str:
    """LaTeX of a sum, where either may be empty."""
    if not left:
        return right if sign == "+" or not right else f"-{right}"
    return f"{left} {sign} {right}" if right else left


def same(a: Any, b: Any) -> bool:
    """Whether two numbers are known to be equal; traced ones are if they are one object."""
    try:
        return a is b or bool(a == b)
    except jax.errors.TracerBoolConversionError:
        return False


def flow_change(
    rule: Any, law: Law, *, direction: Callable[[Evaluator, Any, Any], Any] | None = None
) -> LawChange:
    r"""The rate of change of any law, polynomial or rational, in $\theta' = -a\,M(Eg + D)$, with $D$ the weight decay.

    $h' = -a\langle\nabla h, MD\rangle$ for every law of the flow with these rates, since
    $\langle\nabla h, MEg\rangle = 0$; for another function that term stays.

    Args:
        rule: a flow of this form.
        law: a law of gradient flow.
        direction: multiplies a flat vector by $M(\theta)$, from evaluator, flat θ and the vector; by default $M = 1$.
    """
    form = form_of(rule, law, any_degree=True)
    if form.noether:
        raise needs_velocity(rule, form)
    keeps, training = is_conserved_by(form, rule, direction), rule.training
    if keeps and not training.is_decaying:
        return invariance(rule, form, "the law's own flow", discrete=False)

    def identity(h: Evaluator, at: At, p: At) -> Any:
        theta = at["theta"]
        force = decayed(h, p, theta, not training.decoupled) if p["decay"] else 0 * theta
        force = force if keeps else force + scaled(h, p["rates"], at["gradient"])
        force = force if direction is None else direction(h, theta, force)
        return -h.number(p["speed"]) * h.pairing(theta, force)

    def factor(time: Any, p: At) -> Any:
        if training.is_constant:
            rate = 1 if training.decoupled else p["rates"].get(form.involved[0], 1)
            return exponential(form.homogeneous_degree, rate * p["decay"][form.involved[0]], time)
        return float(np.exp(-(form.homogeneous_degree or 0) * decay_integral(rule, form.involved[0], time)))

    H, degree, multiplier = form.symbol, form.homogeneous_degree, None
    if keeps and degree is not None and direction is None and common_decay(rule, form) is not None:
        right = rf"-{degree if degree != 1 else ''}\lambda {H}" if degree else "0"
        multiplier = factor
    else:
        speed = r"\lambda" if common_decay(rule, form) is not None else r"\Lambda"
        metric = "" if direction is None else "M "
        inner = "" if not training.is_decaying else rf"{metric}{speed} \theta"
        inner = inner if keeps else plus(f"{metric}E G", inner)
        right = rf"-\langle \nabla {H}, {inner} \rangle"
    if training.schedule is not None and right != "0":
        right = "-a " + right.removeprefix("-")
    needs = ("theta",) + ("gradient",) * (not keeps) + ("time",) * (not training.is_constant)
    source = "Euler's identity for homogeneous functions" if multiplier else "the chain rule"
    order = "0" if keeps else "O(1)"
    return LawChange(form, rule, rf"\dot{{{H}}}", right, order, needs, identity, source, multiplier)


def decay_integral(rule: Any, factor: str, time: Any) -> float:
    r"""$\int_0^t a\,\Gamma_l\,ds$ of one factor, by quadrature."""
    from scipy.integrate import quad

    training = rule.training
    rate = 1.0 if training.decoupled else float(training.rates.get(factor, 1.0))

    def integrand(s: float) -> float:
        return float(training.speed(s)) * rate * float(training.decay_of(factor, s))

    return quad(integrand, 0.0, float(time), epsabs=1e-13, epsrel=1e-13)[0]


def exponential(degree: int | None, rate: Any, time: Any) -> Any:
    r"""$e^{-k\lambda t}$ in the type of its arguments."""
    exponent = -(degree or 0) * rate * time
    if isinstance(exponent, sympy.Basic):
        return sympy.exp(exponent)
    return jnp.exp(exponent) if isinstance(exponent, jax.Array) else math.exp(float(exponent))
