"""`CompressedDescent`: gradient descent, heavy ball and Nesterov inside the active subspaces; no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..._checks import real_number
from ..._errors import NotApplicableError
from ...architecture import Architecture
from ...training import AbstractIteration, State
from .compressed_flow import CompressedFlow

RULES = ("gradient descent", "heavy ball", "nesterov")
#: Methods that rescale entries one by one: what a rotation of the weights does to them is no rotation.
ENTRYWISE = ("adam", "adamw", "adagrad", "rmsprop", "adadelta", "sign", "signsgd", "lion", "adamax", "nadam")


class CompressedDescent(AbstractIteration):
    r"""The discrete twin of `CompressedFlow`, equal to training the full network by the same rule; see `descent`.

    Heavy ball: $v \leftarrow \beta v - \eta e_l g(\theta)$, $\theta \leftarrow \theta + v$; Nesterov takes $g$ at
    $\theta + \beta v$; $g$ includes the weight decay. The scalars outside obey the same rule, for gradient descent
    $\rho_l \leftarrow \rho_l (1 - \eta e_l\gamma - \eta e_l\sigma \prod_{k \ne l}\rho_k^2)$.
    """

    architecture: Architecture
    training: Any
    compressed: CompressedFlow
    learning_rate: np.ndarray
    momentum: np.ndarray
    rule: str = eqx.field(static=True)

    @property
    def label(self) -> str:
        return f"compressed {self.rule}"

    def reduces(self, rule: AbstractIteration) -> None:
        """Raise unless this is what a training rule does inside the active subspaces.

        Raises:
            NotApplicableError: another rule, or another momentum.
        """
        momentum = float(np.asarray(getattr(rule, "momentum", 0.0)))
        if (
            rule.label.lower().removesuffix(" momentum") != self.rule
            or abs(momentum - float(self.momentum)) > 1e-15
        ):
            raise NotApplicableError(
                f"Argument `full` must be {self.rule} with momentum {float(self.momentum):g} for the "
                f"{self.label}, but is "
                f"{rule.label} with momentum {momentum:g}.",
                requirement=self.rule,
                measured=rule.label,
            )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        try:
            checked = self.compressed.check_start({name: np.asarray(value) for name, value in theta0.items()})
        except jax.errors.TracerArrayConversionError:
            checked = dict(theta0)
        state = self.compressed.initial(checked)
        if self.rule == "gradient descent":
            return state
        return state | {f"{name}'": jax.numpy.zeros_like(value) for name, value in state.items()}

    def step(self, k, state: State) -> State:
        core, training = self.compressed.core, self.training
        if self.rule == "gradient descent":
            velocity = core.velocity(training, state)
            return {name: state[name] + self.learning_rate * velocity[name] for name in state}
        here = {name: value for name, value in state.items() if not name.endswith("'")}
        moved = {name: self.momentum * state[f"{name}'"] for name in here}
        at = {name: here[name] + moved[name] for name in here} if self.rule == "nesterov" else here
        force = core.velocity(training, at)
        after = {}
        for name in here:
            step = moved[name] + self.learning_rate * force[name]
            after |= {name: here[name] + step, f"{name}'": step}
        return {name: after[name] for name in state}

    def output(self, state: State):
        return self.compressed.output(state)

    def conserved(self, state: State) -> dict[str, Any]:
        return {} if self.rule != "gradient descent" else self.compressed.conserved(state)

    def monitors(self, state: State) -> dict[str, Any]:
        return self.compressed.monitors(state)


def descent(
    compressed: CompressedFlow, learning_rate: float, *, rule: str = "gradient descent", momentum: float = 0.0
) -> CompressedDescent:
    r"""Training by steps inside the active subspaces: equal to the full network to rounding, at every step.

    Args:
        compressed: from `compress`.
        learning_rate: $\eta > 0$. Its unit follows the loss: a mean over entries instead of a sum changes it.
        rule: `"gradient descent"`, `"heavy ball"` or `"nesterov"`.
        momentum: $\beta$, $0 \le \beta < 1$; must be 0 for gradient descent.

    Returns:
        An iteration for `iterate`. Its states go through `layer` and `loss` of `compressed`.

    Raises:
        ValueError: a rule that is not equivariant under rotations of the weights (Adam, RMSprop, sign methods): the
            subspaces are then left, by 10 to 30 % of a layer as measured. Likewise an unknown rule, a step size or a
            momentum out of range.

    Example:
        >>> import dlntheory as dln, jax, numpy as np
        >>> arch = dln.linear_network((20, 20, 20))
        >>> loss = dln.SquaredLoss.from_target(np.outer(np.arange(20.0), np.ones(20)) / 20)
        >>> theta0 = dln.orthogonal(arch, jax.random.key(0), scale=0.3)
        >>> from dlntheory.reductions.parsimony import compress
        >>> small = dln.iterate(descent(compress(arch, loss, theta0), 0.01), theta0, 50, ts=2)
        >>> full = dln.iterate(dln.GradientDescent(arch, loss, 0.01), theta0, 50, ts=2)
        >>> bool(np.max(np.abs(small.z - full.z)) < 1e-13)
        True
    """
    name = str(rule).lower()
    if name in ENTRYWISE:
        raise ValueError(
            f"Argument `rule` must be equivariant under rotations of the weights, but is {rule!r}: it rescales entries "
            "one by one, so training leaves the subspaces (by 10 to 30 % of a layer in experiments) and no compression "
            f"holds. Use one of {', '.join(RULES)}, or train the full network."
        )
    if name not in RULES:
        raise ValueError(f"Argument `rule` must be one of {list(RULES)}, but is {rule!r}.")
    rate = real_number(learning_rate, "learning_rate", above=0)
    beta = real_number(momentum, "momentum", minimum=0, below=1)
    if beta and name == "gradient descent":
        raise ValueError(
            f'Argument `momentum` must be 0 for gradient descent, but is {momentum}: use rule="heavy ball".'
        )
    return CompressedDescent(
        compressed.architecture, compressed.training, compressed, np.asarray(rate), np.asarray(beta), name
    )
