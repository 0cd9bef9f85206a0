"""What lets a diffrax run pause and go on exactly: a step controller with a checkpoint; and how long to run "
"until then."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

#: Seconds between two looks at the clock: how long Ctrl-C may go unheard.
CHUNK_SECONDS = 0.5
#: Steps before the first look; fewer where a state and its data have more than `FIRST_NUMBERS / FIRST_STEPS` numbers.
FIRST_STEPS = 4096
FIRST_NUMBERS = 8_000_000
#: Halvings that locate an event: beyond them the bracket, a step of the solver, is below the spacing of floats.
HALVINGS = 64


class ChunkLength:
    """How many steps fit into `CHUNK_SECONDS`: a guess from the size of the problem, then what was measured."""

    def __init__(self, *trees: Any):
        """Guess from the arrays of `trees`: one step reads all of them at least."""
        numbers = sum(np.size(leaf) for leaf in jax.tree.leaves(trees))
        self.steps = max(1, min(FIRST_STEPS, FIRST_NUMBERS // max(numbers, 1)))

    def learn(self, steps: int, seconds: float) -> None:
        """Follow a measurement, by at most a factor of 8: the first chunks are short, and a machine may stall."""
        fitting = CHUNK_SECONDS * steps / max(seconds, 1e-9)
        self.steps = max(1, int(min(max(fitting, self.steps / 8), self.steps * 8)))


class Checkpoint(NamedTuple):
    """Where a paused run goes on, beside time and state.

    Attributes:
        t_next: end of the next step, as the controller would have it.
        was_kept: whether the last step was accepted.
        controller: state of the step controller, the history of its error estimates.
        solver: state of the solver: the last slope where the next step begins with it, else `None`.
    """

    t_next: Any
    was_kept: Any
    controller: Any
    solver: Any


class ResumableController(diffrax.AbstractAdaptiveStepSizeController):
    """Steps like `controller` and pauses, as if out of steps, after `steps` of them.

    diffrax chooses a first step anew when it is given a state to go on from; this one remembers the next. To count here
    rather than by diffrax's own `max_steps` keeps the number out of the compiled program.

    Attributes:
        controller: what chooses the steps.
        is_first: whether this is the beginning of a run, where the checkpoint is blank.
        checkpoint: where the run goes on.
        end: the end of the run.
        steps: how many steps to take, accepted or not.
    """

    controller: Any
    is_first: Any
    checkpoint: Checkpoint
    end: Any
    steps: Any

    @property
    def rtol(self):
        return self.controller.rtol

    @property
    def atol(self):
        return self.controller.atol

    @property
    def norm(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.controller.norm

    def wrap(self, direction):
        return eqx.tree_at(lambda one: one.controller, self, self.controller.wrap(direction))

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        fresh = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        # diffrax ends a step near the end of the run there, within 100 spacings of floats, and halves a rejected one.
        floor = self.end - 100 * (self.end - jnp.nextafter(self.end, -jnp.inf))
        at_end = jnp.where(self.checkpoint.was_kept, self.end, t0 + 0.5 * (self.end - t0))
        t_next = jnp.where(self.checkpoint.t_next > floor, at_end, self.checkpoint.t_next)
        t_next, state = select(self.is_first, fresh, (t_next, self.checkpoint.controller))
        return t_next, (t_next, jnp.asarray(True), jnp.asarray(0), state)

    def adapt_step_size(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state):
        *_, count, state = controller_state
        keep, next_t0, next_t1, jumped, state, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, state
        )
        is_over = (count + 1 >= self.steps) & (next_t0 < self.end)
        pauses = is_over & (result == diffrax.RESULTS.successful)
        result = diffrax.RESULTS.where(pauses, diffrax.RESULTS.max_steps_reached, result)
        return keep, next_t0, next_t1, jumped, (next_t1, keep, count + 1, state), result


def select(condition: Any, left: Any, right: Any) -> Any:
    """One of two trees of one form. Pure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), left, right)


def checkpoint_of(solution: diffrax.Solution) -> Checkpoint:
    """What a run with `ResumableController` leaves to go on with, if it was told to save both states. Pure."""
    t_next, was_kept, _, controller = solution.controller_state  # pyright: ignore[reportGeneralTypeIssues]
    return Checkpoint(t_next, was_kept, controller, solution.solver_state)


def blank_checkpoint(controller: Any, solver: Any, state: dict[str, Any], t: Any) -> Checkpoint:
    """A checkpoint of the form that `checkpoint_of` gives, with nothing in it. Pure.

    Its form depends on the shapes of the state alone, so that a linear field stands in for the one that will run.
    """
    term = diffrax.ODETerm(lambda s, y, args: y)
    t_next, history = controller.init(term, t, t, state, None, None, solver.func, solver.error_order(term))
    blank = Checkpoint(t_next, True, history, solver.init(term, t, t, state, None))
    # A Python bool would be part of the compiled program.
    return jax.tree.map(jnp.asarray, blank)


class _Bracket(eqx.Module):
    lower: Any
    upper: Any
    halvings: Any

    @property
    def middle(self):
        return self.lower + 0.5 * (self.upper - self.lower)


class Bisection(optx.AbstractRootFinder):
    """Bisection to the spacing of floats, of a function that is positive at the lower end and not at the upper one.

    The value at the crossing cannot be asked to be small: from one float to the next, an event at a late time jumps by
    its slope times the spacing.
    """

    rtol: float = 0.0
    atol: float = 0.0
    norm: ClassVar[Any] = jnp.abs

    def init(self, fn, y, args, options, f_struct, aux_struct, tags):
        return _Bracket(options["lower"], options["upper"], jnp.asarray(0))

    def step(self, fn, y, args, options, state, tags):
        value, aux = fn(y, args)
        lower = jnp.where(value > 0, y, state.lower)
        upper = jnp.where(value > 0, state.upper, y)
        bracket = _Bracket(lower, upper, state.halvings + 1)
        return bracket.middle, bracket, aux

    def terminate(self, fn, y, args, options, state, tags):
        # `y` is what the last step looked at, not what the next one will.
        is_narrow = (state.middle <= state.lower) | (state.middle >= state.upper)
        return is_narrow | (state.halvings > HALVINGS), optx.RESULTS.successful

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        # The end at which the event has happened.
        return state.upper, aux, {}
