r"""Linearly separable data with labels ±1: with a known maximum margin, Gaussian classes, pairs of digits."""

from __future__ import annotations

import jax
import numpy as np

from .._checks import SQUARABLE, integer, real_number
from .._errors import InfeasibleError
from .._precision import require_float64
from ..initial.sampling import check_key
from .dataset import Dataset
from .hull import nearest_in_hull
from .real import digits

#: Margins of the samples that are no support vectors, as multiples of the margin (least) and in absolute terms (most).
LEAST_FACTOR, MOST = 1.6, 0.75
MAX_DRAWS = 100


def simplex_margin(key: jax.Array, samples: int, dimension: int, margin: float) -> Dataset:
    r"""Separable data whose maximum-margin direction, margin and dual weights are known by construction.

    The $d$ support vectors are $y_j x_j = \gamma \bar u + c_j$ with $c_j \perp \bar u$ and $\sum_j a_j c_j = 0$
    for random
    weights $a_j > 0$: hence $\sum_j a_j y_j x_j = \gamma\bar u$, which proves that $\bar u$ is the maximum-margin
    direction and $\gamma$ the margin. They span $\mathbb R^d$ and are well conditioned (the $c_j$ are the rows of an
    orthonormal basis of $a^\perp$, times one factor). The other $n - d$ samples have margins between $1.6\gamma$ and
    0.75; every $\|x\| \le 1$.

    Args:
        key: from `jax.random.key`.
        samples: $n \ge d$; the support vectors come first.
        dimension: $d \ge 2$.
        margin: $\gamma$, above 0 and below 0.46.

    Returns:
        Inputs (n, d) and labels (n, 1); the direction $\bar u$ is `.teacher` (1, d).

    Raises:
        ValueError: a size or a margin out of range, a malformed key.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> data = simplex_margin(jax.random.key(0), samples=30, dimension=4, margin=0.3)
        >>> margins = data.targets[:, 0] * (data.inputs @ data.teacher[0])
        >>> data, [f"{m:.3f}" for m in margins[:4]], bool(margins[4:].min() > 0.48)
        (Dataset(simplex, margin 0.3: 30 samples, 4 inputs, 1 target), ['0.300', '0.300', '0.300', '0.300'], True)
    """
    require_float64("simplex_margin")
    check_key(key)
    dimension = integer(dimension, "dimension", minimum=2)
    samples = integer(samples, "samples", minimum=dimension)
    if not 0 < (margin := real_number(margin, "margin")) < MOST / LEAST_FACTOR:
        raise ValueError(
            f"Argument `margin` must be above 0 and below {MOST / LEAST_FACTOR:.4g}, so that the other samples fit in "
            f"between {LEAST_FACTOR} times it and {MOST}, but is {margin}."
        )
    rng = _generator(key)
    frame = _orthogonal(rng, dimension)
    direction, across = frame[:, 0], frame[:, 1:]
    weights = rng.dirichlet(np.full(dimension, 5.0))
    # Columns of `basis` are orthonormal and orthogonal to the weights, and otherwise random.
    normal = np.column_stack([weights, rng.standard_normal((dimension, dimension - 1))])
    basis = np.linalg.qr(normal)[0][:, 1:]
    reach = 0.95 * np.sqrt(1.0 - margin**2) / np.max(np.linalg.norm(basis, axis=1))
    support = margin * direction + reach * basis @ across.T
    others = samples - dimension
    along = rng.uniform(LEAST_FACTOR * margin, MOST, others)
    sideways = rng.standard_normal((others, dimension - 1))
    room = np.sqrt(1.0 - along**2) / np.maximum(np.linalg.norm(sideways, axis=1), 1.0)
    rest = along[:, None] * direction + 0.95 * room[:, None] * sideways @ across.T
    labels = rng.choice([-1.0, 1.0], samples)
    return Dataset(
        labels[:, None] * np.concatenate([support, rest]),
        labels,
        name=f"simplex, margin {margin:g}",
        description=f"{dimension} support vectors that span the space, {others} samples further away; "
        f"the teacher is the "
        f"maximum-margin direction, the margin is {margin:g}.",
        teacher=direction[None, :],
    )


def blobs(key: jax.Array, samples: int, dimension: int, *, separation: float = 6.0) -> Dataset:
    r"""Two Gaussian classes around $\pm\frac12 s\,e$ with unit covariance, separable through the origin.

    Draws that are not separable are rejected; the rows are then scaled to $\max_i \|x_i\| = 1$.

    Args:
        key: from `jax.random.key`.
        samples: $n \ge 2$; labels alternate, so that both classes are there.
        dimension: $d$.
        separation: $s$, the distance of the centres in standard deviations.

    Returns:
        Inputs (n, d) and labels (n, 1).

    Raises:
        ValueError: a size or a separation out of range, a malformed key.
        InfeasibleError: none of 100 draws was separable.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> blobs(jax.random.key(0), samples=40, dimension=5)
        Dataset(blobs, 6 sd apart: 40 samples, 5 inputs, 1 target)
    """
    require_float64("blobs")
    check_key(key)
    samples, dimension = integer(samples, "samples", minimum=2), integer(dimension, "dimension")
    separation = real_number(separation, "separation", minimum=0, maximum=SQUARABLE)
    labels = np.where(np.arange(samples) % 2 == 0, 1.0, -1.0)
    distances = []
    rng = _generator(key)
    for _ in range(MAX_DRAWS):
        centre = rng.standard_normal(dimension)
        centre *= 0.5 * separation / np.linalg.norm(centre)
        inputs = labels[:, None] * centre + rng.standard_normal((samples, dimension))
        inputs /= np.max(np.linalg.norm(inputs, axis=1))
        signed = labels[:, None] * inputs
        distances.append(float(np.linalg.norm(nearest_in_hull(signed) @ signed)))
        if distances[-1] > 1e-6:
            return Dataset(
                inputs,
                labels,
                name=f"blobs, {separation:g} sd apart",
                description="Two Gaussian classes of unit covariance, separable through the origin, "
                "scaled to norm <= 1.",
            )
    raise InfeasibleError(
        f"None of {MAX_DRAWS} draws of {samples} samples in {dimension} dimensions was separable through the origin "
        f"(largest margin {max(distances):.1e}): a `separation` above {separation:g}, fewer samples or more dimensions."
    )


def digit_pair(first: int, second: int) -> Dataset:
    """Two classes of the handwritten digits, labels +1 and -1, scaled by the largest norm; not centred.

    Args:
        first: the digit with label +1.
        second: the digit with label -1.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: not two different digits.

    Example:
        >>> data = digit_pair(0, 1)
        >>> data, float(np.max(np.linalg.norm(data.inputs, axis=1)))
        (Dataset(digits 0 v 1: 360 samples, 64 inputs, 1 target), 1.0)
    """
    data = digits(classes=(first, second))
    largest = float(np.max(np.linalg.norm(data.inputs, axis=1)))
    return Dataset(
        data.inputs / largest,
        data.targets,
        name=f"digits {first} v {second}",
        description=f"Handwritten digits {first} (label +1) and {second} (label -1), 8 x 8 pixels, largest norm 1.",
    )


def _generator(key: jax.Array) -> np.random.Generator:
    """NumPy's generator seeded by the key: many small draws of different shapes, and nothing to compile."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _orthogonal(rng: np.random.Generator, size: int) -> np.ndarray:
    """A Haar orthogonal matrix."""
    left, _, right = np.linalg.svd(rng.standard_normal((size, size)))
    return left @ right
