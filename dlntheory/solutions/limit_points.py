r"""Where the two-layer flow on whitened data ends: at the best fit, or at a saddle. Not jit-compatible."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ..display.text import card, format_number, key_values
from .riccati_frame import eigensystem
from .scaled_range import numerical_null_space

#: An entry of $P_+^\top Q_0$ counts as zero below this times that of $|P_+|^\top |Q_0|$: it is rounding then.
TOLERANCE = 32 * float(np.finfo(float).eps)
EPSILON = float(np.finfo(float).eps)


@dataclasses.dataclass(frozen=True, eq=False)
class LimitPoint:
    r"""The limit $t \to \infty$ and whether it is the best fit. Everything in the units of `WhitenedProblem`.

    Attributes:
        gram: (d + o, d + o) the limit of $M$.
        lost: singular values of the target that are never learned although the width allows it.
        smallest: the singular value of $P_+^\top Q_0$, its rows divided by those of $|P_+|^\top |Q_0|$, that decided: 0
            up to rounding at a saddle. $P_+$ holds the eigenvectors of $F$ with positive eigenvalues that the width can
            carry.
        determinants: signs of $\det W(0)$ and $\det S$ where they decide (square, λ = 0), else `None`.
        escape: clock at which rounding, grown as $e^{f t}$, makes any integration learn a mode that the exact solution
            never learns; infinite where nothing is lost.
    """

    gram: np.ndarray
    lost: tuple[float, ...]
    smallest: float
    determinants: tuple[int, int] | None
    escape: float

    @property
    def is_saddle(self) -> bool:
        """Whether a mode is lost."""
        return bool(self.lost)

    @property
    def message(self) -> str:
        """The verdict in one sentence."""
        if not self.is_saddle:
            return "converges to the best fit that its width allows"
        values = ", ".join(f"{value:.4g}" for value in self.lost[:6]) + (", …" if len(self.lost) > 6 else "")
        why = f"smallest singular value of P_+^T Q0, relative to its rows, = {self.smallest:.1e}"
        if self.determinants is not None and self.determinants[0] * self.determinants[1] < 0:
            why += f"; det W(0) and det S have opposite signs, {self.determinants[0]:+d} and {self.determinants[1]:+d}"
        return f"converges to a saddle: singular values {values} of the target are never learned ({why})"

    def __repr__(self) -> str:
        return f"LimitPoint({self.message})"

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card("Where the solution ends", facts=self._facts())

    def _facts(self) -> list[tuple[str, Any]]:
        rows = [
            ("verdict", self.message),
            ("smallest of P_+^T Q0", f"{self.smallest:.2e} of its rows (zero below {TOLERANCE:.0e})"),
        ]
        if self.is_saddle:
            rows.append(
                ("integration leaves it", f"at about clock {format_number(self.escape)}, by rounding")
            )
        return rows


def limit_point(target: np.ndarray, stacked: np.ndarray, lam: float, decay: float = 0.0) -> LimitPoint:
    r"""The limit of $M(t)$, from the subspace that $e^{Ft}$ turns the columns of $Q_0$ into.

    Eigenspaces of $F$ are visited from the largest eigenvalue down; each takes the directions in which the columns
    not yet used have a component. If $P_+^\top Q_0$ has full row rank, $M \to 2F_+$ and $W \to S$; with fewer columns
    than positive eigenvalues the same on the largest ones: the best fit of that rank.

    Args:
        target: (o, d), $S$.
        stacked: (d + o, h), $Q_0 = [W_1^\top; W_2]$.
        lam: λ.
        decay: weight decay.

    References:
        [braun2022exact] for the limit at full rank; the determinant criterion was derived here.
    """
    values, vectors = (np.asarray(part) for part in eigensystem(target, lam, decay))
    singular = np.linalg.svd(target, compute_uv=False)
    outputs, inputs = target.shape
    size, scale = float(np.linalg.norm(stacked)), float(np.max(np.abs(values)))
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 8 * EPSILON * scale]
    free = np.eye(stacked.shape[1])
    gram = np.zeros((len(values), len(values)))
    lost: list[float] = []
    rates: list[float] = []
    smallest = math.inf
    room = stacked.shape[1]
    for group in _groups(values[order]):
        members = order[group]
        expected = min(len(members), room)
        # Row by row in units of its rounding: a component is small, and no saddle, if it is above that.
        units = rounding(vectors[:, members], stacked)
        left, free_here, seen = numerical_null_space(
            (vectors[:, members].T @ stacked @ free) / units[:, None], math.sqrt(len(members))
        )
        if expected:
            relative = seen[expected - 1] * TOLERANCE if len(seen) >= expected else 0.0
            smallest = min(smallest, float(relative))
        basis = vectors[:, members] @ np.linalg.qr(units[:, None] * left)[0]
        gram += 2.0 * float(np.mean(values[members])) * basis @ basis.T
        missing = expected - left.shape[1]
        # Directions of an output or input that S does not use carry no part of the product.
        used = [float(singular[index]) for index in members if index < len(singular)]
        lost += used[: max(missing, 0)]
        rates += [float(np.max(values[members]))] * min(max(missing, 0), len(used))
        room -= expected
        free = free @ free_here
    escape = math.log(1.0 / EPSILON) / max(rates) if rates else math.inf
    determinants = None
    if outputs == inputs and abs(lam) <= 1e-12 * size**2:
        start = stacked[inputs:] @ stacked[:inputs].T
        determinants = (_sign(start), _sign(target))
    return LimitPoint(
        gram=gram,
        lost=tuple(lost),
        smallest=0.0 if not math.isfinite(smallest) and not size else float(smallest),
        determinants=determinants,
        escape=escape,
    )


def rounding(vectors: np.ndarray, stacked: np.ndarray) -> np.ndarray:
    r"""(k,) what counts as zero in the rows of $P^\top Q_0$: a small multiple of the rounding of each."""
    sizes = np.max(np.abs(vectors).T @ np.abs(stacked), axis=1, initial=0.0)
    return TOLERANCE * np.where(sizes > 0, sizes, 1.0)


def _groups(values: np.ndarray) -> list[np.ndarray]:
    """Places of equal values in a descending list."""
    if not len(values):
        return []
    cuts = np.flatnonzero(values[:-1] - values[1:] > 1e-12 * values[0]) + 1
    return np.split(np.arange(len(values)), cuts)


def _sign(matrix: np.ndarray) -> int:
    """Sign of the determinant; 0 for a singular matrix."""
    singular = np.linalg.svd(matrix, compute_uv=False)
    if singular[-1] <= 10 * len(matrix) * EPSILON * singular[0]:
        return 0
    return int(np.linalg.slogdet(matrix)[0])
