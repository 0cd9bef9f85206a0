"""Progressive collapse: how the spread within classes falls, layer by layer, against the spread between them.

References:
    [yaras2023law].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..._checks import integer, real_number
from ...architecture import Architecture
from ...losses.base import checked_rows


def collapse_metrics(arch: Architecture, params: Mapping[str, Any], inputs: Any, labels: Any) -> np.ndarray:
    r"""$D_l = \mathrm{tr}\,\Sigma_W / \mathrm{tr}\,\Sigma_B$ of the features $W_l \cdots W_1 x$, for l = 0, …, L.

    $\Sigma_W$ is the mean over samples of $(h - \mu_c)(h - \mu_c)^\top$, $\Sigma_B$ the mean over classes of
    $(\mu_c - \mu)(\mu_c - \mu)^\top$, $\mu$ the mean of the class means.

    Args:
        arch: a chain of matrices.
        params: its layers at any time.
        inputs: X (n, d_0), rows are samples.
        labels: the class of each sample (n,), any integers.

    Returns:
        (L + 1,) numbers; for K classes of n orthonormal inputs each, $D_0 = K(n-1)/(K-1)$ exactly.

    Raises:
        ValueError: no chain, shapes that do not fit, fewer than two classes, or coinciding class means at some layer.

    References:
        [yaras2023law] (the metric and its geometric decay).

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.linear_network((4, 4))
        >>> d = collapse_metrics(arch, {"W1": np.eye(4)}, np.eye(4), [0, 0, 1, 1])
        >>> d.round(12).tolist()
        [2.0, 2.0]
    """
    if arch.chain is None or arch.widths is None:
        raise ValueError(f"Argument `arch` must be a chain of matrices, but {arch.name} declares none.")
    features = checked_rows(inputs, "inputs")
    classes = np.asarray(labels)
    if features.shape[1] != arch.widths[0] or classes.shape != (len(features),):
        raise ValueError(
            f"Arguments `inputs` and `labels` must have shapes (n, {arch.widths[0]}) and (n,), but have "
            f"{features.shape} and {classes.shape}."
        )
    names, index = np.unique(classes, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"Argument `labels` must name two or more classes, but names {names.tolist()}.")
    checked = arch.check(params, "params")
    found = [_ratio(features, index, len(names), 0)]
    for layer, name in enumerate(arch.chain, start=1):
        features = features @ np.asarray(checked[name]).T
        found.append(_ratio(features, index, len(names), layer))
    return np.asarray(found)


def collapse_at_inputs(classes: int, per_class: int) -> float:
    r"""$D_0 = K(n-1)/(K-1)$ of K classes of n orthonormal inputs each."""
    classes, per_class = integer(classes, "classes", minimum=2), integer(per_class, "per_class")
    return classes * (per_class - 1) / (classes - 1)


def collapse_slope(scale: float, per_class: int, depth: int) -> float:
    r"""$\log D_{l+1} - \log D_l \approx 2\log\epsilon - \frac1L \log n$ after convergence.

    Args:
        scale: $\epsilon$, the scale of the orthogonal start.
        per_class: n, samples of each class.
        depth: L.

    Validity:
        Orthonormal inputs, one-hot targets, the sum loss, no weight decay, at convergence; up to $O(\epsilon^2)$, for
        the layers l = 0, …, L - 2 (the last layer has as many rows as there are classes and ends the line).

    References:
        Derived here: each layer stretches the directions of the class means by $n^{1/(2L)}$, the singular values of the
        target being $\sqrt n$, and the others by $\epsilon$.

    Example:
        >>> round(collapse_slope(0.5, 10, 8), 4)
        -1.6741
    """
    scale, per_class = real_number(scale, "scale", above=0), integer(per_class, "per_class")
    depth = integer(depth, "depth")
    return 2.0 * float(np.log(scale)) - float(np.log(per_class)) / depth


def _ratio(features: np.ndarray, index: np.ndarray, classes: int, layer: int) -> float:
    counts = np.bincount(index, minlength=classes)
    means = np.zeros((classes, features.shape[1]))
    np.add.at(means, index, features)
    means /= counts[:, None]
    within = float(np.mean(np.sum((features - means[index]) ** 2, axis=1)))
    between = float(np.mean(np.sum((means - means.mean(axis=0)) ** 2, axis=1)))
    if between == 0.0:
        raise ValueError(
            f"Argument `params` must keep the class means apart, but after {layer} layers all {classes} coincide."
        )
    return within / between
