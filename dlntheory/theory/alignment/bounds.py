r"""Conservation and its two consequences along a run: the norm gap is bounded, neighbouring layers must align."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...display.displayed import Displayed
from ...display.text import format_number
from .log_time_flow import AlignmentRun

#: Relative slack for rounding and integration error, in units of $(1 + \|W\|^2)/\|W\|^2$.
SLACK = 1e-9


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AlignmentBounds(Displayed):
    r"""The bounds at each time, with $A_k = W_k W_k^\top - W_{k+1}^\top W_{k+1}$ constant along the flow.

    $$\|W_k\|_F^2 - s_k^2 \le D_k = \|W_k(0)\|_F^2 - \|W_L(0)\|_F^2 + \sum_{j=k}^{L-1}\|A_j(0)\|_2$$
    $$\langle v_{k+1}, u_k\rangle^2 \ge 1 - \frac{D_k + \|W_{k+1}(0)\|_2^2 + \|W_k(0)\|_2^2}{s_{k+1}^2}$$

    Attributes:
        conservation_error: $\max_k \max|A_k(t) - A_k(0)|$ (time,).
        published: $D = \max_k \|W_k(0)\|_F^2 - \|W_L(0)\|_F^2 + \sum_{k<L}\|A_k(0)\|_2$.
        norm_gap: $D_k$ (L,), the same proof for each layer; $D_k \le D$.
        norm_gap_slack: $D_k - (\|W_k\|_F^2 - s_k^2)$ (time, L); negative is a violation.
        alignment: lower bounds of $\langle v_{k+1}, u_k\rangle^2$ (time, L-1) with $D_k$; negative while vacuous.
        alignment_published: the same with $D$.
        alignment_slack: $\langle v_{k+1}, u_k\rangle^2$ less its bound (time, L-1).
        allowance: $10^{-9}(1 + \|W\|^2)/\|W\|^2$ (time,), what rounding and integration may take.
    """

    conservation_error: np.ndarray
    published: float
    norm_gap: np.ndarray
    norm_gap_slack: np.ndarray
    alignment: np.ndarray
    alignment_published: np.ndarray
    alignment_slack: np.ndarray
    allowance: np.ndarray

    @property
    def norm_gap_holds(self) -> bool:
        """Whether the norm gap stays below its bound in every layer at every time."""
        return bool(np.all(self.norm_gap_slack >= -self.allowance[:, None]))

    @property
    def alignment_holds(self) -> bool:
        """Whether the alignment stays above its bound between all layers at every time."""
        return bool(np.all(self.alignment_slack >= -self.allowance[:, None]))

    def __repr__(self) -> str:
        return (
            f"AlignmentBounds(L = {len(self.norm_gap)}, norm gap {'holds' if self.norm_gap_holds else 'VIOLATED'}, "
            f"alignment {'holds' if self.alignment_holds else 'VIOLATED'})"
        )

    def _title(self) -> str:
        return "bounds of alignment"

    def _facts(self) -> dict[str, str]:
        return {
            "norm gap": "holds" if self.norm_gap_holds else "VIOLATED",
            "alignment": "holds" if self.alignment_holds else "VIOLATED",
            "published D": format_number(self.published),
        }

    def _tables(self) -> list[tuple[Any, ...]]:
        rows: list[tuple[str | None, ...]] = []
        for k, bound in enumerate(self.norm_gap):
            last = k == len(self.norm_gap) - 1
            rows.append(
                (
                    f"W_{k + 1}",
                    format_number(float(bound)),
                    format_number(float(np.max(bound - self.norm_gap_slack[:, k]))),
                    None if last else format_number(float(self.alignment[-1, k]), 6),
                    None if last else format_number(float(np.min(self.alignment_slack[:, k])), 2),
                )
            )
        headers = ("layer", "bound D_k", "largest gap", "alignment bound at the end", "least slack")
        return [(rows, headers, "lrrrr")]


def alignment_bounds(run: AlignmentRun) -> AlignmentBounds:
    """Both bounds along a run, per layer.

    Validity:
        Theorems for gradient flow of any differentiable loss and any data, from any start (one output).

    References:
        [ji2019gradient] (the bounds with $D$); the per-layer constants follow from the same proof.
    """
    start = [w[0] for w in run.weights]
    unbalanced = [float(np.linalg.norm(a, 2)) for a in _layer_differences(start)]
    squares = np.array([np.sum(w**2) for w in start])
    tops = np.array([np.linalg.norm(w, 2) ** 2 for w in start])
    depth = run.depth
    remaining = np.array([sum(unbalanced[k:]) for k in range(depth)])
    per_layer = squares - squares[-1] + remaining
    published = float(np.max(squares) - squares[-1] + sum(unbalanced))
    seen = run.observables
    total = np.sum(seen.norms**2, axis=1)
    cosine_squared = (1.0 - seen.misalignment) ** 2
    ends = tops[1:] + tops[:-1]
    alignment = 1.0 - (per_layer[:-1] + ends)[None, :] / seen.top[:, 1:] ** 2
    return AlignmentBounds(
        conservation_error=_conservation_error(run.weights),
        published=published,
        norm_gap=per_layer,
        norm_gap_slack=per_layer[None, :] - seen.gap,
        alignment=alignment,
        alignment_published=1.0 - (published + ends)[None, :] / seen.top[:, 1:] ** 2,
        alignment_slack=cosine_squared - alignment,
        allowance=SLACK * (1.0 + total) / total,
    )


def _layer_differences(layers: Sequence[np.ndarray]) -> list[np.ndarray]:
    """$A_k$ of matrices with leading axes."""
    return [
        below @ np.swapaxes(below, -1, -2) - np.swapaxes(above, -1, -2) @ above
        for below, above in pairwise(layers)
    ]


def _conservation_error(layers: Sequence[np.ndarray]) -> np.ndarray:
    worst = np.zeros(len(layers[0]))
    for difference in _layer_differences(layers):
        worst = np.maximum(worst, np.max(np.abs(difference - difference[0]), axis=(1, 2)))
    return worst
