"""`TwoLayerPathFlow`: ReLU networks with one hidden layer in their path products, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import Limit, State, Training
from ..base import AbstractReduction, Condition
from .neurons import (
    NEURONS_ALIVE,
    VANISHING,
    checked_training,
    law_decay,
    lifting_of,
    neuron_laws,
    rate_of,
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

    arch: Architecture
    settings: Training | None

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
            raise ValueError(
                "Argument `arch` must have exactly one hidden layer for the two-layer path flow, but "
                f"{arch.name} has {len(lifting.weights) - 1}: use `DeepPathFlow`."
            )
        self.arch = arch
        self.settings = None
        if loss is not None:
            training = Training(loss, weight_decay=weight_decay, rates=rates)
            self.settings = checked_training(arch, training, "the two-layer path flow")

    @property
    def label(self) -> str:
        return "two-layer path flow"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training | None:
        return self.settings

    @property
    def statement(self) -> str:
        return (
            r"\dot Z_\nu = -\left( \frac{Z_\nu Z_\nu^\top}{|v_\nu|^2} G_\nu + G_\nu \frac{Z_\nu^\top Z_\nu}{|u_\nu|^2}"
            r" \right),\quad |u_\nu|^2,\, |v_\nu|^2 = \tfrac12\left(\sqrt{\lambda_\nu^2 + 4 \|Z_\nu\|^2} \pm"
            r" \lambda_\nu\right)"
        )

    @property
    def source(self) -> str:
        return "path lifting of [marcotte2026intrinsic]; closed form derived here"

    @property
    def exactness(self) -> str:
        return "exact for every loss of the path products, while no neuron vanishes"

    def bind(self, training: Training) -> Self:
        return type(self)(
            self.arch,
            training.loss,
            weight_decay=float(training.weight_decay),
            rates={name: float(rate) for name, rate in training.rates.items()},
        )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        lifting = lifting_of(self.arch, self.label)
        strengths = strengths_of(lifting, theta0)
        passes = self._may_pass(-np.asarray(neuron_laws(lifting, theta0, self.settings)[0]))
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
        (law,) = neuron_laws(lifting_of(self.arch, self.label), theta0, self.settings)
        return {"z": self.arch(dict(theta0)), "lambda": -law}

    def velocity(self, t, state: State) -> State:
        training = self.settings
        assert training is not None  # `solve` refuses an unbound reduction
        scale = self._rate_scale()
        z = self._neurons(state["z"]) / scale
        gradient = self._neurons(jax.grad(training.loss)(state["z"])) * scale
        velocity = -scale * neuron_operator(z, state["lambda"], gradient)
        decay = law_decay(training, lifting_of(self.arch, self.label))
        velocity = jnp.moveaxis(velocity, 0, 1).reshape(state["z"].shape)
        return {"z": velocity - decay * state["z"], "lambda": -decay * state["lambda"]}

    def output(self, state: State):
        return state["z"]

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

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
        hidden = self.arch.shapes[lifting_of(self.arch, self.label).weights[0]][0]
        return self.arch.output_shape[0], self.arch.output_shape[1] // hidden

    def _neurons(self, z):
        """$z$ (d_2, paths) as one matrix a neuron, (d_1, d_2, inputs and bias)."""
        outputs, inputs = self._neuron_shape
        return jnp.moveaxis(z.reshape(outputs, -1, inputs), 1, 0)

    def _rate_scale(self):
        r"""$\sqrt{e_2 e_j}$ for the columns $j$ of a neuron, (1, 1, inputs and bias)."""
        lifting = lifting_of(self.arch, self.label)
        rates = [rate_of(self.settings, lifting.weights[0])] * self.arch.shapes[lifting.weights[0]][1]
        rates += [rate_of(self.settings, name) for name in lifting.biases]
        return jnp.sqrt(rate_of(self.settings, lifting.weights[1]) * jnp.asarray(rates))[None, None, :]


def neuron_operator(z, lam, gradient):
    r"""$K(Z)[G] = ZZ^\top G/|v|^2 + G Z^\top Z/|u|^2$ for a stack of neurons, $\lambda = |u|^2 - |v|^2$.

    Args:
        z: (neurons, out, inp), each of rank one.
        lam: (neurons,).
        gradient: (neurons, out, inp).

    Returns:
        (neurons, out, inp). Differentiable; a neuron with $Z = 0$ keeps the term of its non-vanishing factor only
        where that needs no direction (one output with $\lambda > 0$, one input with $\lambda < 0$).

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> u, v = jnp.array([[2.0], [1.0]]), jnp.array([[1.0, 1.0, 2.0]])
        >>> out = neuron_operator((u @ v)[None], jnp.array([-1.0]), jnp.ones((1, 2, 3)))[0]
        >>> bool(jnp.allclose(out, u @ u.T @ jnp.ones((2, 3)) + jnp.ones((2, 3)) @ v.T @ v))
        True
    """
    square = jnp.sum(z * z, axis=(1, 2))
    radicand = lam * lam + 4.0 * square
    rho = jnp.where(radicand > 0, jnp.sqrt(jnp.where(radicand > 0, radicand, 1.0)), 0.0)
    large = 0.5 * (rho + jnp.abs(lam))
    # The smaller of |u|^2 and |v|^2 by their product: their difference would cancel.
    small = jnp.where(large > 0, square / jnp.where(large > 0, large, 1.0), 0.0)
    u_square, v_square = jnp.where(lam > 0, large, small), jnp.where(lam > 0, small, large)
    inverse = jnp.where(square > 0, 1.0 / jnp.where(square > 0, square, 1.0), 0.0)
    if z.shape[1] == 1:
        left = u_square[:, None, None] * gradient
    else:  # ZZ^T/|v|^2 = |u|^2 ZZ^T/|Z|^2
        left = (u_square * inverse)[:, None, None] * (z @ (jnp.swapaxes(z, 1, 2) @ gradient))
    if z.shape[2] == 1:
        right = v_square[:, None, None] * gradient
    else:
        right = (v_square * inverse)[:, None, None] * ((gradient @ jnp.swapaxes(z, 1, 2)) @ z)
    return left + right
