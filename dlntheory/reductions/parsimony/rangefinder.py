"""Range and row space of a low-rank target from a few products with it: no singular value decomposition of its size."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..._errors import NotApplicableError

#: Singular values below this fraction of the largest one are rounding.
NEGLIGIBLE = 1e-12
#: Between `NEGLIGIBLE` and this fraction a singular value is neither clearly there nor clearly rounding.
DOUBTFUL = 1e-8
FIRST_PROBES = 16


@dataclasses.dataclass(frozen=True, eq=False)
class LowRankFactor:
    r"""$\Phi \approx A B^\top$ with orthonormal bases of range and row space.

    Attributes:
        left: orthonormal basis of the range (d_L, r).
        right: orthonormal basis of the row space (d_0, r).
        singular_values: the r singular values kept, decreasing.
        discarded: $\|\Phi - A B^\top\|_F$, zero up to rounding unless a rank was prescribed.
    """

    left: np.ndarray
    right: np.ndarray
    singular_values: np.ndarray
    discarded: float

    @property
    def rank(self) -> int:
        """The number of singular values kept."""
        return len(self.singular_values)


def low_rank_factor(target: np.ndarray, rank: int | None = None, *, seed: int = 0) -> LowRankFactor:
    r"""Bases of range and row space of $\Phi$ by a randomised range finder, at a cost of $O(d^2 r)$.

    Gaussian probes $\Omega$ (16 columns, doubled until the range is exhausted), QR of $\Phi\Omega$, one power step,
    SVD of a matrix with as many rows as there are probes.

    Args:
        target: $\Phi$ (d_L, d_0).
        rank: keep so many singular values; by default all that are not rounding.
        seed: of the probes; the subspaces do not depend on it.

    Raises:
        ValueError: the spectrum has no gap, so that the rank is not determined; or `rank` is out of range.
        The message lists the singular values.

    Example:
        >>> factor = low_rank_factor(np.outer([1.0, 2.0, 0.0], [3.0, 0.0, 0.0, 4.0]))
        >>> factor.rank, factor.singular_values.round(6).tolist()
        (1, [11.18034])
    """
    smallest = min(target.shape)
    if rank is not None and (not isinstance(rank, (int, np.integer)) or not 1 <= rank <= smallest):
        raise ValueError(
            f"Argument `rank` must lie between 1 and {smallest} for a target of shape {target.shape}, but is {rank!r}."
        )
    norm = float(np.linalg.norm(target))
    if norm == 0.0:
        raise NotApplicableError(
            "Argument `target` must not vanish, but all its entries are 0: there is nothing to learn."
        )
    rng = np.random.default_rng(seed)
    probes = min(smallest, max(FIRST_PROBES, 0 if rank is None else rank + 8))
    while True:
        left, singular, right = _sketch(target, rng.standard_normal((target.shape[1], probes)))
        exhausted = probes == smallest or singular[-1] < NEGLIGIBLE * singular[0]
        if exhausted or (rank is not None and probes >= rank + 8):
            break
        probes = min(smallest, 2 * probes)
    if rank is None:
        kept = int(np.sum(singular > NEGLIGIBLE * singular[0]))
        if np.any(singular[:kept] < DOUBTFUL * singular[0]):
            raise NotApplicableError(_no_gap(singular))
    else:
        kept = int(rank)
        if singular[kept - 1] <= NEGLIGIBLE * singular[0]:
            actual = int(np.sum(singular > NEGLIGIBLE * singular[0]))
            raise ValueError(
                f"Argument `rank` must be at most the rank {actual} of the target, but is {rank}; singular values "
                f"{_listed(singular)}."
            )
    left, singular, right = left[:, :kept], singular[:kept], right[:, :kept]
    rest = target - (left * singular) @ right.T
    discarded = float(np.linalg.norm(rest))
    return LowRankFactor(left, right, singular, discarded)


def _sketch(target: np.ndarray, probes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leading singular triples from the range of the probes; one power step sharpens a slowly decaying spectrum."""
    basis, _ = np.linalg.qr(target @ probes)
    basis, _ = np.linalg.qr(target @ np.linalg.qr(target.T @ basis)[0])
    u, singular, vt = np.linalg.svd(basis.T @ target, full_matrices=False)
    return basis @ u, singular, vt.T


def _no_gap(singular: np.ndarray) -> str:
    return (
        "Argument `target` must have a gap in its spectrum that determines its rank, but its singular values fall "
        f"gradually: {_listed(singular)}. Give `rank=`; the part of the target that it discards is reported and is "
        "the order of the error of the whole trajectory."
    )


def _listed(singular: np.ndarray) -> str:
    shown = [f"{value:.3g}" for value in singular[:24]]
    return ", ".join(shown) + (f", … ({len(singular)} in all)" if len(singular) > 24 else "")
