"""`active_subspaces`: the smallest subspaces in which training happens, layer by layer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np

from ..._checks import real_number
from ..._errors import NotApplicableError
from ...display.displayed import Displayed
from ...display.text import format_number
from ...losses.base import checked_array
from .rangefinder import low_rank_factor
from .residual_block import NotScalarError, ResidualBlock, analyse
from .subspace_closure import SubspaceChain

#: A layer counts as orthogonal (up to a factor) below this distance.
ORTHOGONAL = 1e-10


class ActiveSubspaces(Displayed, eqx.Module):
    r"""Subspaces $S_0, \dots, S_L$ that training from one start never leaves, and what happens outside them.

    Attributes:
        bases: $P_l$ (d_l, k_l) with orthonormal columns that span $S_l$. Only the spaces are determined.
        residual: the directions outside, which are trained towards 0.
        closure_dims: dimensions of the smallest closed subspaces; `dims` is larger where the layers do not act as
            scalars outside them, since such directions are added.
        rank: r, the rank of the target.
        discarded: Frobenius norm of the part of the target that a prescribed rank leaves out.
        notes: what a user should know: a layer that is not orthogonal, subspaces that fill the network.
    """

    bases: tuple[np.ndarray, ...]
    residual: ResidualBlock
    closure_dims: tuple[int, ...] = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    discarded: np.ndarray
    notes: tuple[str, ...]

    @property
    def dims(self) -> tuple[int, ...]:
        """$k_0, \\dots, k_L$."""
        return tuple(basis.shape[1] for basis in self.bases)

    @property
    def widths(self) -> tuple[int, ...]:
        """$d_0, \\dots, d_L$."""
        return tuple(basis.shape[0] for basis in self.bases)

    @property
    def parameters(self) -> tuple[int, int]:
        """Weights inside the subspaces, and of the whole network."""
        return _weight_count(self.dims), _weight_count(self.widths)

    def leakage(self, weights: Sequence[Any]) -> np.ndarray:
        r"""How far layers map the subspaces and their complements into each other, relative to the layer.

        $\|(I - \Pi_l) W_l \Pi_{l-1} + \Pi_l W_l (I - \Pi_{l-1})\|_F / \|W_l\|_F$ with $\Pi_l = P_l P_l^\top$.

        Args:
            weights: $W_1, \dots, W_L$ at any time.

        Returns:
            One number for each layer.
        """
        found = []
        for layer, weight in enumerate(np.asarray(w) for w in weights):
            before, after = self.bases[layer], self.bases[layer + 1]
            right, left = weight @ before, after.T @ weight
            core = after.T @ right
            escaping = np.linalg.norm(right - after @ core)
            entering = np.linalg.norm(left - core @ before.T)
            found.append(float(np.hypot(escaping, entering) / np.linalg.norm(weight)))
        return np.asarray(found)

    def _facts(self) -> list[tuple[str, str]]:
        inside, total = self.parameters
        classes = "; ".join(
            f"{one.multiplicity} directions with input variance {format_number(one.variance)}"
            for one in self.residual.classes
        )
        rows = [
            ("widths", " -> ".join(map(str, self.widths))),
            ("active dimensions", " -> ".join(map(str, self.dims))),
            ("weights", f"{inside} of {total}"),
            ("rank of the target", f"{self.rank}, {format_number(self.discarded)} discarded"),
            ("outside, trained to 0", classes or "none"),
            ("outside, no gradient", " -> ".join(map(str, self.residual.untrained))),
        ]
        return rows + [("note" if i == 0 else f"note {i + 1}", note) for i, note in enumerate(self.notes)]

    def _title(self) -> str:
        return "active subspaces"

    def __repr__(self) -> str:
        dims, widths = "-".join(map(str, self.dims)), "-".join(map(str, self.widths))
        return f"ActiveSubspaces({dims} in {widths}, target of rank {self.rank})"


def active_subspaces(
    weights: Sequence[Any],
    target: Any,
    covariance: Any = None,
    *,
    variance: float = 1.0,
    rank: int | None = None,
    seed: int = 0,
) -> ActiveSubspaces:
    r"""The smallest subspaces that contain all of the training from a start, for any widths and any start.

    $S_0, \dots, S_L$ are the smallest with $W_l S_{l-1} \subseteq S_l$, $W_l^\top S_l \subseteq S_{l-1}$,
    $\Phi S_0 \subseteq S_L$, $\Phi^\top S_L \subseteq S_0$ and $\Sigma_{xx} S_0 \subseteq S_0$, for the gradient
    $\nabla f(z) = z \Sigma_{xx} - \Phi$. Then $P_l^\top W_l(t) P_{l-1}$ is trained by itself, blocks between a
    subspace and a complement stay zero, and the complement is trained towards 0.

    No matrix of the size of a layer is decomposed: the bases grow from a randomised range of $\Phi$ by
    products with the layers, $O(L d^2 k)$ in all.

    Args:
        weights: $W_1, \dots, W_L$ at the start, $W_l$ (d_l, d_{l-1}).
        target: $\Phi$ (d_L, d_0); `correlation` of a `SquaredLoss`.
        covariance: $\Sigma_{xx}$ (d_0, d_0); `None` for `variance` times the identity.
        variance: see `covariance`.
        rank: the rank to give the target; by default read off a gap in its spectrum.
        seed: of the random probes. The spaces do not depend on it.

    Returns:
        `ActiveSubspaces`; if they fill the network, a note says so.

    Raises:
        ValueError: shapes that do not fit, a layer that is zero (nothing then passes through the network and no
            subspace is determined), a target without a gap in its spectrum.

    Validity:
        Exact for gradient flow, gradient descent, heavy ball and Nesterov, with weight decay and layer rates; not for
        methods that rescale entries (Adam, RMSprop, sign methods). Generic dimensions: $2r$ for square
        orthogonal layers; everything for Gaussian ones.

    References:
        [yaras2023law] (square orthogonal layers, whitened data). The closure for any widths, starts and
        covariances is derived here.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> layers = [0.5 * np.linalg.qr(rng.standard_normal((20, 20)))[0] for _ in range(3)]
        >>> active_subspaces(layers, np.outer(rng.standard_normal(20), rng.standard_normal(20)))
        ActiveSubspaces(2-2-2-2 in 20-20-20-20, target of rank 1)
    """
    layers, phi, sxx = _checked(weights, target, covariance)
    variance = real_number(variance, "variance", above=0)
    factor = low_rank_factor(phi, rank, seed=seed)
    chain = SubspaceChain(layers, sxx)
    chain.add({0: factor.right, len(layers): factor.left})
    closure_dims = chain.dims
    rng = np.random.default_rng([seed, 1])
    while True:
        try:
            complement = analyse(chain, variance, rng)
            break
        except NotScalarError as found:
            chain.add(found.seeds)
    notes = _notes(layers, chain, closure_dims)
    return ActiveSubspaces(
        tuple(chain.bases), complement, closure_dims, factor.rank, np.asarray(factor.discarded), notes
    )


def _checked(weights, target, covariance) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
    if not isinstance(weights, Sequence) or not weights:
        raise ValueError("Argument `weights` must be a non-empty sequence of matrices, first layer first.")
    layers = [checked_array(weight, f"weights[{i}]") for i, weight in enumerate(weights)]
    for i, layer in enumerate(layers):
        if layer.ndim != 2 or (i > 0 and layer.shape[1] != layers[i - 1].shape[0]):
            raise ValueError(
                "Argument `weights` must hold matrices W_l of shape (d_l, d_{l-1}), but the shapes are "
                f"{[w.shape for w in layers]}."
            )
        if not np.any(layer):
            raise NotApplicableError(
                f"Argument `weights` must not hold a layer that is 0, but layer {i + 1} is (scale 0): the subspaces "
                "are not determined by the start, and from more than one such layer nothing moves. Use a small "
                "positive scale."
            )
    phi = checked_array(target, "target")
    shape = (layers[-1].shape[0], layers[0].shape[1])
    if phi.shape != shape:
        raise ValueError(
            f"Argument `target` must have the shape {shape} of the product, but has {phi.shape}."
        )
    if covariance is None:
        return layers, phi, None
    sxx = checked_array(covariance, "covariance")
    if sxx.shape != (shape[1], shape[1]) or not np.allclose(
        sxx, sxx.T, rtol=0, atol=1e-12 * np.max(np.abs(sxx))
    ):
        raise ValueError(
            f"Argument `covariance` must be a symmetric matrix of shape {(shape[1], shape[1])}, but has shape "
            f"{sxx.shape}" + ("." if sxx.shape != (shape[1], shape[1]) else " and is not symmetric.")
        )
    return layers, phi, sxx


def distance_from_orthogonal(weight: np.ndarray) -> float:
    r"""$\|Q^\top Q - I\|_2$ (or $\|QQ^\top - I\|_2$) of a layer divided by its root mean square singular value.

    Estimated from below by four random probes and eight power steps; zero, up to rounding, exactly for multiples of
    semi-orthogonal matrices.
    """
    q = weight if weight.shape[0] >= weight.shape[1] else weight.T
    q = q * (np.sqrt(q.shape[1]) / np.linalg.norm(q))
    probe = np.random.default_rng(2).standard_normal((q.shape[1], 4))
    value = 0.0
    for _ in range(8):
        probe = probe / np.linalg.norm(probe, axis=0)
        probe = q.T @ (q @ probe) - probe
        value = float(np.max(np.linalg.norm(probe, axis=0)))
        if value <= ORTHOGONAL:
            break
    return value


def _notes(layers, chain: SubspaceChain, closure_dims: tuple[int, ...]) -> tuple[str, ...]:
    notes = []
    dims = " -> ".join(map(str, chain.dims))
    defects = [distance_from_orthogonal(weight) for weight in layers]
    if bad := {f"W{i}": value for i, value in enumerate(defects, start=1) if value > ORTHOGONAL}:
        listed = ", ".join(f"{name} by {value:.2g}" for name, value in bad.items())
        notes.append(f"the start is not orthogonal ({listed}): the general closure gives dimensions {dims}")
    if chain.dims != closure_dims:
        notes.append(
            f"the smallest closed subspaces have dimensions {' -> '.join(map(str, closure_dims))}; the rest was added "
            "because the layers outside do not act as scalars there"
        )
    inside, total = _weight_count(chain.dims), _weight_count(tuple(chain.widths))
    if inside == total:
        notes.append("the subspaces fill the network: this is the full network, nothing is compressed")
    elif 2 * inside > total:
        notes.append("no useful compression: more than half of the weights are inside the subspaces")
    return tuple(notes)


def _weight_count(widths: tuple[int, ...]) -> int:
    return sum(before * after for before, after in itertools.pairwise(widths))
