"""`AbstractTrainingRule`, `AbstractFlow` and `AbstractIteration`: what moves, in continuous and in discrete time."""

import abc
import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._errors import NotApplicableError
from ..architecture import Architecture
from ..display.displayed import Displayed
from ..display.text import format_number
from .settings import Training as Training

if TYPE_CHECKING:
    from ..laws.law import Law
    from .law_change import LawChange

# Annotations are no texts here: equinox reads `AbstractVar` from them.
State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Limit:
    """A monitor that must stay above a level for a flow to be what it claims to be.

    Attributes:
        monitor: its name in `AbstractTrainingRule.monitors`.
        warn_below: below this the result carries a warning.
        stop_below: at this the run ends with an `IntegrationError`.
        advice: why, and what to use instead.
    """

    monitor: str
    warn_below: float
    stop_below: float
    advice: str


class _NameInWords:
    """The label of a class that states none: its own name in words."""

    def __get__(self, instance: object, owner: type) -> str:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", owner.__name__).lower()


class AbstractTrainingRule(Displayed, eqx.Module):
    """How the state of a training run moves. The state is a dict of named arrays; every concrete class is final.

    A rule of one's own is one class with the two fields below and one method: `velocity` of an `AbstractFlow`,
    `step` of an `AbstractIteration`. All other methods have defaults, for a state that holds the parameters.

    Attributes:
        architecture: the network whose training this describes.
        training: loss, decay, rates and schedule; `None` while a reduction is not yet bound to a flow.
        label: a short name for tables and legends; by default the name of the class in words.
    """

    architecture: eqx.AbstractVar[Architecture]
    training: eqx.AbstractVar[Training | None]
    label: ClassVar[Any] = _NameInWords()

    def check_start(self, theta0: Mapping[str, Any]) -> dict[str, jax.Array]:
        """`theta0` checked and as arrays. Not jit-compatible (it looks at values).

        Raises:
            ValueError: a malformed `theta0`.
            ConditionError: the condition of a reduction is broken, with the measured violation.
        """
        return self.architecture.check(theta0)

    def initial(self, theta0: Mapping[str, Any]) -> State:
        """The state at checked parameters `theta0`. Pure: jit- and vmap-compatible."""
        return dict(theta0)

    def parameters(self, state: State) -> State:
        """The network's parameters in a state. Pure."""
        return {name: state[name] for name in self.architecture.shapes}

    def output(self, state: State) -> Any:
        r"""$z$ of the state, in the shape of $\varphi(\theta)$. Pure."""
        return self.architecture(self.parameters(state))

    def conserved(self, state: State) -> dict[str, Any]:
        """Quantities that this flow, or the flow behind these steps, conserves, by name. Pure."""
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        """Further scalars to record, which tell whether the state is inside the domain of validity. Pure."""
        return {}

    def law_coordinates(self, t: Any, state: State) -> State:
        """The arrays in which conservation laws are written, by name. Pure."""
        return state

    def numbers_at(self, t: Any) -> dict[str, Any]:
        """The numbers of the rule at a time, by the names that law changes use. Pure."""
        assert self.training is not None  # a rule, not an unbound reduction
        return {"speed": self.training.speed(t), **self.training.numbers(self.architecture, t)}

    def law_values(self, when: Any, state: State) -> dict[str, Any]:
        """What law changes need at a state, by the names of `LawChange.predict`; `when` is a time or a step. Pure."""
        assert self.training is not None  # a rule, not an unbound reduction
        theta, loss = self.parameters(state), self.training.loss
        gradient = jax.grad(lambda params: loss(self.architecture(params)))(theta)
        velocity = {name: state[f"{name}'"] for name in theta if f"{name}'" in state}
        return {"theta": theta, "velocity": velocity, "gradient": gradient, "time": when}

    def law_change(self, law: "Law") -> "LawChange":
        """How this rule changes a conservation law, as an exact identity; `law.change(rule)` calls it.

        Raises:
            NotApplicableError: no identity is known for this rule, or for this law.
        """
        raise NotApplicableError(
            f"Argument `rule` must be a training rule whose change of a law is known, but for {type(self).__name__} "
            "no exact law change is known. Define its method `law_change(law)`.",
            requirement="a method `law_change`",
            measured=type(self).__name__,
        )

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


class AbstractFlow(AbstractTrainingRule):
    """A differential equation for something that determines $z$: the full flow, a reduced flow, a closed system.

    `solve` runs any of them.
    """

    @abc.abstractmethod
    def velocity(self, t: Any, state: State) -> State:
        """The time derivative of the state, in gradient-flow time. Pure."""

    def limits(self) -> tuple[Limit, ...]:
        """Monitors at whose level `solve` ends a run, since the equation is not valid beyond; none by default."""
        return ()


class AbstractIteration(AbstractTrainingRule):
    """A training rule in discrete time; step k is at time k * `time_step`. `iterate` runs any of them.

    Attributes:
        learning_rate: the size of a step; also its time unless a subclass defines `time_step`.
        failure: what it means if a step of this rule is NaN, in words; by default that the run diverged.
    """

    failure: ClassVar[str] = ""

    @abc.abstractmethod
    def step(self, k: Any, state: State) -> State:
        """The state after step number `k` (counted from 0). Pure."""

    @property
    def time_step(self) -> Any:
        """Gradient-flow time of one step."""
        return self.learning_rate  # pyright: ignore[reportAttributeAccessIssue]

    def time_of(self, k: Any) -> Any:
        """Gradient-flow time at step number `k`. Pure."""
        return jnp.asarray(k, dtype=float) * self.time_step

    def _facts(self) -> list[tuple[str, Any]]:
        return [*super()._facts(), ("time of a step", format_number(self.time_step))]
