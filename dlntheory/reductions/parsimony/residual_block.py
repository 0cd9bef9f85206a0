"""What the layers do outside the active subspaces: copies of scalar networks, found with a few random probes."""

from __future__ import annotations

import equinox as eqx
import numpy as np

from .subspace_closure import SubspaceChain

#: Probes outside the active subspaces, and how far an image may be from a multiple of its preimage.
PROBES = 4
SCALAR = 1e-9
#: Distinct input variances outside the active subspaces; their multiplicities follow from two traces.
MAX_VARIANCES = 3


class ResidualClass(eqx.Module):
    r"""Directions that are trained alike: $m$ copies of one scalar network $\rho_L \cdots \rho_1$ with target 0.

    Attributes:
        variance: $\sigma$, the value of $\Sigma_{xx}$ on them.
        multiplicity: $m$.
    """

    variance: np.ndarray
    multiplicity: int = eqx.field(static=True)

    def __init__(self, variance: float, multiplicity: int):
        self.variance = np.asarray(variance, dtype=float)
        self.multiplicity = multiplicity


class ResidualBlock(eqx.Module):
    r"""The layers outside the active subspaces.

    Attributes:
        scales: $\epsilon_l$, by which $W_l$ stretches the directions that pass through all layers.
        classes: those directions by their input variance; empty if some layer lets none through.
        untrained: (level,) number of directions that do not pass through all layers: they receive no gradient.
    """

    scales: np.ndarray
    classes: tuple[ResidualClass, ...]
    untrained: tuple[int, ...] = eqx.field(static=True)


class NotScalarError(Exception):
    """The complement is no bundle of scalar networks: `seeds` are directions to add. Never leaves this package."""

    def __init__(self, seeds: dict[int, np.ndarray]):
        super().__init__("the complement is not scalar")
        self.seeds = seeds


def analyse(chain: SubspaceChain, variance: float, rng: np.random.Generator) -> ResidualBlock:
    r"""Show that the complement of closed subspaces is a bundle of scalar networks, and which.

    Start from random vectors at the narrowest level of the complement and carry them to both ends. If every layer
    acts on them as $W_l^\top W_l = \epsilon_l^2$ (above) and $W_l W_l^\top = \epsilon_l^2$ (below), the product of all
    layers is $\prod_l \epsilon_l$ times a partial isometry, and the gradient of every layer is a multiple of it.

    Args:
        chain: closed subspaces.
        variance: the value of $\Sigma_{xx}$ if it is a multiple of the identity.
        rng: draws the probes.

    Raises:
        NotScalarError: a probe left its direction.
    """
    room = [width - dim for width, dim in zip(chain.widths, chain.dims, strict=True)]
    narrowest = int(np.argmin(room))
    depth = len(chain.weights)
    sizes = [float(np.linalg.norm(w)) / np.sqrt(min(w.shape)) for w in chain.weights]
    if room[narrowest] == 0:
        return ResidualBlock(np.ones(depth), (), tuple(room))
    start = chain.outside(narrowest, rng.standard_normal((chain.widths[narrowest], PROBES)))
    scales = [0.0] * depth
    inputs = start
    for layer in range(narrowest - 1, -1, -1):
        inputs, scales[layer] = _carry(chain, layer + 1, layer, chain.weights[layer].T, inputs, sizes[layer])
    outputs = start
    for layer in range(narrowest, depth):
        outputs, scales[layer] = _carry(chain, layer, layer + 1, chain.weights[layer], outputs, sizes[layer])
    if 0.0 in scales:
        # Every path leads through the narrowest level: the product of all layers vanishes outside.
        return ResidualBlock(np.ones(depth), (), tuple(room))
    classes = _by_variance(chain, inputs, room[narrowest], room[0], variance)
    return ResidualBlock(np.asarray(scales), classes, tuple(size - room[narrowest] for size in room))


def _carry(chain: SubspaceChain, source: int, goal: int, step: np.ndarray, vectors: np.ndarray, size: float):
    """Carry vectors through one layer; the stretching factor is 0 if they are annihilated."""
    images = chain.outside(goal, step @ vectors)
    back = chain.outside(source, step.T @ images)
    norm = np.sum(vectors**2)
    square = float(np.sum(images**2) / norm) if norm else 0.0
    if square <= (SCALAR * size) ** 2:
        return np.zeros_like(images), 0.0
    defect = back - square * vectors
    if np.linalg.norm(defect) > SCALAR * size**2 * np.sqrt(norm):
        raise NotScalarError({source: _unit(defect)})
    return images, float(np.sqrt(square))


def _by_variance(
    chain: SubspaceChain, probes: np.ndarray, through: int, room: int, variance: float
) -> tuple[ResidualClass, ...]:
    """Split the directions that pass through all layers by the value of the input covariance."""
    covariance = chain.covariance
    if covariance is None:
        return (ResidualClass(variance, through),)
    values = _distinct_values(chain, covariance, probes)
    if len(values) == 1:
        return (ResidualClass(values[0], through),)
    if through != room:
        # Part of the input directions is lost on the way, and no trace tells which: treat all as active.
        raise NotScalarError({0: _unit(covariance @ probes)})
    basis = chain.bases[0]
    inner = basis.T @ covariance @ basis
    moments = [room, np.trace(covariance) - np.trace(inner)]
    moments.append(np.sum(covariance**2) - np.sum(inner**2))
    system = np.vander(values, len(values), increasing=True).T
    counts = np.linalg.solve(system, np.array(moments[: len(values)]))
    whole = np.rint(counts)
    if np.any(np.abs(counts - whole) > 1e-3) or np.any(whole < 1):
        raise NotScalarError({0: _unit(covariance @ probes)})
    return tuple(ResidualClass(value, int(count)) for value, count in zip(values, whole, strict=True))


def _distinct_values(chain: SubspaceChain, covariance: np.ndarray, probes: np.ndarray) -> list[float]:
    """The distinct eigenvalues of the covariance on the probes' space, by Lanczos; at most `MAX_VARIANCES`."""
    size = float(np.trace(covariance)) / len(covariance)
    vector = probes.sum(axis=1)
    basis = (vector / np.linalg.norm(vector))[:, None]
    for count in range(1, MAX_VARIANCES + 1):
        values = np.linalg.eigvalsh(basis.T @ covariance @ basis)
        rest = probes / np.linalg.norm(probes)
        for value in values:
            rest = chain.outside(0, covariance @ rest - value * rest)
        if np.linalg.norm(rest) <= SCALAR * size**count:
            rounded = np.where(np.abs(values) < 1e-12 * size, 0.0, values)
            return [float(value) for value in rounded]
        step = chain.outside(0, covariance @ basis[:, -1:])
        for _ in range(2):
            step = step - basis @ (basis.T @ step)
        if np.linalg.norm(step) <= SCALAR * size:
            break
        basis = np.hstack([basis, step / np.linalg.norm(step)])
    raise NotScalarError({0: _unit(rest)})


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=0)
