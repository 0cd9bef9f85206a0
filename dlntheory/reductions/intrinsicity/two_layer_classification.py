r"""Two layers $Z = U V^\top$: on which level sets of $S = U^\top U - V^\top V$ the metric is a function of $Z$."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sympy

from ..._checks import integer, real_number
from ...display.text import card, key_values, latex_text, text_table
from ...exact.linear_algebra import DEFAULT_PRIME, modular_nullspace, modular_rank

_MIXED = r"(\kappa^2 I + ZZ^\top)^{1/2} G + G (\kappa^2 I + Z^\top Z)^{1/2}"
_METRICS = {
    "a": r"K[G] = (ZZ^\top)^{1/2} G + G (Z^\top Z)^{1/2}",
    "b": rf"K[G] = {_MIXED},\; \kappa = \lambda/2, \text{{ on the range of }} Z \text{{ where }} r < n",
    "b'": rf"K[G] = {_MIXED},\; \kappa = \lambda/2, \text{{ on the range of }} Z^\top \text{{ where }} r < m",
    "c": rf"K[G] = {_MIXED},\; \kappa = (\lambda + \mu)/2",
    "d": r"K = \sqrt{2\,\mathrm{tr}\,S^2 - (\mathrm{tr}\,S)^2 + 4 z^2}",
}


@dataclasses.dataclass(frozen=True)
class TwoLayerLevelSet:
    r"""What the classification says about one level set $S = U^\top U - V^\top V$, with U (n, r) and V (m, r).

    Attributes:
        n: rows of U, the outputs.
        m: rows of V, the inputs.
        r: the hidden width.
        signature: how many eigenvalues of S are positive, negative, zero.
        is_empty: whether no pair (U, V) has this S.
        is_intrinsic: whether the kernel criterion holds at generic points of the level set.
        case: `"a"`, `"b"`, `"b'"`, `"c"` or `"d"` of the theorem, or `""`.
        reason: the case in words.
    """

    n: int
    m: int
    r: int
    signature: tuple[int, int, int]
    is_empty: bool
    is_intrinsic: bool
    case: str
    reason: str

    @property
    def metric(self) -> str:
        r"""$K$ in LaTeX with $\dot Z = -K[\nabla f(Z)]$, or an empty text where there is none."""
        return _METRICS.get(self.case, "")

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.metric or latex_text(self.reason)}$"

    def __repr__(self) -> str:
        return f"TwoLayerLevelSet(U {self.n}×{self.r}, V {self.m}×{self.r}: {self.reason})"

    def __str__(self) -> str:
        return key_values([("level set", self._spaces()), *self._facts()])

    def _repr_html_(self) -> str:
        return card(f"Level set of {self._spaces()}", formulas=self.metric, facts=self._facts())

    def _spaces(self) -> str:
        return f"U ({self.n}, {self.r}) and V ({self.m}, {self.r})"

    def _facts(self) -> list[tuple[str, str]]:
        positive, negative, zero = self.signature
        intrinsic = "empty" if self.is_empty else "yes" if self.is_intrinsic else "no"
        return [
            ("eigenvalues of S", f"{positive} positive, {negative} negative, {zero} zero"),
            ("intrinsic", intrinsic),
            ("case", self.case or "none of the theorem"),
            ("reason", self.reason),
        ]


def two_layer_level_set(
    n: int,
    m: int,
    r: int,
    eigenvalues: Sequence[Any],
    *,
    tolerance: float = 1e-10,
    scale: float | None = None,
) -> TwoLayerLevelSet:
    r"""Whether $\dot Z = -K(Z)[\nabla f(Z)]$ on the level set $U^\top U - V^\top V = S$ of $Z = U V^\top$.

    With p positive, q negative and k zero eigenvalues, and $k_e = \min(k, n-p, m-q)$ neurons of eigenvalue 0 alive,
    the kernel criterion holds at generic points exactly if (a) $S = 0$; (b) $k_e = q = 0$, the positive eigenvalues
    are equal, and $p = n$ or $p \le m$; (b') the mirror image; (c) $k_e = 0$, $p = n$, $q = m$, and both the
    positive and the negative eigenvalues are equal; or (d) $n = m = 1$.

    Args:
        n: rows of U, the outputs.
        m: rows of V, the inputs.
        r: the hidden width.
        eigenvalues: the r eigenvalues of S in any order: exact numbers (integers, fractions, SymPy), which are compared
            as they are, or floats, which carry rounding where they were measured.
        tolerance: floats count as zero, or as equal, within this times `scale`.
        scale: the size of $|U|^2$ and $|V|^2$, by default 1 or the largest eigenvalue; give it for small weights.

    Returns:
        A `TwoLayerLevelSet`; `is_empty` if $p > n$ or $q > m$.

    Raises:
        ValueError: a size below 1, or another number of eigenvalues than r.

    Validity:
        Derived here and checked exactly for all signatures with n, m at most 4 (`two_layer_table`); not quoted from
        a paper. Case (c) needs $r \ge n + m$, beyond the necessity theorem published for $r \le \max(n, m)$.

    Example:
        >>> two_layer_level_set(3, 2, 2, [0.7, 0.7]).is_intrinsic
        True
        >>> two_layer_level_set(3, 1, 2, [0.7, 0.7]).reason
        'm < p < n: the positive directions that Z does not see are not determined'
    """
    n, m, r = (integer(size, name) for size, name in ((n, "n"), (m, "m"), (r, "r")))
    tolerance = real_number(tolerance, "tolerance", minimum=0)
    given = list(eigenvalues) if isinstance(eigenvalues, (Sequence, np.ndarray)) else []
    if len(given) != r:
        raise ValueError(
            f"Argument `eigenvalues` must hold {r} finite numbers, one for each hidden neuron, but is {eigenvalues!r}."
        )
    is_exact = all(_is_exact(value) for value in given)
    values = given if is_exact else [real_number(value, "eigenvalues") for value in given]
    largest = max(abs(float(value)) for value in values)
    size = max(1.0, largest) if scale is None else real_number(scale, "scale", above=0)
    near = 0 if is_exact else tolerance * size
    positive, negative = [v for v in values if v > near], [v for v in values if v < -near]
    p, q = len(positive), len(negative)
    equal = [not side or bool(max(side) - min(side) <= near) for side in (positive, negative)]
    empty, case, reason = _classified(n, m, (p, q, r - p - q), *equal)
    return TwoLayerLevelSet(n, m, r, (p, q, r - p - q), empty, bool(case), case, reason)


def _is_exact(value: Any) -> bool:
    """An integer, a fraction or a SymPy number, which is compared as it is."""
    if isinstance(value, (bool, np.bool_)):
        return False
    is_symbolic = isinstance(value, sympy.Expr) and bool(value.is_real) and not value.has(sympy.Float)
    return isinstance(value, (numbers.Rational, np.integer)) or is_symbolic


def _classified(
    n: int, m: int, signature: tuple[int, int, int], plus_equal: bool, minus_equal: bool
) -> tuple[bool, str, str]:
    """(empty, case, reason); the case is empty if the criterion fails."""
    p, q, k = signature
    if p > n or q > m:
        side = f"{p} positive eigenvalues > n = {n}" if p > n else f"{q} negative eigenvalues > m = {m}"
        return True, "", f"the level set is empty: {side}"
    alive = min(k, n - p, m - q)
    if n == m == 1:
        return False, "d", "one input and one output: the metric is a number, fixed by z and S"
    if not (p or q):
        return False, "a", "balanced"
    if alive:
        return False, "", f"{alive} of the neurons with eigenvalue 0 can be alive beside others"
    if not (plus_equal and minus_equal):
        return False, "", "eigenvalues of one sign differ"
    if p and q:
        if (p, q) == (n, m):
            return False, "c", "all outputs positive, all inputs negative: mixed lazy and balanced"
        return False, "", "both signs occur, but do not fill inputs and outputs"
    own, other, case = (n, m, "b") if p else (m, n, "b'")
    count, names = (p, ("m", "p", "n")) if p else (q, ("n", "q", "m"))
    if count == own or count <= other:
        return False, case, "relaxed balanced"
    sign, unseen = ("positive", "Z") if p else ("negative", "Z^T")
    reason = f"{' < '.join(names)}: the {sign} directions that {unseen} does not see are not determined"
    return False, "", reason


@dataclasses.dataclass(frozen=True)
class TableRow:
    """One level set of the table: what the theorem says, and what exact arithmetic finds.

    Attributes:
        n: rows of U.
        m: rows of V.
        signature: positive, negative and zero eigenvalues of S.
        is_distinct: whether the eigenvalues were all different; equal within each sign otherwise.
        case: of the theorem, or `""`.
        fibre: dimension of $\\ker \\partial\\varphi \\cap \\ker \\partial h$ at a random point of the level set.
        defect: rank of $\\partial M$ on it; 0 exactly if the kernel criterion holds there.
    """

    n: int
    m: int
    signature: tuple[int, int, int]
    is_distinct: bool
    case: str
    fibre: int
    defect: int

    @property
    def r(self) -> int:
        """The hidden width."""
        return sum(self.signature)

    @property
    def agrees(self) -> bool:
        """Whether theorem and computation agree."""
        return (self.defect == 0) == bool(self.case)


@dataclasses.dataclass(frozen=True, repr=False)
class TwoLayerTable:
    """The classification confronted with exact arithmetic modulo a prime; print it for the table.

    Attributes:
        rows: one for each level set.
        prime: the prime.
        seed: what the points were drawn from.
    """

    rows: tuple[TableRow, ...]
    prime: int
    seed: int

    @property
    def mismatches(self) -> tuple[TableRow, ...]:
        """The rows in which theorem and computation disagree."""
        return tuple(row for row in self.rows if not row.agrees)

    @property
    def intrinsic(self) -> int:
        """In how many rows the kernel criterion was found to hold."""
        return sum(row.defect == 0 for row in self.rows)

    def __repr__(self) -> str:
        return (
            f"TwoLayerTable({len(self.rows)} level sets, {self.intrinsic} intrinsic, "
            f"{len(self.mismatches)} mismatches, prime {self.prime}, seed {self.seed})"
        )

    def __str__(self) -> str:
        return repr(self) + "\n" + text_table(*self._table())

    def _repr_html_(self) -> str:
        facts = [
            ("level sets", f"{len(self.rows)}, {self.intrinsic} intrinsic"),
            ("mismatches", str(len(self.mismatches))),
            ("exact modulo", f"{self.prime}, points drawn from seed {self.seed}"),
        ]
        return card("Two-layer classification against exact arithmetic", facts=facts, tables=[self._table()])

    def _table(self) -> tuple[list[tuple[object, ...]], tuple[str, ...]]:
        cells: list[tuple[object, ...]] = [
            (
                row.n,
                row.m,
                row.r,
                "{} {} {}".format(*row.signature),
                "distinct" if row.is_distinct else "equal",
                row.case or "no",
                row.fibre,
                row.defect,
            )
            for row in self.rows
        ]
        return cells, ("n", "m", "r", "+ - 0", "eigenvalues", "case", "fibre", "rank dM")


def two_layer_table(largest: int = 3, *, seed: int = 0, prime: int = DEFAULT_PRIME) -> TwoLayerTable:
    r"""Check the classification of all level sets with n, m up to `largest` and r up to n + m.

    Every signature that a level set can have, with equal eigenvalues within each sign, and with distinct ones where
    no eigenvalue is zero; the kernel criterion is evaluated exactly at a random point of each level set.

    Args:
        largest: bound on n and m; 3 gives 324 level sets, 4 gives 920.
        seed: determines the points.
        prime: below $2^{31}$.

    Example:
        >>> two_layer_table(2)
        TwoLayerTable(82 level sets, 49 intrinsic, 0 mismatches, prime 2147483647, seed 0)
    """
    if largest < 1:
        raise ValueError(f"Argument `largest` must be at least 1, but is {largest}.")
    rng = np.random.default_rng(seed)
    rows = []
    for n, m, signature, is_distinct in _cases(largest):
        point = level_set_point(n, m, signature, distinct=is_distinct, rng=rng, prime=prime)
        fibre, defect = _kernel_test(*point, prime)
        p, q, _ = signature
        equal = (not is_distinct or p < 2, not is_distinct or q < 2)
        _, case, _ = _classified(n, m, signature, *equal)
        rows.append(TableRow(n, m, signature, is_distinct, case, fibre, defect))
    return TwoLayerTable(tuple(rows), prime, seed)


def _cases(largest: int) -> Iterator[tuple[int, int, tuple[int, int, int], bool]]:
    for n in range(1, largest + 1):
        for m in range(1, largest + 1):
            for p in range(n + 1):
                for q in range(m + 1):
                    for k in range(n + m - p - q + 1):
                        if p + q + k:
                            yield n, m, (p, q, k), False
                    if p + q:
                        yield n, m, (p, q, 0), True


def level_set_point(
    n: int,
    m: int,
    signature: tuple[int, int, int],
    *,
    distinct: bool = False,
    rng: np.random.Generator,
    prime: int = DEFAULT_PRIME,
) -> tuple[np.ndarray, np.ndarray]:
    r"""A random point (U, V) modulo a prime with $U^\top U - V^\top V$ diagonal of a given signature.

    The Cayley transform $\Omega = (I - XJ)^{-1}(I + XJ)$ of a random skew X preserves $J = \mathrm{diag}(I_n, -I_m)$,
    so it carries a canonical point to a random one of the same level set. Eigenvalues are squares of random numbers.

    Args:
        n: rows of U.
        m: rows of V.
        signature: positive, negative and zero eigenvalues; at most n positive and m negative ones.
        distinct: eigenvalues of one sign all different, instead of all equal.
        rng: source of the numbers.
        prime: the modulus.

    Returns:
        Residues U of shape (n, r) and V of shape (m, r), r the sum of the signature.
    """
    p, q, k = signature
    if p > n or q > m:
        raise ValueError(
            f"Argument `signature` must have at most {n} positive and {m} negative eigenvalues, but is {signature}."
        )
    size, r = n + m, p + q + k
    start = np.zeros((size, r), dtype=np.int64)
    roots = rng.integers(1, prime, size=(2, r))
    for column in range(p):
        start[column, column] = roots[0, column if distinct else 0]
    for column in range(q):
        start[n + column, p + column] = roots[1, column if distinct else 0]
    for column in range(min(k, n - p, m - q)):
        start[[p + column, n + q + column], p + q + column] = rng.integers(1, prime)
    upper = np.triu(rng.integers(0, prime, size=(size, size)), 1)
    signs = np.concatenate([np.ones(n, dtype=np.int64), -np.ones(m, dtype=np.int64)])
    generator = (upper - upper.T) * signs % prime
    identity = np.eye(size, dtype=np.int64)
    moved = _product(identity + generator, start, prime)
    # (I - XJ) W = (I + XJ) W0: the kernel of [-(I + XJ) W0, I - XJ] in echelon form is [I, W^T].
    kernel = modular_nullspace(np.concatenate([-moved, identity - generator], axis=1), prime)
    point = kernel[:, r:].T
    return point[:n], point[n:]


def _kernel_test(u: np.ndarray, v: np.ndarray, prime: int) -> tuple[int, int]:
    """(dim of the kernel of (dZ, dS), rank of dM on it) at a point of residues, by the formulas of two layers."""
    (n, r), m = u.shape, len(v)
    unit_n, unit_m, unit_r = (np.eye(size, dtype=np.int64) for size in (n, m, r))
    # Coordinates: the entries of U row by row, then those of V.
    dz = np.concatenate(
        [np.einsum("ia,bk->ibak", unit_n, v).reshape(n * m, n * r), _second_factor(u, unit_m)], axis=1
    )
    du = np.einsum("ik,lc->klic", u, unit_r).reshape(r * r, n * r)
    dv = np.einsum("jk,lc->kljc", v, unit_r).reshape(r * r, m * r)
    ds = np.concatenate([du, -dv], axis=1).reshape(r, r, (n + m) * r)
    ds = (ds + ds.transpose(1, 0, 2))[np.triu_indices(r)]
    kernel = modular_nullspace(np.concatenate([dz, ds]), prime)
    if not len(kernel):
        return 0, 0
    da = _symmetrised(kernel[:, : n * r].reshape(-1, n, r), u, prime)
    db = _symmetrised(kernel[:, n * r :].reshape(-1, m, r), v, prime)
    # dM = dA x I + I x dB as a matrix on vec(G).
    change = np.einsum("kia,jb->kijab", da, unit_m) + np.einsum("ia,kjb->kijab", unit_n, db)
    return len(kernel), modular_rank(change.reshape(len(kernel), -1) % prime, prime)


def _second_factor(u: np.ndarray, unit_m: np.ndarray) -> np.ndarray:
    (n, r), m = u.shape, len(unit_m)
    return np.einsum("ik,jb->ijbk", u, unit_m).reshape(n * m, m * r)


def _symmetrised(directions: np.ndarray, factor: np.ndarray, prime: int) -> np.ndarray:
    """dU U^T + U dU^T for a stack of directions (k, n, r)."""
    count, rows, r = directions.shape
    half = _product(directions.reshape(count * rows, r), factor.T, prime).reshape(count, rows, rows)
    return (half + half.transpose(0, 2, 1)) % prime


def _product(a: np.ndarray, b: np.ndarray, prime: int) -> np.ndarray:
    """The product of two small matrices of residues; each product is reduced before it is added."""
    return ((a % prime)[:, :, None] * (b % prime)[None] % prime).sum(axis=1) % prime
