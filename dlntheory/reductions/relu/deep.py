"""`DeepPathFlow`: ReLU networks of any depth in their path products, by recovering the weights from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import integer
from ...architecture import Architecture
from ...training import Limit, State, Training
from ..base import AbstractReduction, Condition, FormError
from ..decay_and_rates import check_common_decay, common_decay, decay_of, rate_of, scheduled
from .neurons import (
    NEURONS_ALIVE,
    VANISHING,
    lifting_of,
    neuron_laws,
    squared_strengths,
    strengths_of,
)
from .recovery import weights_from_paths_and_laws


class DeepPathFlow(AbstractReduction):
    r"""The flow of the path products of a ReLU network, $\dot z = -K(z; h)\,\nabla f(z)$, for any loss $f(z)$.

    $K(z; h) = \partial\varphi\, \partial\varphi^\top$ at the weights $\theta(z, h)$ that have the path products $z$
    and the laws $h$ (`weights_from_paths_and_laws`); they are unique up to signs of hidden neurons, which leave $K$
    as it is. Rates and weight decay enter as in the full flow; with weight decay $\dot h = -2\gamma e h$.

    The state is $z$ and $h$, one number a hidden neuron, measured at the start. It is larger than the weights: this
    flow shows that training is a dynamics of $z$, it does not save time.

    Args:
        arch: a ReLU network from `relu_network`.
        loss: a function of $z$ (d_L, paths to one output), or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        rates: learning rates by factor name.
        max_paths: the largest number of paths that is accepted; it grows exponentially with depth.

    Validity:
        Exact for every loss, as long as no hidden neuron vanishes: then its weights are not in $z$. Single weights
        may vanish and change sign.

    Raises:
        NotApplicableError: weight decay with unequal rates.
        FormError: no path lifting with a hidden layer, or more than `max_paths` paths.

    References:
        [marcotte2026intrinsic].

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.relu_network((2, 3, 2, 1), bias=True)
        >>> theta0 = dln.gaussian(arch, jax.random.key(0))
        >>> DeepPathFlow(arch).condition(theta0).holds
        True
    """

    max_paths: int

    label = "deep path flow"
    statement = (
        r"\dot z = -\partial\varphi(\theta)\, \partial\varphi(\theta)^\top\, \nabla f(z),\quad"
        r" \theta = \theta(z, h):\ \varphi(\theta) = z,\ h(\theta) = h"
    )
    source = "[marcotte2026intrinsic]; recovery by a convex rescaling derived here"
    exactness = "exact for every loss of the path products, while no hidden neuron vanishes"
    order = 60.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
        max_paths: int = 5000,
    ):
        lifting_of(arch, "the deep path flow")
        self.max_paths = integer(max_paths, "max_paths")
        if (paths := arch.output_shape[0] * arch.output_shape[1]) > max_paths:
            raise FormError(
                f"Argument `arch` must have at most max_paths = {max_paths} paths for the deep path flow, but "
                f"{arch.name} has {paths} (and {arch.size} parameters): raise `max_paths`, or use "
                "`ImplicitFlow`, which solves for the weights by Gauss-Newton steps, or the full flow."
            )
        super().__init__(arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        if len(lifting_of(arch, f"the {cls.label}").weights) == 2:
            raise FormError(
                f"Argument `arch` must have more than one hidden layer for the {cls.label} to be tried, but "
                f"{arch.name} has one: see `TwoLayerPathFlow`."
            )
        return cls(arch, loss)

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        check_common_decay(training, tuple(self.architecture.shapes), f"the {self.label}")

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        strengths = strengths_of(lifting_of(self.architecture, self.label), theta0)
        vanishing = np.flatnonzero(strengths <= VANISHING * np.max(strengths))
        smallest = np.min(strengths) / np.max(strengths) if np.max(strengths) > 0 else 0.0
        return Condition(
            requirement="no hidden neuron vanishes: each lies on a path whose weights are not zero",
            measured=float(len(vanishing)),
            tolerance=0.0,
            explanation=(
                f"hidden neurons {vanishing.tolist()} (counted from the first layer on) have paths below "
                f"{VANISHING:g} of the largest"
                if len(vanishing)
                else f"smallest neuron / largest = {smallest:.3g}"
            ),
            remedy="Drop these neurons, or use the full flow." if len(vanishing) else "",
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        laws = neuron_laws(lifting_of(self.architecture, self.label), theta0, self.training)
        return {"z": self.architecture(dict(theta0)), "h": jnp.concatenate(laws)}

    def weights(self, state: State) -> State:
        """The weights that the state stands for, up to signs of hidden neurons. Pure."""
        rates = {name: rate_of(self.training, name) for name in self.architecture.shapes}
        return weights_from_paths_and_laws(self.architecture, state["z"], state["h"], rates)

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        theta = self.weights(state)
        gradient = jax.grad(training.loss)(state["z"])
        (pulled,) = jax.vjp(self.architecture, theta)[1](gradient)
        moves = {name: -rate_of(training, name) * pulled[name] for name in theta}
        if training.is_decaying:
            moves = {name: moves[name] - decay_of(training, name, t) * theta[name] for name in theta}
        _, velocity = jax.jvp(self.architecture, (theta,), (moves,))
        decay = 2.0 * common_decay(training, tuple(theta), t)
        return scheduled(training, t, {"z": velocity, "h": -decay * state["h"]})

    def monitors(self, state: State) -> dict[str, Any]:
        theta = self.weights(state)
        lifting = lifting_of(self.architecture, self.label)
        strengths = jnp.sqrt(jnp.concatenate(squared_strengths(lifting, theta)))
        values = jnp.abs(self.architecture.ravel(theta))
        defect = jnp.linalg.norm(self.architecture(theta) - state["z"]) / jnp.linalg.norm(state["z"])
        return {
            "smallest neuron / largest": jnp.min(strengths) / jnp.max(strengths),
            "smallest |weight| / largest": jnp.min(values) / jnp.max(values),
            "distance of z from path products": defect,
        }

    def limits(self) -> tuple[Limit, ...]:
        return (NEURONS_ALIVE,)
