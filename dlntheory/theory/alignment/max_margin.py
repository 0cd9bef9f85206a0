r"""The maximum-margin direction of separable data, with a certificate that does not trust the solver."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..._checks import real_array
from ..._errors import InfeasibleError
from ...data.hull import nearest_in_hull
from ...display.displayed import Displayed
from ...display.text import format_number

#: Largest relative gap between the primal and the dual bound of the margin.
LARGEST_GAP = 1e-9
#: What rounding may take of a margin, relative to the largest row, and of its certificate at most.
ROUNDING, LARGEST_ROUNDING = 64 * np.finfo(float).eps, 0.01
#: A sample whose margin exceeds the least by less than this fraction lies on the margin.
ON_MARGIN = 1e-8


class InseparableError(InfeasibleError):
    r"""The data are not linearly separable through the origin.

    Attributes:
        weights: $a \ge 0$ (n,) with $\sum_i a_i = 1$ and $\sum_i a_i y_i x_i \approx 0$. For every direction $u$ then
            $\sum_i a_i \langle y_i x_i, u\rangle \approx 0$, so that not all margins can be positive.
        distance: $\|\sum_i a_i y_i x_i\|$ relative to the largest row.
    """

    def __init__(self, message: str, *, weights: np.ndarray, distance: float):
        super().__init__(message)
        self.weights = weights
        self.distance = distance


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MaxMargin(Displayed):
    r"""The maximum-margin direction $\bar u$ of rows $Z_i = y_i x_i$, and what proves it.

    $$\gamma = \max_{\|u\| = 1} \min_i \langle Z_i, u\rangle = \min_{a \ge 0,\, \sum a = 1} \Big\|\sum_i a_i Z_i\Big\|$$

    Any unit vector bounds $\gamma$ from below and any weights bound it from above; `lower` and `upper` are these two
    bounds, recomputed from the rows.

    Attributes:
        direction: $\bar u$ (d,), a unit vector.
        margin: $\gamma$, the lower bound.
        lower: $\min_i \langle Z_i, \bar u\rangle$.
        upper: $\|\sum_i a_i Z_i\|$.
        dual: $a$ (n,), zero off the support.
        slackness: $\max_i a_i(\langle Z_i, \bar u\rangle - \gamma)$, zero at the optimum.
        support: indices of the samples on the margin, the support vectors.
        support_rank: rank of the support vectors.
        condition: largest over smallest non-zero singular value of the support vectors.
        dimension: $d$.
    """

    direction: np.ndarray
    margin: float
    lower: float
    upper: float
    dual: np.ndarray
    slackness: float
    support: np.ndarray
    support_rank: int
    condition: float
    dimension: int

    @property
    def spans(self) -> bool:
        """Whether the support vectors span the space: the hypothesis under which the direction is a theorem."""
        return self.support_rank == self.dimension

    @property
    def least_dual(self) -> float:
        """The smallest dual weight of a support vector; close to zero, the asymptotic regime comes late."""
        return float(np.min(self.dual[self.support]))

    def __repr__(self) -> str:
        return (
            f"MaxMargin(margin {self.margin:.6g}, {len(self.support)} support vectors of rank "
            f"{self.support_rank} in {self.dimension} dimensions)"
        )

    def _title(self) -> str:
        return "largest margin"

    def _facts(self) -> dict[str, Any]:
        """What a display shows: names and values."""
        return {
            "margin": f"{self.margin:.10g}",
            "certified": f"{self.lower:.15g} <= margin <= {self.upper:.15g}",
            "support vectors": f"{len(self.support)}, rank {self.support_rank} of {self.dimension}"
            + ("" if self.spans else " (they do not span the space)"),
            "condition": format_number(self.condition, 3),
            "least dual weight": format_number(self.least_dual, 3),
            "slackness": format_number(self.slackness, 2),
        }


def max_margin(rows: np.ndarray) -> MaxMargin:
    r"""The direction that maximises the least margin of the rows $Z_i = y_i x_i$, with dual weights.

    The point of the convex hull of the rows nearest to the origin is $\gamma\bar u$. Its active set comes from
    non-negative least squares; on it the direction is recomputed as the least-norm solution of $Z_S w = 1$.

    Args:
        rows: $Z$ (n, d), finite.

    Raises:
        InseparableError: the origin lies in the convex hull, up to rounding; the error holds the convex combination.
        RuntimeError: the two bounds of the margin differ by more than 1e-9 of it and by more than rounding explains.

    References:
        [lawson1974solving], chapter 23.

    Example:
        >>> print(max_margin(np.array([[1.0, 1.0], [1.0, -3.0], [4.0, 0.0]])))
        largest margin
        margin             1
        certified          1 <= margin <= 1
        support vectors    2, rank 2 of 2
        condition          2.62
        least dual weight  0.25
        slackness          0
    """
    rows = real_array(rows, "rows", ndim=2)
    # A power of two, so that rows of any size keep their digits and no square overflows.
    unit = float(np.ldexp(1.0, int(np.frexp(np.max(np.abs(rows)))[1]) - 1))
    if not np.any(rows):
        return _refuse(np.full(len(rows), 1.0 / len(rows)), 0.0)
    rows = rows / unit
    try:
        weights = nearest_in_hull(rows)
    except RuntimeError as stuck:
        raise RuntimeError(
            f"The maximum margin of {len(rows)} rows was not found: the active-set method did not come to an end. "
            "Drop samples that are almost copies of others."
        ) from stuck
    direction = _polished(rows, weights)
    margins = rows @ direction
    lower, upper = float(np.min(margins)), float(np.linalg.norm(weights @ rows))
    size = float(np.max(np.linalg.norm(rows, axis=1)))
    if not lower > 4 * np.finfo(float).eps * size:
        return _refuse(weights, upper / size)
    if not upper - lower <= max(LARGEST_GAP * upper, min(ROUNDING * size, LARGEST_ROUNDING * upper)):
        raise RuntimeError(
            f"The data are separable, but their maximum margin was not certified: it lies between {lower / size:.6e} "
            f"and {upper / size:.6e} of the largest row, and the two must agree to {LARGEST_GAP:g}. Rescale single "
            "inputs, or drop samples that are almost copies of others."
        )
    support = np.flatnonzero((margins - lower <= ON_MARGIN * lower) | (weights > 0))
    singular = np.linalg.svd(rows[support], compute_uv=False)
    kept = singular[singular > singular[0] * max(rows[support].shape) * np.finfo(float).eps]
    return MaxMargin(
        direction=direction,
        margin=unit * lower,
        lower=unit * lower,
        upper=unit * upper,
        dual=weights,
        slackness=unit * float(np.max(weights * np.abs(margins - lower))),
        support=support,
        support_rank=len(kept),
        condition=float(kept[0] / kept[-1]),
        dimension=rows.shape[1],
    )


def _polished(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The direction from the equations of the active set, where its least margin is larger than that of the hull's."""
    active = np.flatnonzero(weights > 0)
    solution = np.linalg.lstsq(rows[active], np.ones(len(active)), rcond=None)[0]
    found = [vector for vector in (weights @ rows, solution) if np.any(vector)] or [
        rows[np.argmax(np.linalg.norm(rows, axis=1))]
    ]
    return max((vector / np.linalg.norm(vector) for vector in found), key=lambda unit: np.min(rows @ unit))


def _refuse(weights: np.ndarray, distance: float) -> MaxMargin:
    used = np.flatnonzero(weights > 0)
    shown = ", ".join(f"{weights[i]:.3g} of sample {i}" for i in used[:4]) + (", …" if len(used) > 4 else "")
    raise InseparableError(
        f"The data must be linearly separable through the origin, but a convex combination of {len(used)} rows y_i x_i "
        f"({shown}) has norm {distance:.1e} relative to the largest row: no direction has all margins above that, and "
        "none was found with all of them positive beyond rounding. The combination is in `.weights`. For a separator "
        "with a bias, append a constant column to the inputs.",
        weights=weights,
        distance=distance,
    )
