"""Events: conditions that end a run early, given to `solve` and `iterate` as `stop=`."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import real_number
from ..exact.traced import TracedMap
from .base import AbstractFlow, AbstractTrainingRule, State


class AbstractEvent(eqx.Module):
    """A real function of the state; the run ends where it crosses zero from above.

    Real rather than boolean, so that the time of the crossing can be located by root finding. A plain function
    `(t, params) -> number` will do for `stop=` as well, see `StopFunction`. In a batch the run ends where the event has
    happened in every member.
    """

    #: Whether one member of a batch is enough to end a run.
    by_any_member: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """What happened, in words, for `Trajectory.stats.stopped_by`."""

    @abc.abstractmethod
    def value(self, rule: AbstractTrainingRule, t: Any, state: State) -> Any:
        """Positive before the event, zero at it. Pure."""


class LossBelow(AbstractEvent):
    """The loss reaches a level.

    Args:
        level: the loss value, in the units of the loss object; the crossing is located to rounding.
    """

    level: np.ndarray

    def __init__(self, level: float):
        self.level = np.asarray(real_number(level, "level"))

    @property
    def label(self) -> str:
        return "loss level reached"

    def value(self, rule: AbstractTrainingRule, t: Any, state: State) -> Any:
        training = rule.training
        assert training is not None  # an unbound reduction is refused before any event is evaluated
        return training.loss(rule.output(state)) - self.level


class StopFunction(AbstractEvent):
    """A plain function `(t, params) -> number`: the run ends where it crosses zero, from either side.

    It is traced once; the same code makes the same program, so that a cell which is run again compiles nothing.

    Args:
        function: of gradient-flow time and the network's parameters in the form that φ takes them; for a flow whose
            state is not the parameters, of its state.
        rule: what will run.
        state: its start, for names and shapes.

    Raises:
        ValueError: it returns no number.
    """

    traced: TracedMap = eqx.field(static=True)
    name: str = eqx.field(static=True)
    sign: Any

    def __init__(self, function: Callable[[Any, Any], Any], rule: AbstractTrainingRule, state: State):
        arch = rule.architecture
        has_parameters = all(name in state for name in arch.shapes)

        def value(arrays: State) -> Any:
            named = {name: arrays[f"y/{name}"] for name in state}
            params = arch.as_pytree(rule.parameters(named)) if has_parameters else named
            number = jnp.asarray(function(arrays["t"], params), dtype=float)
            if number.shape:
                raise ValueError(
                    f"Argument `stop` must hold functions that return one number, but {self.name} returns an array of "
                    f"shape {number.shape}."
                )
            return number

        self.name = getattr(function, "__name__", type(function).__name__)
        self.traced = TracedMap(value, {"t": (), **{f"y/{name}": jnp.shape(x) for name, x in state.items()}})
        self.sign = np.asarray(1.0)

    @property
    def label(self) -> str:
        return "stop function crossed zero" if self.name == "<lambda>" else f"{self.name} crossed zero"

    def value(self, rule: AbstractTrainingRule, t: Any, state: State) -> Any:
        arrays = {"t": jnp.asarray(t, dtype=float), **{f"y/{name}": x for name, x in state.items()}}
        return self.sign * self.traced(arrays)


def checked_events(
    stop: Any, rule: AbstractTrainingRule, t: Any, state: State, is_batched: bool
) -> tuple[AbstractEvent, ...]:
    """`stop=` as events, each of which has not happened at the start. Not jit-compatible.

    Raises:
        ValueError: neither an event nor a function nor several of them, or one that holds at the start already.
    """
    given = (stop,) if isinstance(stop, AbstractEvent) or callable(stop) else stop
    if not isinstance(given, Iterable):
        raise ValueError(
            f"Argument `stop` must be an event, a function of (t, params), or several of them, but is {stop!r}."
        )
    one = jax.tree.map(lambda leaf: leaf[0], state) if is_batched else state
    events = []
    for each in given:
        if not (isinstance(each, AbstractEvent) or callable(each)):
            raise ValueError(
                f"Argument `stop` must hold events or functions of (t, params), but holds {each!r}."
            )
        event = each if isinstance(each, AbstractEvent) else StopFunction(each, rule, one)
        values = np.asarray(member_values(event, rule, t, state, is_batched))
        if isinstance(event, StopFunction) and np.all(values < 0):
            event, values = eqx.tree_at(lambda e: e.sign, event, np.asarray(-1.0)), -values
        if not np.any(values > 0):
            raise ValueError(f"Argument `stop` must not hold at the start already, but: {event.label}.")
        events.append(event)
    return tuple(events)


def member_values(event: AbstractEvent, rule: Any, t: Any, state: State, is_batched: bool) -> Any:
    """The value of an event, for each member of a batch. Pure."""
    if not is_batched:
        return event.value(rule, t, state)
    return jax.vmap(lambda one: event.value(rule, t, one))(state)


def event_values(events: tuple[AbstractEvent, ...], rule: Any, t: Any, state: State, is_batched: bool) -> Any:
    """(events,) their values, positive as long as the run goes on. Pure."""
    values = []
    for event in events:
        value = member_values(event, rule, t, state, is_batched)
        values.append((jnp.min if event.by_any_member else jnp.max)(value))
    return jnp.stack(values)


class SteadyState(AbstractEvent):
    r"""The velocity falls to $\|y'\| = a + r\|y\|$ (Euclidean norms over the whole state; $y'$ per unit of time).

    A long plateau is slow as well: choose `rtol` below the slowest rate that matters.
    """

    rtol: np.ndarray
    atol: np.ndarray

    def __init__(self, rtol: float = 1e-8, atol: float = 0.0):
        self.rtol = np.asarray(real_number(rtol, "rtol", minimum=0))
        self.atol = np.asarray(real_number(atol, "atol", minimum=0))
        if not rtol + atol > 0:
            raise ValueError(f"Arguments `rtol` and `atol` must not be both zero, but are {rtol} and {atol}.")

    @property
    def label(self) -> str:
        return "steady state reached"

    def value(self, rule: AbstractTrainingRule, t: Any, state: State) -> Any:
        if isinstance(rule, AbstractFlow):
            velocity = rule.velocity(t, state)
        else:
            k = jnp.round(t / rule.time_step)  # pyright: ignore[reportAttributeAccessIssue]
            after = rule.step(k, state)  # pyright: ignore[reportAttributeAccessIssue]
            velocity = {name: (after[name] - state[name]) / rule.time_step for name in state}  # pyright: ignore
        return _norm(velocity) - (self.atol + self.rtol * _norm(state))


def _norm(state: State):
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(state)))
