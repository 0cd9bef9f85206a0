"""Products with causal (lower triangular) and symmetric matrices that read only the half that matters.

One row multiplies about twenty stored matrices by one vector each: all its time is reading memory, so
half the bytes is half the time. The matrices are read in horizontal panels, from the first column to the diagonal.
"""

from __future__ import annotations

import numpy as np

#: Below this size a product reads the whole square: calls cost more than bytes.
SMALL = 192
#: Entries of one panel: 512 KiB, so that a symmetric product, which uses each panel twice, finds it in the cache.
PANEL_ENTRIES = 1 << 16


def row_times(x: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """`x @ lower[:n, :n]` for a vector of length n and a lower triangular matrix of at least that size."""
    n = len(x)
    if n <= SMALL:
        return x @ lower[:n, :n]
    out = np.zeros(n)
    for i, j in _panels(n):
        out[:j] += x[i:j] @ lower[i:j, :j]
    return out


def times(lower: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`lower[:n, :n] @ x`, likewise."""
    n = len(x)
    if n <= SMALL:
        return lower[:n, :n] @ x
    out = np.empty(n)
    for i, j in _panels(n):
        np.matmul(lower[i:j, :j], x[:j], out=out[i:j])
    return out


def symmetric_times(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`matrix[:n, :n] @ x` for a symmetric matrix, of which the upper half is not read beyond the first panels."""
    n = len(x)
    if n <= SMALL:
        return matrix[:n, :n] @ x
    out = np.zeros(n)
    for i, j in _panels(n):
        out[i:j] += matrix[i:j, :j] @ x[:j]
        out[:i] += x[i:j] @ matrix[i:j, :i]
    return out


def put_row(matrix: np.ndarray, t: int, row: np.ndarray) -> None:
    """Write row and column t, up to the diagonal, of a symmetric matrix."""
    matrix[t, : t + 1] = row
    matrix[: t + 1, t] = row


def _panels(n: int) -> list[tuple[int, int]]:
    height = max(32, PANEL_ENTRIES // n)
    return [(i, min(i + height, n)) for i in range(0, n, height)]
