r"""`AbstractDescent`: rules that step the parameters along gradients, and the identity that all of them share."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ...architecture import Architecture
from ...laws.law import Law
from ...laws.law_forms import Evaluator, LawForm
from ..base import AbstractIteration, State
from ..law_change import (
    NOETHER,
    At,
    LawChange,
    common_decay,
    decayed,
    form_of,
    is_conserved_by,
    needs_velocity,
    plus,
    scaled,
    times,
)
from ..settings import Training
from .gradient_flow import chain_imbalances


class AbstractDescent(AbstractIteration):
    r"""A rule that steps the parameters by gradients, a learning rate and a memory, and stands for a gradient flow.

    A subclass writes `update` alone. Learning rates by factor, the schedule and both kinds of weight decay are added by
    `advance`, so that every rule has them. The memory is kept in the state beside the factors.
    """

    architecture: eqx.AbstractVar[Architecture]
    training: eqx.AbstractVar[Training]
    learning_rate: eqx.AbstractVar[Any]

    @abc.abstractmethod
    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        r"""The parameters and the memory after a step, for arrays of any number type. Pure.

        Args:
            eta: the step size of each factor.
            theta: the parameters.
            memory: what `memory` returned or the last step left.
            gradient: maps parameters to the gradient there, coupled weight decay included.
            numbers: the numbers of the rule, see `numbers_at`.
        """

    def memory(self, theta: Mapping[str, Any]) -> State:
        """The memory at the start, by names that no factor has. Pure."""
        return {}

    def numbers_at(self, t: Any) -> dict[str, Any]:
        """The numbers of the rule at a time: learning rate with its schedule, rates, decay, those of a subclass."""
        training = self.training
        learning_rate = self.learning_rate
        if training.schedule is not None:
            learning_rate = learning_rate * training.schedule(t)
        return {"learning_rate": learning_rate, **training.numbers(self.architecture, t)}

    def slope(self, k: Any, theta: State) -> State:
        r"""$\nabla f$ at parameters, for step number `k`: of the whole loss by default. Pure."""
        return jax.grad(lambda p: self.training.loss(self.architecture(p)))(theta)

    def advance(
        self,
        theta: State,
        memory: State,
        slope: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        r"""One step, for arrays of any number type (floats of JAX, fractions, polynomials). Pure.

        Args:
            theta: the parameters.
            memory: the memory.
            slope: maps parameters to $\nabla f$ there.
            numbers: as from `numbers_at`, in the number type of the arrays.
        """
        rates, decay = numbers["rates"], numbers["decay"]
        learning_rate, coupled = numbers["learning_rate"], not self.training.decoupled
        eta = {name: learning_rate * rates[name] if name in rates else learning_rate for name in theta}

        def gradient(at: State) -> State:
            plain = slope(at)
            if not (decay and coupled):
                return plain
            return {name: plain[name] + decay[name] * at[name] for name in plain}

        after, memory = self.update(eta, theta, memory, gradient, numbers)
        if decay and not coupled:
            after = {n: after[n] - learning_rate * decay[n] * theta[n] for n in after}
        return after, memory

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return {**theta0, **self.memory(theta0)}

    def step(self, k: Any, state: State) -> State:
        theta, memory = self._split(state)
        after, memory = self.advance(
            theta, memory, lambda at: self.slope(k, at), self.numbers_at(self.time_of(k))
        )
        # In the order of the state, which is a carry of compiled loops.
        new = {**after, **memory}
        return {name: new[name] for name in state}

    def conserved(self, state: State) -> dict[str, Any]:
        return chain_imbalances(self.architecture, self.training, state)

    def law_values(self, k: Any, state: State) -> dict[str, Any]:
        """What identities of law changes need at a state, by the names of `LawChange.predict`. Pure."""
        theta, memory = self._split(state)
        taken: list[tuple[State, State]] = []

        def slope(at: State) -> State:
            taken.append((at, self.slope(k, at)))
            return taken[-1][1]

        time = self.time_of(k)
        after, _ = self.advance(theta, memory, slope, self.numbers_at(time))
        where, gradient = taken[-1]
        return {
            "theta": theta,
            "velocity": {name: memory.get(f"{name}'", 0 * value) for name, value in theta.items()},
            "gradient": gradient,
            "shift": {name: where[name] - theta[name] for name in theta},
            "displacement": {name: after[name] - theta[name] for name in theta},
            "middle": where,
            "time": time,
        }

    def _split(self, state: State) -> tuple[State, State]:
        theta = self.parameters(state)
        return theta, {name: value for name, value in state.items() if name not in theta}


class AbstractMomentumDescent(AbstractDescent):
    """A descent with a velocity for each factor, named with a prime, and a momentum."""

    momentum: eqx.AbstractVar[Any]

    def memory(self, theta: Mapping[str, Any]) -> State:
        return {f"{name}'": 0 * value for name, value in theta.items()}

    def numbers_at(self, t: Any) -> dict[str, Any]:
        return {**super().numbers_at(t), "momentum": self.momentum}

    def law_coordinates(self, t: Any, state: State) -> State:
        # Noether laws have a time factor that these steps do not have.
        return {"s": jnp.ones(()), **state}


def descent_change(
    rule: AbstractDescent,
    law: Law,
    *,
    momentum: bool = False,
    shift: str | None = None,
    direction: Callable[[Evaluator, Any, Any], Any] | None = None,
) -> LawChange:
    r"""The change of a law in the step $\theta_+ = \theta + \beta v - \eta(E\tilde g + D)$, $\tilde g = g(\theta + p)$.

    With $\Delta = \theta_+ - \theta$ and $D$ the weight decay, for every law of the flow with these rates
    $$h_+ - h = \beta\langle\nabla h, v\rangle + \eta\langle Ap, E\tilde g\rangle - \eta\langle\nabla h, D\rangle
    + h_2(\Delta), \qquad \ell_+ - \ell = (\beta - 1)\ell + \eta\langle E\tilde g, Ap\rangle
    - \eta\langle D, A\theta + b\rangle,$$
    since $\langle\nabla h(\theta + p), E\tilde g\rangle = 0$. If the law is none of that flow, the term of first order
    $-\eta\langle\nabla h(\theta+p), E\tilde g\rangle$ stays.

    Args:
        rule: a rule with a step of this form.
        law: a law of gradient flow of degree at most 2, or a Noether law for rules with momentum.
        momentum: whether the rule has a velocity $v$ and a momentum $\beta$ under these names.
        shift: LaTeX of $p$, or `None` if the gradient is taken at θ.
        direction: what the rule does to a gradient before it steps, from evaluator, flat θ and flat gradient.
    """
    form = form_of(rule, law)
    if form.noether and not momentum:
        raise needs_velocity(rule, form)
    keeps = is_conserved_by(form, rule, direction)
    values = ["theta"] * (momentum or rule.training.is_decaying or not keeps or direction is not None)
    values += ["velocity"] * momentum + ["gradient"] + ["shift"] * bool(shift)
    needs = tuple(values) + ("time",) * (not rule.training.is_constant)
    coupled = not rule.training.decoupled

    def pieces(h: Evaluator, at: At, p: At) -> _Pieces:
        eta, g = h.number(p["learning_rate"]), at["gradient"]
        drive = scaled(h, p["rates"], g if direction is None else direction(h, at["theta"], g))
        force, decay = drive, None
        if p["decay"]:
            where = at["theta"] + at["shift"] if shift and coupled else at["theta"]
            decay = decayed(h, p, where, coupled)
            force = drive + decay
        faster, delta = -eta * (force if coupled else drive), -eta * force
        if momentum:
            kept = h.number(p["momentum"]) * at["velocity"]
            faster, delta = faster + kept, delta + kept
        return _Pieces(eta, drive, decay, faster, delta)

    if form.noether:
        return _noether_change(rule, form, pieces, needs, keeps, bool(shift))

    def first_order(h: Evaluator, at: At, p: At, x: _Pieces, with_decay: bool) -> Any:
        """The part of first order in the step that does not cancel."""
        total = h.zero()
        if momentum:
            total = total + h.number(p["momentum"]) * h.pairing(at["theta"], at["velocity"])
        if not keeps:
            total = total - x.eta * h.pairing(at["theta"], x.drive)
        elif shift:
            total = total + x.eta * h.polar(at["shift"], x.drive)
        return total if x.decay is None or not with_decay else total - x.eta * h.pairing(at["theta"], x.decay)

    def identity(h: Evaluator, at: At, p: At) -> Any:
        x = pieces(h, at, p)
        return first_order(h, at, p, x, with_decay=True) + h.part(2, x.delta)

    def companion(h: Evaluator, at: At, p: At) -> Any:
        x = pieces(h, at, p)
        q = h.pairing(at["theta"], at["velocity"])
        return first_order(h, at, p, x, with_decay=coupled) + h.polar(x.faster, x.delta) - q

    H = form.symbol
    difference = f"{H}_+ - {H}"
    if keeps and not momentum and not shift:
        right, order = _text_of_plain_steps(rule, form)
        needs = needs if right != "0" else ()
        return LawChange(form, rule, difference, right, order, needs, identity if needs else _no_change)
    square = form.written(r"\Delta_{{{0}}}", degree=2)
    if not keeps:
        step = plus(r"\beta V" if momentum else "", _force_text(rule), "-")
        right = plus(rf"\langle \nabla {H}, \Delta \rangle", square) + rf",\quad \Delta = {step}"
        return LawChange(form, rule, difference, right, "O(1)", needs, identity)
    first = r"\beta Q" if momentum else ""
    lost = r"\eta \langle A P, E G \rangle" if shift and square else ""
    where = rf",\quad Q = \langle V, \nabla {H} \rangle" if momentum else ""
    where += rf",\quad P = {shift}" if lost else ""
    decays = rf"\eta \langle \nabla {H}, \Lambda\theta \rangle" if rule.training.is_decaying else ""
    # A shift that does not shrink with the step leaves a drift that does not either.
    order = "0" if not square else r"O(\eta)" if momentum else r"O(\rho) + O(\eta)"

    def written(kept: str, squares: str, decays: str) -> str:
        return plus(plus(plus(kept, decays, "-"), times(squares, square)), lost) + where

    further = None
    if momentum:
        right = written(r"(\beta - 1) Q", "2", decays)
        if rule.training.is_decaying and not coupled:
            right = written(r"(\beta - 1) Q", "", "") + r" + \langle V_+, A \Delta \rangle - h_2(\Delta)"
        further = LawChange(form, rule, "Q_+ - Q", right, order, needs, companion)
    return LawChange(
        form, rule, difference, written(first, "", decays), order, needs, identity, companion=further
    )


class _Pieces(NamedTuple):
    r"""What a step is made of, as flat vectors: $\eta$, $E\tilde g$, decay or `None`, $v_+$ and $\Delta$."""

    eta: Any
    drive: Any
    decay: Any
    faster: Any
    delta: Any


def _noether_change(
    rule: AbstractDescent,
    form: LawForm,
    pieces: Callable[[Evaluator, At, At], _Pieces],
    needs: tuple[str, ...],
    keeps: bool,
    shifted: bool,
) -> LawChange:
    coupled, decaying = not rule.training.decoupled, rule.training.is_decaying

    def identity(h: Evaluator, at: At, p: At) -> Any:
        x, theta = pieces(h, at, p), at["theta"]
        change = (h.number(p["momentum"]) - h.number(1)) * h.value(h.joined(theta, at["velocity"]))
        if not keeps:
            change = change - x.eta * h.value(h.joined(theta, x.drive))
        elif shifted:
            change = change + x.eta * h.part(2, h.joined(at["shift"], x.drive))
        if x.decay is None:
            return change
        if coupled:
            return change - x.eta * h.value(h.joined(theta, x.decay))
        return change - x.eta * h.part(2, h.joined(x.decay, x.faster))

    S = form.symbol
    common = common_decay(rule, form)
    # Uniform decay: <theta, A theta> = 0, so that only the linear part of the law feels a coupled one.
    pure = keeps and not shifted and common is not None and form.homogeneous_degree == 2

    def factor(steps: Any, p: At) -> Any:
        kept = p["momentum"] ** steps
        if coupled or not decaying:
            return kept
        return kept * (1 - p["learning_rate"] * p["decay"][form.involved[0]]) ** steps

    lost = times(r"\eta\beta", form.written("G_{{{0}}}", "V_{{{0}}}", degree=2)) if shifted and keeps else ""
    right = plus(rf"(\beta - 1) {S}", lost, "-")
    if not keeps:
        right += r" - \eta \langle E G, A\theta + b \rangle"
    if decaying and coupled and not pure:
        right += r" - \eta \langle \Lambda\theta, A\theta + b \rangle"
    elif decaying and not coupled:
        right = (
            rf"((1 - \eta\lambda)\beta - 1) {S}"
            if pure
            else right + r" - \eta \langle V_+, A\Lambda\theta \rangle"
        )
    order = "O(1)" if not keeps else r"O(\eta)" if lost else "0"
    multiplier = factor if pure and rule.training.is_constant else None
    return LawChange(form, rule, f"{S}_+ - {S}", right, order, needs, identity, NOETHER, multiplier)


def _text_of_plain_steps(rule: AbstractDescent, form: LawForm) -> tuple[str, str]:
    """Right side and order for steps along the gradient at θ."""
    H, common = form.symbol, common_decay(rule, form)
    rated = bool(rule.training.rates) and any(name in rule.training.rates for name in form.involved)
    grown = times(r"\eta^2", form.written("(E G)_{{{0}}}" if rated else "G_{{{0}}}", degree=2))
    if not rule.training.is_decaying:
        return grown or "0", r"O(\eta)" if grown else "0"
    if common is None:
        square = form.written(r"\Delta_{{{0}}}", degree=2)
        text = plus(rf"-\eta \langle \nabla {H}, \Lambda\theta \rangle", square)
        return text + rf",\quad \Delta = -{_force_text(rule)}", "O(1)"
    if form.homogeneous_degree == 2:
        return plus(rf"\bigl((1 - \eta\lambda)^2 - 1\bigr) {H}", grown), r"O(\eta)"
    if form.homogeneous_degree == 1:
        return rf"-\eta\lambda {H}", r"O(\eta)"
    text = plus(rf"\bigl((1 - \eta\lambda)^2 - 1\bigr) {H}_2 - \eta\lambda {H}_1", grown)
    return plus(text, times(r"\eta^2\lambda", form.written("G_{{{0}}}", degree=1)), "-"), r"O(\eta)"


def _force_text(rule: AbstractDescent) -> str:
    """What the step subtracts."""
    return r"\eta (E G + \Lambda\theta)" if rule.training.is_decaying else r"\eta E G"


def _no_change(h: Evaluator, at: At, p: At) -> Any:
    return h.zero()
