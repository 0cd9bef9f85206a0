r"""Non-negative matrix factorisation, trained by a mirror flow whose metric is diag(θ)."""

from __future__ import annotations

from .._checks import integer
from ..architecture import Architecture
from .linear import MatrixProduct
from .registry import dashed, family


@family("nmf", "rows, rank, columns", example=(3, 2, 4), laws=2, metric={"U": "theta", "V": "theta"})
def nonnegative_factorisation(rows: int, rank: int, columns: int) -> Architecture:
    r"""Non-negative matrix factorisation $z = U V$, to be used with the metric `{"U": "theta", "V": "theta"}`.

    The entropic mirror flow $U' = -U \odot \nabla_U$, $V' = -V \odot \nabla_V$ keeps all weights positive.

    Laws of that flow: $\sum_i U_{ik} - \sum_j V_{kj}$ for each k, N = h; for widths (1, h, 1) with $h \ge 2$ there are
    $2h - 1$ laws. With momentum and its own metric, `"mirror"`, there are none; with `"theta"` each of these sums
    s obeys $s'' + \tau s' = 0$, which makes 2h laws. Without a metric this is a linear network of two layers.

    Args:
        rows: n.
        rank: h.
        columns: m.

    Returns:
        An `Architecture` with factors `"U"` (n, h) and `"V"` (h, m), and the chain V, U declared.

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [lee1999learning]; laws: [marcotte2024keep].

    Example:
        >>> nonnegative_factorisation(5, 2, 4)
        Architecture(non-negative 5-2-4: U[5, 2], V[2, 4] -> z[5, 4], 18 parameters)
    """
    n, h, m = integer(rows, "rows"), integer(rank, "rank"), integer(columns, "columns")
    names = ("V", "U")
    shapes = {"U": (n, h), "V": (h, m)}
    name = f"non-negative {dashed((n, h, m))}"
    return Architecture(MatrixProduct(names), shapes, name=name, chain=names, try_out=False)
