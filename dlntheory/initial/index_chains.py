r"""Which singular values a λ-balanced chain may have, one singular direction at a time.

Suppose $D_l = W_{l+1}^\top W_{l+1} - W_l W_l^\top = \lambda_l I$ for all hidden layers. Then
$W_{l+1}^\top W_{l+1}$ and $W_l W_l^\top$ have common eigenvectors, and their eigenvalues differ by
$\lambda_l$ in the same order. So start from an SVD of $W_1$ with sorted singular values; each next layer has
an SVD whose right vectors are the left ones of the layer before, again sorted, with zeros last. Hence every
λ-balanced chain is $W_l = Q_l\,\mathrm{diag}(s_l)\, Q_{l-1}^\top$ with orthogonal $Q_l$, where direction $i$
of one layer meets direction $i$ of the next, and $s_{l,i} = 0$ for $i \ge \min(d_l, d_{l-1})$. Conversely
such a chain is λ-balanced iff, for every hidden layer $l$ and every $i < d_l$,
$s_{l+1,i}^2 = s_{l,i}^2 + \lambda_l$. The problem falls apart into directions $i$, and each direction into
maximal runs of layers of nodes (widths) that reach it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from .._errors import InfeasibleError


def forced_squares(
    widths: Sequence[int], lam: Sequence[float] | np.ndarray, tolerance: float | None = None
) -> np.ndarray:
    r"""$s_{l,i}^2$ for the directions $i$ at or beyond the narrowest width, where nothing is free.

    Args:
        widths: $(d_0, …, d_L)$.
        lam: $λ_1, …, λ_{L-1}$.
        tolerance: how far sums of λ that must vanish or have a sign may be off, absolute; by default the
            rounding of the sums.

    Returns:
        An array (L, max width); zero in the directions below the narrowest width, which are free.

    Raises:
        InfeasibleError: no chain of these widths has these λ; the message names the hidden layer and what it
            needs.
    """
    depth = len(widths) - 1
    squares = np.zeros((depth, max(widths)))
    # λ that cancel in exact arithmetic, such as (0.1, 0.2, -0.3), need not cancel in floats.
    if tolerance is None:
        tolerance = 64 * np.finfo(float).eps * float(np.sum(np.abs(lam)))
    for low, high in itertools.pairwise(sorted(set(widths))):
        reaches = [layer for layer, width in enumerate(widths) if width > low]
        for first, last in _runs(reaches):
            for layer, value in _forced_run(first, last, widths, lam, tolerance).items():
                squares[layer - 1, low:high] = value
    return squares


def offsets(lam: Sequence[float] | np.ndarray) -> np.ndarray:
    r"""$c_l = \sum_{k<l} λ_k$ shifted to minimum 0: the squares of a free direction up to a common shift."""
    sums = np.concatenate([[0.0], np.cumsum(lam)])
    return sums - sums.min()


def _runs(layers: list[int]) -> list[tuple[int, int]]:
    """Maximal runs of consecutive numbers, as (first, last)."""
    groups = itertools.groupby(enumerate(layers), key=lambda pair: pair[1] - pair[0])
    members = [[layer for _, layer in group] for _, group in groups]
    return [(run[0], run[-1]) for run in members]


def _forced_run(
    first: int, last: int, widths: Sequence[int], lam: Sequence[float] | np.ndarray, tolerance: float
) -> dict[int, float]:
    """Squares by weight layer in a direction that lives at the node layers first..last and not beside them.

    Weight layer l joins node layers l - 1 and l; node layers 0 and L carry no condition.
    """
    depth = len(widths) - 1
    starts_inside, ends_inside = first >= 1, last <= depth - 1
    if starts_inside and ends_inside:
        total = float(np.sum(lam[first - 1 : last]))
        if abs(total) > tolerance:
            raise InfeasibleError(_message(widths, lam, first, last, "= 0", total, first, last))
    squares = {}
    for layer in range(first + 1, last + 1):
        if starts_inside:
            left, right, sign = first, layer - 1, 1.0
        else:
            left, right, sign = layer, last, -1.0
        total = float(np.sum(lam[left - 1 : right]))
        if sign * total < -tolerance:
            relation = ">= 0" if starts_inside else "<= 0"
            inner = (first, None) if starts_inside else (None, last)
            raise InfeasibleError(_message(widths, lam, left, right, relation, total, *inner))
        squares[layer] = max(sign * total, 0.0)
    return squares


def _message(
    widths: Sequence[int],
    lam: Sequence[float] | np.ndarray,
    left: int,
    right: int,
    relation: str,
    total: float,
    first: int | None,
    last: int | None,
) -> str:
    """Why λ is impossible: λ_left + … + λ_right must be `relation`, for the ends first, last of the run."""
    shown = "-".join(map(str, widths))
    if len(widths) == 3:
        inputs, hidden, outputs = widths
        if hidden > max(inputs, outputs):
            need = "lam = 0, since a net wider than both its ends cannot be lambda-balanced with lam != 0"
        elif lam[0] > 0:
            need = f"lam <= 0, since lam > 0 needs hidden width {hidden} <= output width {outputs}"
        else:
            need = f"lam >= 0, since lam < 0 needs hidden width {hidden} <= input width {inputs}"
        return f"Argument `lam` must have {need}, but lam = {lam[0]:g} for widths {shown}."
    terms = " + ".join(f"lam_{layer}" for layer in range(left, right + 1))
    reasons = []
    if first is not None:
        reasons.append(
            f"hidden layer {first} (width {widths[first]}) is wider than layer {first - 1} before it "
            f"(width {widths[first - 1]})"
        )
    if last is not None:
        reasons.append(
            f"hidden layer {last} (width {widths[last]}) is wider than layer {last + 1} after it "
            f"(width {widths[last + 1]})"
        )
    return (
        f"Argument `lam` must have {terms} {relation}, since {' and '.join(reasons)}, "
        f"but the sum is {total:g} for widths {shown}."
    )
