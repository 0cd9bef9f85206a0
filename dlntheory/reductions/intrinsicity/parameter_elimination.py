r"""`eliminate_parameters`: the algebraic relation between an entry of the metric, $z$ and the constants of the laws."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from ..._precision import require_float64
from ...architecture import Architecture
from ...display.progress import keeps_partial, waiting
from ...display.text import card, key_values
from ...exact.rings.polynomials import SparsePolynomial
from ..base import FormError
from .elimination_equations import EliminationSystem, general_system, one_parameter_system
from .elimination_process import EliminationJob, run_job

#: A relation with more terms than these is described in a notebook, not typeset.
_SHOWN_TERMS = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Relation:
    r"""A polynomial $R(k, z, c) = 0$ that an entry $k$ of $M = \partial\varphi\,\partial\varphi^\top$ obeys.

    Attributes:
        network: name of the architecture.
        status: `"found"`, or `"open"`: then `polynomial` is `None` and nothing is known.
        reason: why it is open: the time limit, an interrupt, or no relation with these laws.
        method: `"resultant"` or `"groebner"`.
        entry: the two indices of $k$ in $M$, as flat indices into $z$.
        polynomial: $R$ in SymPy, irreducible, with coprime integer coefficients.
        outputs: the symbols of the entries of $z$.
        places: the flat indices into $z$ of these entries.
        constants: the symbols of the constants of the laws.
        definitions: each constant in terms of parameters, as text.
        values: the constants at the start.
        start: $z$ at the start, one number for each symbol of `outputs`.
        metric: $k$ at the start.
        branch: which real root $k$ is at the start, counted from 1 upwards, and how many real roots there are.
        seconds: wall time.
        time_limit: the limit.
        interrupted: whether the user stopped the elimination.
    """

    network: str
    status: str
    reason: str
    method: str
    entry: tuple[int, int]
    polynomial: sympy.Expr | None
    outputs: tuple[sympy.Symbol, ...]
    places: tuple[int, ...]
    constants: tuple[sympy.Symbol, ...]
    definitions: tuple[str, ...]
    values: tuple[float, ...]
    start: tuple[float, ...]
    metric: float
    branch: tuple[int, int] | None
    seconds: float
    time_limit: float
    interrupted: bool = False
    _sparse: SparsePolynomial | None = dataclasses.field(default=None, repr=False)
    _system: EliminationSystem | None = dataclasses.field(default=None, repr=False)

    @property
    def degree(self) -> int | None:
        """The degree of $R$ in $k$: the number of its branches; `None` while open."""
        return None if self._sparse is None else max(m.count(0) for m in self._sparse.terms)

    @property
    def terms(self) -> int | None:
        """The number of terms of $R$; `None` while open."""
        return None if self._sparse is None else len(self._sparse.terms)

    def __call__(self, z: float | Sequence[float] | np.ndarray) -> float:
        r"""$k$ at $z$, on the branch of the start, which is followed along the straight line from $z_0$.

        Not jit-compatible. The eliminated variables are followed, as other branches may cross the one of the start;
        that $R(k, z, c) = 0$ holds is checked.

        Args:
            z: a number, or one for each symbol of `outputs`.

        Raises:
            ValueError: the relation is open, a wrong number of entries, or a point that is not reached.
        """
        if self._sparse is None:
            raise ValueError(
                f"Argument `z` needs a relation that was found, but the status is {self.status!r}."
            )
        end = np.atleast_1d(np.asarray(z, dtype=np.float64))
        origin = np.asarray(self.start)
        if end.shape != origin.shape or not np.all(np.isfinite(end)):
            raise ValueError(
                f"Argument `z` must hold {len(origin)} finite numbers, one for each of {self.outputs}, but is {z!r}."
            )
        assert self._system is not None  # set with the relation
        k = self._system.follow(end)
        if k is None:
            raise ValueError(
                f"Argument `z` must be reached from the start along a straight line, but {z!r} is not: "
                "the equations become singular on the way."
            )
        if not self.residual(k, end) < 1e-8:
            raise RuntimeError(f"k = {k} at z = {z!r} does not meet the relation. Please report this φ.")
        return k

    def residual(self, k: float, z: float | Sequence[float] | np.ndarray) -> float:
        r"""$|R(k, z, c)|$ relative to the sum of the sizes of its terms."""
        coefficients, sizes = self._in_metric(np.atleast_1d(np.asarray(z, dtype=np.float64)))
        total = np.polyval(sizes, abs(k))
        return float(abs(np.polyval(coefficients, k)) / total) if total else 0.0

    def latex(self) -> str:
        """The relation in LaTeX."""
        return "" if self.polynomial is None else sympy.latex(self.polynomial) + " = 0"

    def __repr__(self) -> str:
        if self.branch is None:
            return f"Relation({self.network}: open, {self.reason})"
        branch = f"branch {self.branch[0]} of {self.branch[1]}"
        return f"Relation({self.network}: degree {self.degree} in k, {self.terms} terms, {branch})"

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        formula = self.latex() if self.terms is not None and self.terms <= _SHOWN_TERMS else ""
        hidden = ("network", "relation") if formula else ("network",)
        facts = [(name, value) for name, value in self._facts() if name not in hidden]
        return card(f"Relation of {self.network}", formulas=formula, facts=facts)

    def _facts(self) -> list[tuple[str, Any]]:
        rows: list[tuple[str, Any]] = [
            ("network", self.network),
            ("entry of M", f"k = M[{self.entry[0]}, {self.entry[1]}]"),
            ("status", self.status + (f": {self.reason}" if self.reason else "")),
            ("method", self.method),
        ]
        if self.branch is not None:
            text = str(self.polynomial)
            rows.append(
                (
                    "relation",
                    f"{text} = 0" if len(text) <= 400 else f"{self.terms} terms, degree {self.degree} in k",
                )
            )
            rows.append(
                (
                    "branch",
                    f"real root {self.branch[0]} of {self.branch[1]} at the start, in increasing order",
                )
            )
        rows += [
            (str(symbol), f"{definition} = {value:.6g}")
            for symbol, definition, value in zip(self.constants, self.definitions, self.values, strict=True)
        ]
        return [*rows, ("seconds", self.seconds)]

    def _repr_latex_(self) -> str:
        shown = self.latex() or r"\text{open}"
        return f"$\\displaystyle {shown}$"

    def _in_metric(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of R as a polynomial in k, highest first, and the sums of the sizes of their terms."""
        assert self._sparse is not None
        assert self.degree is not None  # callers have checked
        point = np.array([1.0, *z, *self.values])
        coefficients, sizes = np.zeros(self.degree + 1), np.zeros(self.degree + 1)
        for monomial, value in self._sparse.terms.items():
            term = float(int(value.p)) / float(int(value.q)) * float(np.prod(point[list(monomial)]))
            coefficients[self.degree - monomial.count(0)] += term
            sizes[self.degree - monomial.count(0)] += abs(term)
        return coefficients, sizes


def eliminate_parameters(
    arch: Architecture,
    theta0: Mapping[str, Any],
    entry: int | tuple[int, int] = 0,
    *,
    method: str = "auto",
    laws: Sequence[Any] | None = None,
    time_limit: float = 20.0,
    progress: bool | None = None,
) -> Relation:
    r"""The relation $R(k, z, c) = 0$ for an entry $k$ of the metric $M = \partial\varphi\,\partial\varphi^\top$.

    Parameters are eliminated from $z = \varphi(\theta)$, $h(\theta) = c$ and $k = M_{ij}(\theta)$. Scalar chains and
    differences of powers are first written in one or two unknowns and eliminated by resultants; anything else by a
    lexicographic Gröbner basis, which is for tiny φ only. The elimination runs in a process of its own, which is killed
    at the time limit. Not jit-compatible.

    Args:
        arch: the architecture, with polynomial φ.
        theta0: the start: it fixes the constants of the laws and the branch.
        entry: flat index i of an entry of $z$, for $k = M_{ii}$, or a pair (i, j).
        method: `"auto"`, `"resultant"` (the forms above only) or `"groebner"`.
        laws: for Gröbner bases: conserved quantities as rational SymPy expressions in the symbols of
            `arch.symbolic()`; by default those that `conservation_laws` finds.
        time_limit: in seconds, for the elimination.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Returns:
        A `Relation`; with status `"open"` and a reason if the time limit was hit or no relation came out. Ctrl-C ends
        the elimination in the same way, with `interrupted` set; while laws are still searched for it is raised.

    Raises:
        FormError: `"resultant"` was asked for a φ of another form (a `ValueError`).
        ValueError: malformed arguments.
        UnsupportedPrimitiveError: φ is no polynomial.

    Validity:
        Exact. The relation has several branches; the one of `theta0` is reported and followed by calling the
        result. For matrices use matrix identities instead, such as $A^2 - \lambda A = z z^\top$.

    References:
        [cox2015ideals], chapter 3.

    Example:
        >>> import dlntheory as dln, numpy as np
        >>> arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (1,)}, name="uv")
        >>> relation = eliminate_parameters(arch, {"u": np.array([2.0]), "v": np.array([1.0])})
        >>> print(relation.polynomial, relation.branch)
        -c2**2 + k**2 - 4*z**2 (2, 2)
        >>> abs(relation(0.0) - 3.0) < 1e-12
        True
    """
    require_float64("eliminate_parameters")
    if method not in ("auto", "resultant", "groebner"):
        raise ValueError(f"Argument `method` must be auto, resultant or groebner, but is {method!r}.")
    if not (np.isfinite(time_limit) and time_limit > 0):
        raise ValueError(f"Argument `time_limit` must be a positive number of seconds, but is {time_limit}.")
    row, column = _checked_entry(arch, entry)
    flat = np.asarray(arch.ravel(arch.check(theta0)))
    with waiting(f"eliminating the parameters of {arch.name}", progress):
        return _eliminated(arch, flat, (row, column), entry, method, laws, float(time_limit))


def _eliminated(
    arch: Architecture,
    flat: np.ndarray,
    place: tuple[int, int],
    entry: int | tuple[int, int],
    method: str,
    laws: Sequence[Any] | None,
    time_limit: float,
) -> Relation:
    row, column = place
    system = None
    if row == column and method != "groebner":
        try:
            system, used = one_parameter_system(arch, row, flat), "resultant"
        except FormError as error:
            if method == "resultant":
                raise FormError(
                    f"Argument `arch` must have a product or a difference of two powers as entry {row} of z for "
                    f"resultants, but in {arch.name} {error}."
                ) from None
    elif method == "resultant":
        raise FormError(f"Argument `entry` must be on the diagonal of M for resultants, but is {entry}.")
    if system is None:
        system, used = general_system(arch, row, column, flat, laws), "groebner"
    job = EliminationJob(
        polynomials=system.polynomials,
        count=len(system.names),
        eliminate=range(system.eliminated),
        metric=system.eliminated,
        method=used,
    )
    begin = time.perf_counter()
    try:
        outcome = run_job(job, time_limit)
    except KeyboardInterrupt:
        if not keeps_partial():
            raise
        seconds = time.perf_counter() - begin
        found = _relation(arch, place, system, used, None, seconds, time_limit)
        return dataclasses.replace(found, reason="interrupted", interrupted=True)
    return _relation(arch, place, system, used, outcome.factors, outcome.seconds, time_limit)


def _checked_entry(arch: Architecture, entry: Any) -> tuple[int, int]:
    size = int(np.prod(arch.output_shape, dtype=int))
    pair = (entry, entry) if isinstance(entry, (int, np.integer)) else tuple(entry)
    if len(pair) != 2 or not all(isinstance(i, (int, np.integer)) and 0 <= i < size for i in pair):
        raise ValueError(f"Argument `entry` must be one or two indices below {size}, but is {entry!r}.")
    return int(pair[0]), int(pair[1])


def _relation(
    arch: Architecture,
    entry: tuple[int, int],
    system: EliminationSystem,
    method: str,
    factors: tuple[SparsePolynomial, ...] | None,
    seconds: float,
    time_limit: float,
) -> Relation:
    kept = system.names[system.eliminated :]
    symbols = tuple(sympy.Symbol(name) for name in kept)
    relation = Relation(
        network=arch.name,
        status="open",
        reason=(
            f"time limit of {time_limit:g} s reached"
            if factors is None
            else f"no relation follows from the {len(kept) - 1 - system.outputs} laws at hand"
        ),
        method=method,
        entry=entry,
        polynomial=None,
        outputs=symbols[1 : 1 + system.outputs],
        places=system.places,
        constants=symbols[1 + system.outputs :],
        definitions=system.definitions,
        values=system.values[1 + system.outputs :],
        start=system.values[1 : 1 + system.outputs],
        metric=system.values[0],
        branch=None,
        seconds=seconds,
        time_limit=time_limit,
        _system=system,
    )
    candidates = []
    for factor in factors or ():
        moved = {tuple(v - system.eliminated for v in m): value for m, value in factor.terms.items()}
        sparse = SparsePolynomial(moved).primitive()
        candidate = dataclasses.replace(relation, _sparse=sparse)
        candidates.append((candidate.residual(relation.metric, relation.start), candidate))
    vanishing = [pair for pair in candidates if pair[0] < 1e-9]
    if not vanishing:
        return relation
    # Of several relations the one of lowest degree in k has the fewest branches to confuse.
    _, best = min(vanishing, key=lambda pair: (pair[1].degree or 0, pair[1].terms or 0))
    assert best._sparse is not None
    return dataclasses.replace(
        best, status="found", reason="", polynomial=best._sparse.to_sympy(symbols), branch=_branch(best)
    )


def _branch(relation: Relation) -> tuple[int, int]:
    coefficients, _ = relation._in_metric(np.asarray(relation.start))
    roots = np.roots(coefficients)
    real = np.sort(roots.real[np.abs(roots.imag) <= 1e-7 * np.max(np.abs(roots))])
    return int(np.argmin(np.abs(real - relation.metric))) + 1, len(real)
