r"""`NeuronFlow`: one neuron $z = u v^\top$ in $z$ alone; with a scalar $u$ it is $z = u v$."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import Limit, State, Training
from ..base import AbstractReduction, Condition
from ..decay_and_rates import check_common_decay, common_decay, rate_of, scheduled
from ..guarded import neuron_operator, squared_norms
from .base import expandable, owners_of
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

    left: np.ndarray
    right: np.ndarray
    places: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    owners: tuple[np.ndarray, np.ndarray]
    #: The factors that hold u and v. Static: a velocity that is traced cannot read names off arrays.
    used: tuple[str, ...] = eqx.field(static=True)

    label = "flow of one neuron"
    statement = (
        r"\dot z = -\left( \frac{z z^\top \nabla f}{|v|^2} + \frac{\nabla f\, z^\top z}{|u|^2} \right),\quad "
        r"2|u|^2 = \rho + \lambda,\ 2|v|^2 = \rho - \lambda,\ \rho = \sqrt{\lambda^2 + 4 \|z\|^2}"
    )
    source = "elementary; compare [marcotte2026intrinsic] (ReLU neurons)"
    exactness = "exact for every loss while z keeps its direction (see Validity)"
    order = 140.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        form = outer_form(arch, "the flow of one neuron")
        self.left, self.right, self.places = form.left, form.right, form.places
        self.scale = np.asarray(form.scale)
        self.offset = form.offset.reshape(arch.output_shape)
        owners = owners_of(arch)
        self.owners = owners[form.left], owners[form.right]
        names = list(arch.shapes)
        self.used = tuple(names[owner] for owner in sorted({*owners[form.left], *owners[form.right]}))
        super().__init__(arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        expandable(arch, f"the {cls.label}")
        return cls(arch, loss)

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        check_common_decay(training, self.used, f"the {self.label}")

    @property
    def size(self) -> tuple[int, int]:
        """The sizes of $u$ and $v$."""
        return len(self.left), len(self.right)

    def _roots(self) -> tuple[jax.Array, jax.Array]:
        r"""$\sqrt e$ of the entries of $u$ and of $v$, by which the flow of unit rates is smaller."""
        training = self.training
        if training is None or not training.rates:
            return jnp.ones(len(self.left)), jnp.ones(len(self.right))
        names = self.architecture.shapes
        each = jnp.stack([jnp.asarray(rate_of(training, name), jnp.result_type(float)) for name in names])
        return jnp.sqrt(each[self.owners[0]]), jnp.sqrt(each[self.owners[1]])

    def factors(self, theta: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
        """$u$ and $v$ as vectors. Pure."""
        flat = self.architecture.ravel(dict(theta))
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
        (u, v), (left, right) = self.factors(theta0), self._roots()
        u, v = u / left, v / right
        norms = jnp.sqrt(jnp.sum(u * u)), jnp.sqrt(jnp.sum(v * v))
        return {"Z": u[:, None] * v[None, :], "lambda": (norms[0] - norms[1]) * (norms[0] + norms[1])}

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        gradient = jnp.ravel(jax.grad(training.loss)(self.output(state)))
        inner = jnp.zeros(self.size, gradient.dtype).at[self.places[:, 0], self.places[:, 1]].set(gradient)
        change = neuron_operator(state["Z"], self._scales() * inner, state["lambda"])
        decay = 2.0 * jnp.asarray(common_decay(training, self.used, t))
        return scheduled(training, t, {"Z": -change - decay * state["Z"], "lambda": -decay * state["lambda"]})

    def output(self, state: State):
        flat = (self._scales() * state["Z"])[self.places[:, 0], self.places[:, 1]]
        return self.offset + jnp.reshape(flat, self.architecture.output_shape)

    def _scales(self):
        left, right = self._roots()
        return self.scale * left[:, None] * right[None, :]

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
