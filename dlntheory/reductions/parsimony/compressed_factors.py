"""`CompressedFactors`: the arrays of a compression, and the maps between full layers and the small network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...families.linear import MatrixProduct
from ...losses import SquaredLoss
from ...training import State, Training
from .active_subspaces import ActiveSubspaces


class CompressedFactors(eqx.Module):
    r"""Bases, complements and projected loss of one start; every method is pure.

    Attributes:
        architecture: the small network of widths $k_0, \dots, k_L$, its factors named as the full layers.
        loss: the squared loss of the small network, whose value includes the part of the data that it cannot reach.
        bases: $P_0, \dots, P_L$.
        residual_layers: $M_l = W_l(0) - P_l C_l(0) P_{l-1}^\top$ by name: the layers outside the subspaces.
        scales: $\epsilon_l$ (class, layer), the same row for each class.
        variances: $\sigma$ (class,).
        multiplicities: $m$ (class,) as floats.
        residual_products: $E$ (class, d_L, d_0): the product of $M_l/\epsilon_l$ on each class.
        selectors: projections (class, d_0, d_0) onto the input directions of each class, or `None` where one class is
            all of the residual, and nothing needs to be told apart.
    """

    architecture: Architecture
    loss: SquaredLoss
    bases: tuple[Any, ...]
    residual_layers: dict[str, Any]
    scales: np.ndarray
    variances: np.ndarray
    multiplicities: np.ndarray
    residual_products: Any
    selectors: Any

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, first layer first."""
        assert self.architecture.chain is not None  # built by `linear_network`
        return self.architecture.chain

    def project(self, theta: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Cores $P_l^\\top W_l P_{l-1}$, and by how much each residual is scaled against the start (layer,)."""
        cores, ratios = {}, []
        for layer, name in enumerate(self.names):
            weight, rest = jnp.asarray(theta[name]), jnp.asarray(self.residual_layers[name])
            cores[name] = self.bases[layer + 1].T @ weight @ self.bases[layer]
            size = jnp.sum(rest**2)
            ratio = jnp.sum(rest * weight) / jnp.where(size > 0, size, 1.0)
            ratios.append(jnp.where(size > 0, ratio, 1.0))
        return cores, jnp.stack(ratios)

    def gap(self, theta: Mapping[str, Any]) -> float:
        """Largest relative distance of a layer from what `project` keeps of it: 0 if nothing is lost."""
        worst = 0.0
        for layer, name in enumerate(self.names):
            before, after = (np.asarray(basis) for basis in self.bases[layer : layer + 2])
            weight, rest = np.asarray(theta[name]), np.asarray(self.residual_layers[name])
            outside = weight - after @ (after.T @ weight @ before) @ before.T
            size = float(np.sum(rest**2))
            ratio = float(np.sum(rest * weight)) / size if size else 1.0
            # A residual of the opposite sign would have a negative scalar: it is another start.
            distance = np.linalg.norm(outside - ratio * rest) if ratio > 0 else np.linalg.norm(weight)
            worst = max(worst, float(distance / np.linalg.norm(weight)))
        return worst

    def core_product(self, state: State):
        """$C_L \\cdots C_1$."""
        return self.architecture({name: state[name] for name in self.names})

    def velocity(self, training: Training, state: State) -> State:
        """Time derivative of cores, `rho` and `untrained`; momentum methods use it as the force."""
        projected = eqx.tree_at(lambda tree: tree.loss, training, self.loss)
        velocity = projected.velocity(self.architecture, {name: state[name] for name in self.names})
        rates = jnp.stack([jnp.asarray(training.rate(name), dtype=float) for name in self.names])
        rho = self.rho(state)
        # The product without one factor, not a quotient: a step of descent may take rho through zero.
        apart = jnp.where(jnp.eye(len(self.names), dtype=bool)[None], 1.0, rho[:, None, :])
        force = self.variances[:, None] * jnp.prod(apart, axis=2) ** 2 * rho
        if "rho" in state:
            velocity["rho"] = -rates[None, :] * (force + training.weight_decay * rho)
        velocity["untrained"] = -rates * training.weight_decay * state["untrained"]
        return velocity

    def rho(self, state: State):
        """$\\rho_l$ (class, layer); a state without classes does not hold it."""
        return state["rho"] if len(self.variances) else jnp.zeros((0, len(self.names)))

    def end_to_end(self, state: State):
        r"""$z = P_L C_{L:1} P_0^\top + \sum_\sigma (\prod_l \rho_l) E_\sigma$ (d_L, d_0)."""
        inside = self.bases[-1] @ self.core_product(state) @ self.bases[0].T
        return inside + jnp.einsum("c,cij->ij", jnp.prod(self.rho(state), axis=1), self.residual_products)

    def total_loss(self, state: State):
        r"""$f(z) = f_c(C_{L:1}) + \frac12 \sum_\sigma m\,\sigma \prod_l \rho_l^2$, without forming $z$."""
        outside = self.multiplicities * self.variances * jnp.prod(self.rho(state), axis=1) ** 2
        return self.loss(self.core_product(state)) + 0.5 * jnp.sum(outside)

    def layer(self, state: State, name: str):
        """One full layer (d_l, d_{l-1})."""
        if name not in self.names:
            raise ValueError(f"Argument `name` must be one of {list(self.names)}, but is {name!r}.")
        layer = self.names.index(name)
        inside = self.bases[layer + 1] @ state[name] @ self.bases[layer].T
        rest, rho, untrained = self.residual_layers[name], self.rho(state), state["untrained"]
        count = self.scales.shape[0]
        if not count:
            return inside + untrained[layer] * rest
        if self.selectors is None:
            return inside + rho[0, layer] / self.scales[0, layer] * rest
        outside = untrained[layer] * rest
        for index in range(count):
            selector = self._selector(index, layer)
            excess = rho[index, layer] / self.scales[index, layer] - untrained[layer]
            outside = outside + excess * (rest @ selector)
        return inside + outside

    def _selector(self, index: int, level: int):
        """Projection (d_l, d_l) onto one class at a level, carried there by the normalised layers."""
        assert self.selectors is not None
        selector = jnp.asarray(self.selectors[index])
        for layer, name in enumerate(self.names[:level]):
            step = self.residual_layers[name] / self.scales[index, layer]
            selector = step @ selector @ step.T
        return selector


def compressed_factors(
    names: Sequence[str],
    small: Architecture,
    loss: SquaredLoss,
    start: Mapping[str, np.ndarray],
    subspaces: ActiveSubspaces,
    covariance: np.ndarray | None,
) -> CompressedFactors:
    """Project loss and layers on the active subspaces."""
    bases, residual = subspaces.bases, subspaces.residual
    residual_layers = {}
    for layer, name in enumerate(names):
        weight = start[name]
        core = bases[layer + 1].T @ weight @ bases[layer]
        rest = weight - bases[layer + 1] @ core @ bases[layer].T
        # Rounding is no layer: it would be measured against itself.
        is_nothing = np.linalg.norm(rest) <= 1e-12 * np.linalg.norm(weight)
        residual_layers[name] = np.zeros_like(rest) if is_nothing else rest
    classes = residual.classes
    scales = np.tile(np.asarray(residual.scales), (len(classes), 1))
    products, selectors = _products_and_selectors(names, residual_layers, subspaces, covariance)
    return CompressedFactors(
        architecture=_renamed(small, names),
        loss=projected_loss(loss, bases[0], bases[-1]),
        bases=tuple(jnp.asarray(basis) for basis in bases),
        residual_layers={name: jnp.asarray(rest) for name, rest in residual_layers.items()},
        scales=scales,
        variances=np.asarray([one.variance for one in classes], dtype=float),
        multiplicities=np.asarray([one.multiplicity for one in classes], dtype=float),
        residual_products=jnp.asarray(products),
        selectors=None if selectors is None else jnp.asarray(selectors),
    )


def projected_loss(loss: SquaredLoss, first: np.ndarray, last: np.ndarray) -> SquaredLoss:
    r"""The squared loss of $C = P_L^\top z P_0$ in $k_L \times k_0$ matrices, equal in value for $z = P_L C P_0^\top$.

    With $f(z) = s(\frac12\|z R^\top - O\|^2 + c)$ and the QR factors $R P_0 = U T$ it is
    $s(\frac12\|C T^\top - P_L^\top O U\|^2 + c')$, $c'$ taking what is left of $O$.
    """
    offset = np.asarray(loss.offset)
    if loss.factor is None:
        u, factor = first, None
    else:
        u, r = np.linalg.qr(np.asarray(loss.factor) @ first)
        factor = jnp.asarray(r)
    inner = last.T @ offset @ u
    lost = offset - last @ inner @ u.T
    irreducible = jnp.asarray(float(loss.irreducible) + 0.5 * float(np.sum(lost**2)))
    small = SquaredLoss.from_target(inner)
    return eqx.tree_at(
        lambda tree: (tree.factor, tree.irreducible, tree.scale, tree.samples),
        small,
        (factor, irreducible, loss.scale, loss.samples),
        is_leaf=lambda leaf: leaf is None,
    )


def _renamed(small: Architecture, names: Sequence[str]) -> Architecture:
    if tuple(names) == small.chain:
        return small
    shapes = dict(zip(names, small.shapes.values(), strict=True))
    return Architecture(MatrixProduct(tuple(names)), shapes, name=small.name, chain=names, try_out=False)


def _products_and_selectors(
    names: Sequence[str],
    residual_layers: Mapping[str, np.ndarray],
    subspaces: ActiveSubspaces,
    covariance: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    residual, widths = subspaces.residual, subspaces.widths
    classes = residual.classes
    if not classes:
        return np.zeros((0, widths[-1], widths[0])), None
    product = np.eye(widths[0])
    narrowest = int(np.argmin(np.asarray(residual.untrained)))
    through = None
    for layer, name in enumerate(names):
        if layer == narrowest:
            through = product.T @ product
        step = residual_layers[name] / residual.scales[layer]
        product = step if layer == 0 else step @ product
    if through is None:
        through = product.T @ product
    if len(classes) == 1 and not any(residual.untrained):
        return product[None], None
    if narrowest == 0:
        through = np.eye(widths[0]) - subspaces.bases[0] @ subspaces.bases[0].T
    selectors = []
    for one in classes:
        selector = through
        for other in classes:
            if other is not one:
                assert covariance is not None  # several classes come from a covariance
                gap = one.variance - other.variance
                selector = (covariance @ selector - other.variance * selector) / gap
        selectors.append(selector)
    stacked = np.stack(selectors)
    return np.stack([product @ selector for selector in selectors]), stacked
