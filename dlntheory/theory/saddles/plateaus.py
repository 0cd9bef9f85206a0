r"""Plateaus of a run: where the gradient is small on the way, and which rank the map has there."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..._checks import real_number
from ...display.displayed import Displayed
from .path_integration import PathRun, largest_jump

CONJECTURE = "saddle-to-saddle path (conjecture, not a theorem)"
#: A plateau whose loss is within this fraction of the total drop from the final loss is the end of the run.
SAME_AS_END = 1e-9
SAME_PLATEAU = 1e-6
RANK_THRESHOLD = 0.05
#: Prominence of the highest peak in some thousand values of Gaussian noise, in standard deviations.
NOISE_PEAKS = 8.0


@dataclasses.dataclass(frozen=True)
class Plateau:
    r"""One visit near a critical point.

    Attributes:
        index: row of the run.
        t: time of the smallest gradient.
        loss: the loss there.
        gradient_norm: $\|\nabla_\theta C\|$ there.
        rank: singular values of $z$ above 5 % of $\|z_{end}\|_2$.
    """

    index: int
    t: float
    loss: float
    gradient_norm: float
    rank: int


@dataclasses.dataclass(frozen=True)
class Plateaus(Displayed):
    """The plateaus of a run in order of time. That they are saddles of rank 0, 1, 2, … is a conjecture.

    Attributes:
        found: one `Plateau` each.
    """

    found: tuple[Plateau, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        """The rank at each plateau."""
        return tuple(plateau.rank for plateau in self.found)

    @property
    def losses(self) -> np.ndarray:
        """The loss at each plateau."""
        return np.array([plateau.loss for plateau in self.found])

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self):
        return iter(self.found)

    def __getitem__(self, index: int) -> Plateau:
        return self.found[index]

    def _title(self) -> str:
        return f"{len(self)} plateau{'' if len(self) == 1 else 's'}"

    def _tables(self) -> list[tuple[Any, ...]]:
        return [self._table()] if self.found else []

    def _notes(self) -> list[str]:
        return [CONJECTURE]

    def __repr__(self) -> str:
        ranks = ", ".join(map(str, self.ranks))
        return f"Plateaus({len(self)} found{f', of ranks {ranks}' if ranks else ''})"

    def _table(self) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
        rows = [(one.rank, one.t, one.loss, one.gradient_norm) for one in self.found]
        return rows, ("rank", "t", "loss", "|gradient|")


def plateaus(run: PathRun, prominence: float = 0.3) -> Plateaus:
    r"""Plateaus as minima of $\log_{10}\|\nabla_\theta C\|$ with a prominence of 0.3 decades.

    Noise of the gradient is measured by its second differences and, where its peaks would count as plateaus, averaged
    away over neighbouring times. The start counts where the gradient first grows. Minima at the level of the final
    loss are rounding noise and dropped, and what the gradient does there is no measure of noise on the way; neighbours
    of equal loss are one plateau, at its deepest point.

    Args:
        run: from `follow_path`.
        prominence: in decades. At one decade the interior plateaus of two layers are missed for $\alpha \ge 10^{-4}$.

    Raises:
        ValueError: a prominence that is not positive, or a grid too coarse to follow the jumps (one jump of more than
            half of the total drop between two save times): take `ts="steps"` or more save times.

    Validity:
        A detector with thresholds, checked from $\alpha = 10^{-1}$ to $10^{-5}$ for two and three layers. That the
        path visits saddles of rank 0, 1, 2, … is a conjecture of Jacot et al. 2021, for $\alpha \to 0$.
    """
    from scipy.signal import find_peaks

    prominence = real_number(prominence, "prominence", above=0)
    loss, norms = run.loss, run.gradient_norm
    drop = float(loss[0] - loss[-1])
    if drop <= 0:
        return Plateaus(())
    if len(loss) < 10 or largest_jump(run) > 0.5:
        raise ValueError(
            f"Argument `run` must be recorded closely enough to follow its jumps, but between two of its {len(loss)} "
            'times the loss falls by more than half of the total: take `ts="steps"` or more save times.'
        )
    depth = -np.log10(np.maximum(norms, 1e-300))
    # A run may stay at its end for most of its times: the gradient there is rounding, or a limit of the step size.
    is_on_the_way = np.abs(loss - loss[-1]) > SAME_AS_END * drop
    arrival = int(np.flatnonzero(is_on_the_way)[-1]) + 1
    depth[:arrival] = _smoothed(depth[:arrival], prominence)
    padded = np.concatenate([[depth.min()], depth, [depth.min()]])
    minima = find_peaks(padded, prominence=prominence)[0] - 1
    minima = [int(i) for i in minima if is_on_the_way[i]]
    merged: list[int] = []
    for index in minima:
        if merged and abs(loss[merged[-1]] - loss[index]) <= SAME_PLATEAU * drop:
            merged[-1] = max(merged[-1], index, key=lambda i: depth[i])
        else:
            merged.append(index)
    scale = float(np.linalg.norm(run.z[-1], 2))
    return Plateaus(tuple(_plateau(run, index, scale) for index in merged))


def _smoothed(values: np.ndarray, prominence: float) -> np.ndarray:
    """A moving average just wide enough that noise has no peaks of the prominence; clean curves stay as they are."""
    if len(values) < 3:
        return values
    # Half of the second differences of a smooth curve are small, even where it jumps.
    noise = float(np.median(np.abs(np.diff(values, 2)))) / (0.6745 * np.sqrt(6.0))
    if NOISE_PEAKS * noise <= prominence:
        return values
    half = int(np.ceil(((NOISE_PEAKS * noise / prominence) ** 2 - 1.0) / 2.0))
    passed = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    first, last = np.maximum(place - half, 0), np.minimum(place + half + 1, len(values))
    return (passed[last] - passed[first]) / (last - first)


def _plateau(run: Any, index: int, scale: float) -> Plateau:
    s = np.linalg.svd(run.z[index], compute_uv=False)
    return Plateau(
        index,
        float(run.ts[index]),
        float(run.loss[index]),
        float(run.gradient_norm[index]),
        int(np.sum(s > RANK_THRESHOLD * scale)),
    )
