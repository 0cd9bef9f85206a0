"""`TwoLayerPathFlow`: ReLU networks with one hidden layer in their path products, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import Limit, State, Training
from ..base import AbstractReduction, Condition, FormError
from ..decay_and_rates import check_common_decay, common_decay, rate_of, scheduled
from ..guarded import neuron_operator
from .neurons import (
    NEURONS_ALIVE,
    VANISHING,
    lifting_of,
    neuron_laws,
    strengths_of,
)


class TwoLayerPathFlow(AbstractReduction):
    r"""The flow of the path products of a ReLU network with one hidden layer, for any loss $f(z)$.

    A neuron with outgoing weights $u$ and incoming weights and bias $v$ contributes $Z = u v^\top$ to $z$, and
    $\lambda = \|u\|^2 - \|v\|^2$ is conserved. With $G$ the part of $\nabla f(z)$ at its paths,

    $$\dot Z = -\left( \frac{Z Z^\top}{|v|^2} G + G \frac{Z^\top Z}{|u|^2} \right), \qquad
      |u|^2 = \tfrac12(\rho + \lambda),\; |v|^2 = \tfrac12(\rho - \lambda),\; \rho = \sqrt{\lambda^2 + 4\|Z\|^2}$$

    where for one output $ZZ^\top/|v|^2 = |u|^2$ and for one input without bias $Z^\top Z/|u|^2 = |v|^2$. Rates $e$
    scale $u$ and $v$ by $1/\sqrt e$; weight decay adds $-2\gamma e Z$ and $\dot\lambda = -2\gamma e\lambda$.

    The state is $z$ and $\lambda$, one number a neuron, measured at the start.

    Args:
        arch: a ReLU network with one hidden layer, from `relu_network`.
        loss: a function of $z$ (d_2, paths), or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        rates: learning rates by factor name.

    Validity:
        Exact for every loss, as long as no neuron vanishes. At $Z = 0$ one of $u$, $v$ is 0 and its direction is
        unknown, so the equation is singular there: a run warns near it and ends at it. With one output a neuron with
        $\lambda > 0$ may pass through $Z = 0$, and start there; with one input and no bias one with $\lambda < 0$.
        The others pass through $Z = 0$ too, when their single weight on that side changes sign, and a solver may step
        over it unnoticed: that costs digits (seen: an error of 1e-7 at `rtol=1e-10`). Elsewhere weights may change
        sign freely.

    Raises:
        ValueError: no path lifting with exactly one hidden layer, or weight decay with unequal rates.

    References:
        [marcotte2026intrinsic], for the path lifting; the formula in this form is derived here.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.relu_network((2, 3, 1), bias=True)
        >>> theta0 = dln.gaussian(arch, jax.random.key(0))
        >>> TwoLayerPathFlow(arch).condition(theta0).holds
        True
    """

    label = "two-layer path flow"
    statement = (
        r"\dot Z_\nu = -\left( \frac{Z_\nu Z_\nu^\top}{|v_\nu|^2} G_\nu + G_\nu \frac{Z_\nu^\top Z_\nu}{|u_\nu|^2}"
        r" \right),\quad |u_\nu|^2,\, |v_\nu|^2 = \tfrac12\left(\sqrt{\lambda_\nu^2 + 4 \|Z_\nu\|^2} \pm"
        r" \lambda_\nu\right)"
    )
    source = "path lifting of [marcotte2026intrinsic]; closed form derived here"
    exactness = "exact for every loss of the path products, while no neuron vanishes"
    order = 50.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        lifting = lifting_of(arch, "the two-layer path flow")
        if len(lifting.weights) != 2:
            raise FormError(
                "Argument `arch` must have exactly one hidden layer for the two-layer path flow, but "
                f"{arch.name} has {len(lifting.weights) - 1}: use `DeepPathFlow`."
            )
        super().__init__(arch, loss, weight_decay=weight_decay, rates=rates)

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        check_common_decay(training, tuple(self.architecture.shapes), f"the {self.label}")

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        lifting = lifting_of(self.architecture, self.label)
        strengths = strengths_of(lifting, theta0)
        passes = self._may_pass(-np.asarray(neuron_laws(lifting, theta0, self.training)[0]))
        vanishing = np.flatnonzero((strengths <= VANISHING * np.max(strengths)) & ~passes)
        return Condition(
            requirement="no hidden neuron vanishes: its outgoing and its incoming weights are not all zero",
            measured=float(len(vanishing)),
            tolerance=0.0,
            explanation=(
                f"hidden neurons {vanishing.tolist()} have paths below {VANISHING:g} of the largest"
                if len(vanishing)
                else f"smallest neuron / largest = {np.min(strengths) / np.max(strengths):.3g}"
                if np.max(strengths) > 0
                else ""
            ),
            remedy="Drop these neurons if both their factors are zero (they never move); else use the full flow."
            if len(vanishing)
            else "",
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        (law,) = neuron_laws(lifting_of(self.architecture, self.label), theta0, self.training)
        return {"z": self.architecture(dict(theta0)), "lambda": -law}

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        scale = self._rate_scale()
        z = self._neurons(state["z"]) / scale
        gradient = self._neurons(jax.grad(training.loss)(state["z"])) * scale
        velocity = -scale * neuron_operator(z, gradient, state["lambda"])
        decay = 2.0 * common_decay(training, tuple(self.architecture.shapes), t)
        velocity = jnp.moveaxis(velocity, 0, 1).reshape(state["z"].shape)
        moved = {"z": velocity - decay * state["z"], "lambda": -decay * state["lambda"]}
        return scheduled(training, t, moved)

    def monitors(self, state: State) -> dict[str, Any]:
        norms = jnp.sqrt(jnp.sum(self._neurons(state["z"]) ** 2, axis=(1, 2)))
        # Neurons that may pass through 0 are left out; a largest norm of 0 is only admitted if all of them may.
        largest = jnp.max(norms)
        ratios = norms / jnp.where(largest > 0, largest, 1.0)
        return {"smallest neuron / largest": jnp.min(jnp.where(self._may_pass(state["lambda"]), 1.0, ratios))}

    def limits(self) -> tuple[Limit, ...]:
        return (NEURONS_ALIVE,)

    def _may_pass(self, lam):
        """Whether a neuron may pass through $Z = 0$: the direction of its vanishing factor is not needed."""
        outputs, inputs = self._neuron_shape
        return ((outputs == 1) & (lam > 0)) | ((inputs == 1) & (lam < 0))

    @property
    def _neuron_shape(self) -> tuple[int, int]:
        """(outputs, inputs and bias): the shape of one $Z$."""
        hidden = self.architecture.shapes[lifting_of(self.architecture, self.label).weights[0]][0]
        return self.architecture.output_shape[0], self.architecture.output_shape[1] // hidden

    def _neurons(self, z):
        """$z$ (d_2, paths) as one matrix a neuron, (d_1, d_2, inputs and bias)."""
        outputs, inputs = self._neuron_shape
        return jnp.moveaxis(z.reshape(outputs, -1, inputs), 1, 0)

    def _rate_scale(self):
        r"""$\sqrt{e_2 e_j}$ for the columns $j$ of a neuron, (1, 1, inputs and bias)."""
        lifting = lifting_of(self.architecture, self.label)
        rates = [rate_of(self.training, lifting.weights[0])] * self.architecture.shapes[lifting.weights[0]][1]
        rates += [rate_of(self.training, name) for name in lifting.biases]
        return jnp.sqrt(rate_of(self.training, lifting.weights[1]) * jnp.asarray(rates))[None, None, :]
