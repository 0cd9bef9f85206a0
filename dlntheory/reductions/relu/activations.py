r"""`ReluSquaredLoss`: the squared loss of a ReLU network with one hidden layer, as a function of its path products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._precision import require_float64
from ...architecture import Architecture
from ...losses.base import AbstractLoss, Reduction, check_reduction, checked_pair, over_samples, reduced
from .neurons import lifting_of


class ReluSquaredLoss(AbstractLoss):
    r"""Half the mean squared error of a ReLU network, $x \mapsto \sum_\nu u_\nu \max(v_\nu^\top \tilde x, 0)$.

    $\tilde x = (x, 1)$ with biases, else $x$. In path products $Z_\nu = u_\nu v_\nu^\top$ the output is
    $\sum_\nu 1[v_\nu^\top \tilde x > 0]\, Z_\nu \tilde x$. The sign of $v_\nu^\top \tilde x$ is that of
    $w_\nu^\top Z_\nu \tilde x$ for any $w_\nu$ with $w_\nu^\top u_\nu > 0$: $Z_\nu$ gives $(u_\nu, v_\nu)$ only up to a
    common sign, and $w_\nu$, the direction of $u_\nu$ at the start, settles it.

    Args:
        arch: a ReLU network with one hidden layer, from `relu_network`.
        theta0: the start, whose outgoing weights orient the neurons.
        inputs: (n, d_0), rows are samples.
        targets: (n, d_2), or (n,) for one output.
        reduction: `"mean"` or `"sum"` over samples.

    Validity:
        As long as every $u_\nu$ keeps a positive inner product with its start (`alignment` tells); with one output,
        as long as it keeps its sign, which it does while its neuron is alive. The gradient jumps where an activation
        flips ($v_\nu^\top \tilde x = 0$), so the flow has kinks: no solver keeps its order there. Use `rtol` of 1e-8
        or larger (an adaptive solver of high order at 1e-12 may not end); fixed steps converge with order one. Where
        both sides push towards a kink the network slides along it, and its flow is no ordinary differential
        equation (seen in 8 of 19 random problems with 8 samples and 20 weights).

    Raises:
        ValueError: no path lifting with one hidden layer, shapes that do not match, non-finite entries, or a neuron
            without outgoing weights.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import dlntheory as dln
        >>> arch = dln.relu_network((1, 1, 1))
        >>> theta0 = {"W1": jnp.array([[2.0]]), "W2": jnp.array([[-1.0]])}
        >>> loss = ReluSquaredLoss(arch, theta0, [[1.0], [-1.0]], [0.0, 0.0])
        >>> float(loss(arch(theta0)))
        1.0
    """

    inputs: jax.Array
    targets: jax.Array
    orientation: jax.Array
    samples: jax.Array
    reduction: Reduction = eqx.field(static=True)

    def __init__(
        self,
        arch: Architecture,
        theta0: Mapping[str, Any],
        inputs: Any,
        targets: Any,
        *,
        reduction: Reduction = "mean",
    ):
        require_float64("ReluSquaredLoss")
        check_reduction(reduction)
        lifting = lifting_of(arch, "`ReluSquaredLoss`")
        if len(lifting.weights) != 2:
            raise ValueError(
                f"Argument `arch` must have exactly one hidden layer for `ReluSquaredLoss`, but {arch.name} has "
                f"{len(lifting.weights) - 1}."
            )
        x, y = checked_pair(inputs, targets)
        outputs, width = arch.shapes[lifting.weights[1]][0], arch.shapes[lifting.weights[0]][1]
        if (x.shape[1], y.shape[1]) != (width, outputs):
            raise ValueError(
                f"Arguments `inputs` and `targets` must have {width} and {outputs} columns for {arch.name}, but have "
                f"{x.shape[1]} and {y.shape[1]}."
            )
        outgoing = np.asarray(arch.check(theta0)[lifting.weights[1]])
        norms = np.linalg.norm(outgoing, axis=0)
        if np.any(norms == 0):
            raise ValueError(
                "Argument `theta0` must have outgoing weights at every hidden neuron, which orient it, but those of "
                f"neurons {np.flatnonzero(norms == 0).tolist()} are zero."
            )
        if lifting.biases:
            x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        self.inputs, self.targets = jnp.asarray(x), jnp.asarray(y)
        self.orientation = jnp.asarray((outgoing / norms[None, :]).T)
        self.samples = jnp.asarray(len(x), dtype=float)
        self.reduction = reduction

    def outputs(self, z) -> jax.Array:
        """The network's outputs at the inputs, (n, d_2), for path products $z$ (d_2, paths)."""
        hidden, outputs = self.orientation.shape
        neurons = z.reshape(outputs, hidden, self.inputs.shape[1])
        images = jnp.einsum("ohi,ni->nho", neurons, self.inputs)
        is_active = jnp.sum(images * self.orientation[None], axis=2) > 0
        return jnp.sum(jnp.where(is_active[:, :, None], images, 0.0), axis=1)

    def __call__(self, z) -> jax.Array:
        """The value $f(z)$ at path products $z$ (d_2, paths)."""
        return reduced(0.5 * jnp.sum((self.outputs(z) - self.targets) ** 2, axis=1), self.reduction)

    def alignment(self, z) -> jax.Array:
        r"""$|\cos|$ of the angle between each $u_\nu$ and its start, (d_1,): the orientation is lost where it is 0."""
        hidden, outputs = self.orientation.shape
        neurons = jnp.moveaxis(z.reshape(outputs, hidden, -1), 1, 0)
        along = jnp.sum(jnp.einsum("ho,hoi->hi", self.orientation, neurons) ** 2, axis=1)
        total = jnp.sum(neurons**2, axis=(1, 2))
        return jnp.where(total > 0, jnp.sqrt(along / jnp.where(total > 0, total, 1.0)), 0.0)

    @property
    def conventions(self) -> str:
        """The factors in words."""
        return (
            f"f(z) = 1/2 * {over_samples(self.reduction, self.samples)} |relu network(x) - y|^2, a function "
            "of the path products z"
        )
