r"""`NeuronFlow`: one neuron $z = u v^\top$ in $z$ alone; with a scalar $u$ it is $z = u v$."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import Limit, State, Training
from ..base import AbstractReduction, Condition
from .base import bound_training, check_plain
from .recognise import outer_form

SHARE = "smaller norm / sqrt(|u|^2 + |v|^2)"


class NeuronFlow(AbstractReduction):
    r"""The flow of one neuron, or of an adapter of rank one, $z = o + c\, u v^\top$.

    With $Z = u v^\top$, $G = c\,\nabla f(z)$, the law $\lambda = |u|^2 - |v|^2$ and
    $\rho = \sqrt{\lambda^2 + 4\|Z\|_F^2}$,

    $$\dot Z = -\left( \frac{Z Z^\top G}{|v|^2} + \frac{G Z^\top Z}{|u|^2} \right), \qquad
      |u|^2 = \frac{\rho + \lambda}{2}, \quad |v|^2 = \frac{\rho - \lambda}{2} .$$

    Args:
        arch: an architecture whose φ has this form; $u$ is the factor that is declared first. $z$ may have any shape.
        loss: a function of $z$, or `None` to `bind` later.

    Validity:
        Exact for every loss, and for every start but $Z = 0$ with a vector as the factor that is not 0, since its
        direction is then lost. A run ends where the smaller of $|u|$, $|v|$ falls to $10^{-8}$ of their norm, and
        carries a warning below $10^{-3}$; a zero that the solver steps over is continued straight, as in the full flow.

    Raises:
        ValueError: φ is not of this form, or is no polynomial.

    References:
        [marcotte2026intrinsic] (neurons of ReLU networks); the formula is elementary.

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (), "v": (3,)}, name="neuron")
        >>> NeuronFlow(arch).size
        (1, 3)
    """

    arch: Architecture
    settings: Training | None
    left: np.ndarray
    right: np.ndarray
    places: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    def __init__(self, arch: Architecture, loss: Any = None):
        form = outer_form(arch, "the flow of one neuron")
        self.arch = arch
        self.settings = bound_training(arch, loss)
        self.left, self.right, self.places = form.left, form.right, form.places
        self.scale = np.asarray(form.scale)
        self.offset = form.offset.reshape(arch.output_shape)

    @property
    def size(self) -> tuple[int, int]:
        """The sizes of $u$ and $v$."""
        return len(self.left), len(self.right)

    @property
    def label(self) -> str:
        return "flow of one neuron"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training | None:
        return self.settings

    @property
    def statement(self) -> str:
        return (
            r"\dot z = -\left( \frac{z z^\top \nabla f}{|v|^2} + \frac{\nabla f\, z^\top z}{|u|^2} \right),\quad "
            r"2|u|^2 = \rho + \lambda,\ 2|v|^2 = \rho - \lambda,\ \rho = \sqrt{\lambda^2 + 4 \|z\|^2}"
        )

    @property
    def source(self) -> str:
        return "elementary; compare [marcotte2026intrinsic] (ReLU neurons)"

    @property
    def exactness(self) -> str:
        return "exact for every loss while z keeps its direction (see Validity)"

    def bind(self, training: Training) -> Self:
        check_plain(training, self.label)
        return type(self)(self.arch, training.loss)

    def factors(self, theta: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
        """$u$ and $v$ as vectors. Pure."""
        flat = self.arch.ravel(dict(theta))
        return flat[self.left], flat[self.right]

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        u, v = (np.linalg.norm(np.asarray(part)) for part in self.factors(theta0))
        rows, columns = self.size
        lost = [
            name
            for name, dead, living, count in (("u", v, u, rows), ("v", u, v, columns))
            if dead == 0 and count > 1
        ]
        singular = u * v == 0 and bool(lost) and u + v > 0
        return Condition(
            requirement="z = 0 only where the direction of the other factor is not lost",
            measured=float(max(u, v)) if singular else 0.0,
            tolerance=0.0,
            explanation=f"z = 0 does not tell the direction of {lost[0]}" if singular else "",
            remedy="Use the Gram flow of the product, `GramBlocksFlow`, which keeps both Gram matrices.",
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        u, v = self.factors(theta0)
        largest = jnp.sqrt(jnp.sum(u * u)), jnp.sqrt(jnp.sum(v * v))
        gap = (largest[0] - largest[1]) * (largest[0] + largest[1])
        return {"Z": u[:, None] * v[None, :], "lambda": gap}

    def velocity(self, t, state: State) -> State:
        training = self.settings
        assert training is not None  # `solve` refuses an unbound reduction
        gradient = jnp.ravel(jax.grad(training.loss)(self.output(state)))
        slope = jnp.zeros(self.size, gradient.dtype).at[self.places[:, 0], self.places[:, 1]].set(gradient)
        change = neuron_operator(state["Z"], self.scale * slope, state["lambda"])
        return {"Z": -change, "lambda": jnp.zeros_like(state["lambda"])}

    def output(self, state: State):
        flat = state["Z"][self.places[:, 0], self.places[:, 1]]
        return self.offset + self.scale * jnp.reshape(flat, self.arch.output_shape)

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        u2, v2 = squared_norms(jnp.sum(state["Z"] ** 2), state["lambda"])
        rows, columns = self.size
        shares = [value / (u2 + v2) for value, other in ((u2, columns), (v2, rows)) if other > 1]
        return {SHARE: jnp.sqrt(jnp.min(jnp.stack(shares)))} if shares else {}

    def limits(self) -> tuple[Limit, ...]:
        if self.size == (1, 1):
            return ()
        advice = (
            "where a factor vanishes, z no longer tells the direction of the other one, and errors grow as the "
            "inverse. Use `GramBlocksFlow`, which keeps both Gram matrices."
        )
        return (Limit(SHARE, warn_below=1e-3, stop_below=1e-8, advice=advice),)


def squared_norms(square, gap):
    r"""$|u|^2$ and $|v|^2$ from $\|Z\|_F^2$ and $\lambda$; the smaller one as $2\|Z\|^2/(|\lambda| + \rho)$. Pure."""
    # Not hypot(lambda, 2 |Z|): the square root of `square` has no derivative at Z = 0.
    inside = gap**2 + 4 * square
    rho = jnp.where(inside > 0, jnp.sqrt(jnp.where(inside > 0, inside, 1.0)), 0.0)
    larger = (jnp.abs(gap) + rho) / 2
    smaller = jnp.where(larger > 0, square / jnp.where(larger > 0, larger, 1.0), 0.0)
    return jnp.where(gap >= 0, larger, smaller), jnp.where(gap >= 0, smaller, larger)


def neuron_operator(product, gradient, gap):
    r"""$K[G] = Z Z^\top G/|v|^2 + G Z^\top Z/|u|^2$ at $Z = u v^\top$ with $\lambda = |u|^2 - |v|^2$.

    A side of size one is a scalar, $Z Z^\top/|v|^2 = |u|^2$, which needs no division.

    Args:
        product: $Z$, (n, m), of rank at most one.
        gradient: $G$, (n, m).
        gap: $\lambda$, a scalar.

    Returns:
        (n, m). Differentiable in all arguments, at $Z = 0$ where no direction is lost.
    """
    rows, columns = product.shape
    u2, v2 = squared_norms(jnp.sum(product**2), gap)

    def over(value, divisor):
        return jnp.where(divisor > 0, value / jnp.where(divisor > 0, divisor, 1.0), 0.0)

    left = u2 * gradient if rows == 1 else over(product @ (product.T @ gradient), v2)
    right = v2 * gradient if columns == 1 else over((gradient @ product.T) @ product, u2)
    return left + right
