"""`conservation_laws`: what training conserves, whatever the loss, with a certificate of how much of it was found."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import sympy

from .._checks import instance_of, integer, real_number
from ..architecture import Architecture
from ..display.progress import keeps_partial, waiting, whole_runs
from ..display.text import Formula, card, text_table
from ..exact import NilpotentModular
from ..exact.linear_algebra import DEFAULT_PRIME
from ..exact.rings.polynomials import SparsePolynomial
from .deadline import Deadline
from .law import Law, coordinate_names, law_of_expressions, law_of_polynomials
from .proof.certificate import Certificate, LawRanks, assembled
from .proof.lie_rank import lie_rank, random_point, usable_primes
from .proof.verification import require, sample_fields
from .search.strategies import search_stages
from .systems import AbstractSystem, training_system

#: The entries of all gradients up to which each law's rank is found along with the laws: some milliseconds.
_RANKED_ENTRIES = 20_000


@dataclasses.dataclass(frozen=True, repr=False)
class ConservationLaws:
    """The laws of a training rule and the certificate that says whether they are all.

    Attributes:
        system: the training rule.
        certificate: the laws, both bounds on their number, and the evidence.
        unused: names of coordinates that no generator moves, such as parameters absent from φ; each is a trivial law.
        searched: the stages of the search for laws, and why one was skipped.
        ranks: the rank of each law, where finding it took no time.
        seconds: the time it took; it does not count when results are compared.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> laws = conservation_laws(linear_network((2, 3, 2)))
        >>> laws.count, laws.status, laws.laws[0].name
        (6, 'complete', 'W2^T W2 - W1 W1^T')
    """

    system: AbstractSystem
    certificate: Certificate
    unused: tuple[str, ...]
    searched: tuple[str, ...]
    ranks: tuple[int | None, ...]
    seconds: float = dataclasses.field(compare=False)

    @property
    def laws(self) -> tuple[Law, ...]:
        """The laws, matrices first; each may have many entries."""
        return self.certificate.laws

    @property
    def count(self) -> int | None:
        """The number $N$ of independent laws if it is proven, else `None`; then see `lower` and `upper`."""
        return self.certificate.count

    @property
    def lower(self) -> int:
        """Proven lower bound on the number of independent laws."""
        return self.certificate.lower

    @property
    def upper(self) -> int:
        """Proven upper bound on the number of independent laws."""
        return self.certificate.upper

    @property
    def status(self) -> str:
        """`"complete"`, `"saturated"`, `"open"` or `"unverified"`, see `Certificate`."""
        return self.certificate.status

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped the search; the bounds hold all the same."""
        return "interrupted" in (self.certificate.lie.status, *self.searched)

    @functools.cached_property
    def expressions(self) -> tuple[sympy.Expr, ...]:
        """Every independent entry of every law in SymPy, in the order of the laws."""
        return tuple(expression for law in self.laws for expression in law.expressions)

    @functools.cached_property
    def matrices(self) -> dict[str, sympy.ImmutableDenseMatrix]:
        """The laws whose value is a matrix, in SymPy, by name."""
        found = {law.name: law.matrix for law in self.laws}
        return {name: matrix for name, matrix in found.items() if matrix is not None}

    def __call__(self, params: Mapping[str, Any]) -> dict[str, jax.Array]:
        """The values of the laws by name, at arrays for all blocks of the system. Pure: jit, vmap, grad.

        The blocks of momentum are the time coordinate `s`, the factors, and their velocities such as `"W1'"`.
        """
        if missing := [name for name, _ in self.system.blocks if name not in params]:
            raise ValueError(
                f"Argument `params` must hold all blocks of the system, but {missing} are missing."
            )
        return {law.name: law(params) for law in self.laws}

    def latex(self) -> str:
        r"""The laws as one `aligned` environment."""
        lines = [rf"{law.statement} &= \text{{const}}" for law in self.laws]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines or [r"&\text{no law}"]) + "\n\\end{aligned}"

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types: what `dlntheory laws --json` prints."""
        names = coordinate_names(self.system.blocks)
        return {
            "parameters": self.system.architecture.size,
            "laws": self.certificate.law_rank,
            "lower": self.lower,
            "upper": self.upper,
            "status": self.status,
            "lie_rank": self.certificate.lie.rank,
            "expressions": [text for law in self.laws for text in _texts(law, names)],
            "matrices": [
                law.name for law in self.laws if law.terms is not None and len(law.value_shape) == 2
            ],
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        mark = ", interrupted" if self.interrupted and "interrupted" not in self.certificate.statement else ""
        what = f"{self.system.architecture.name}, {self.system.label}"
        return f"ConservationLaws({what}: {self.certificate.statement}{mark})"

    def __str__(self) -> str:
        rows = [
            (law.name, law.size, rank, law.verified) for law, rank in zip(self.laws, self.ranks, strict=True)
        ]
        table = text_table(rows, ("law", "entries", "rank", "verified")) if rows else "no law"
        title = f"Conservation laws of {self.system.architecture.name}, {self.system.label}"
        lines = [title, self.certificate.statement, "", table]
        if self.status != "complete":
            lines += ["", f"searched: {'; '.join(self.searched)}"]
        if self.unused:
            lines += ["", f"never moved, trivial laws: {', '.join(self.unused)}"]
        return "\n".join(lines)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def _repr_html_(self) -> str:
        certificate = self.certificate
        facts = [
            ("certificate", certificate.statement),
            ("bounds", certificate.bounds),
        ]
        if self.status != "complete":
            facts.append(("searched", "; ".join(self.searched)))
        if self.unused:
            facts.append(("never moved, trivial laws", ", ".join(self.unused)))
        rows = [
            (Formula(rf"\displaystyle {law.statement} = \text{{const}}"), law.size, law.verified)
            for law in self.laws
        ]
        return card(
            f"Conservation laws of {self.system.architecture.name}, {self.system.label}",
            facts=facts,
            tables=[(rows, ("law", "entries", "verified"))] if rows else (),
        )


def conservation_laws(
    arch: Architecture,
    *,
    momentum: Any = None,
    metric: Mapping[str, str] | None = None,
    degree: int = 2,
    laws: ConservationLaws | Sequence[Law | sympy.Expr] | None = None,
    time_limit: float | None = None,
    max_depth: int | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> ConservationLaws:
    r"""What training conserves for every differentiable loss and all data, and whether anything is missing.

    Laws are looked for among combinations of Gram matrices first; if they leave a gap to the rank of the brackets,
    among polynomials of degree up to `degree`. A search that ends early is no error: `status` and both bounds say
    what is known. So does Ctrl-C: it returns what is known by then, with `interrupted` set, unless that is nothing.

    Args:
        arch: the architecture; φ must be polynomial.
        momentum: `None` for gradient flow; else the friction $\tau \ge 0$ of $\theta'' + \tau\theta' = -\nabla$, or
            `("over_t", c)` for friction $c/t$.
        metric: by factor name: `"theta"` for multiplicative updates.
        degree: the largest degree of polynomial laws that are looked for.
        laws: certify these instead of searching: `Law`s, SymPy polynomials in the symbols of `arch.symbolic()`, or the
            result of another call.
        time_limit: seconds after which the search ends; a step that is under way may take half as long again.
        max_depth: the largest depth of brackets.
        seed: determines all random points and combinations.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Returns:
        A `ConservationLaws`; call it with parameters for values, print it for a table.

    Raises:
        NotConservedError: a law in `laws` is none.
        UnsupportedPrimitiveError: φ is neither polynomial nor rational.
        ValueError: a constant in φ that is no simple fraction, or an unknown metric or friction.

    Validity:
        Laws hold for gradient flow, and for every time-dependent or random mixture of gradients, exactly. The count
        is that of functionally independent laws near a generic point.

    References:
        [marcotte2023abide]; [marcotte2024keep].
    """
    instance_of(
        arch, Architecture, "arch", "wrap a function of named arrays with `Architecture(phi, shapes)`"
    )
    degree, seed = integer(degree, "degree"), integer(seed, "seed", minimum=0)
    if time_limit is not None:
        time_limit = real_number(time_limit, "time_limit", minimum=0, finite=False)
    if isinstance(laws, ConservationLaws):
        laws = laws.laws
    if not isinstance(laws, Sequence | None) or isinstance(laws, str):
        raise ValueError(f"Argument `laws` must be a list of laws, but is {laws!r}.")
    system = training_system(arch, momentum=momentum, metric=metric)
    with waiting(f"searching the laws of {arch.name}", progress):
        return _search(system, laws, degree, time_limit, max_depth, seed)


def laws_to_build_on(arch: Architecture, *, progress: bool | None = None, **options: Any) -> ConservationLaws:
    """`conservation_laws` for a computation that needs the whole search: Ctrl-C is not caught.

    Raises:
        KeyboardInterrupt: the user stopped the search.
    """
    with whole_runs():
        return conservation_laws(arch, progress=progress, **options)


def _search(
    system: AbstractSystem,
    laws: Sequence[Law | sympy.Expr] | None,
    degree: int,
    time_limit: float | None,
    max_depth: int | None,
    seed: int,
) -> ConservationLaws:
    started, deadline = time.perf_counter(), Deadline(time_limit)
    prime = next(usable_primes(system, (DEFAULT_PRIME,), seed))
    point = random_point(system, prime, seed)
    unused = _unmoved(system, prime, seed) if laws is None else ()
    if laws is None:
        # One point for the search and the certificate: of thousands of parameters each rank takes seconds.
        shared = point if prime == DEFAULT_PRIME else None
        stages = search_stages(system, degree=degree, deadline=deadline, seed=seed, point=shared)
    else:
        given = tuple(require(system, _as_law(system, law), seed=seed, deadline=deadline) for law in laws)
        shared, stages = None, iter([("laws given", given, 0)])
    # One cheap stage of search, then the brackets, then as much more search as they call for.
    name, found, known = next(stages, ("none", (), 0))
    ranks = LawRanks(deadline)
    if shared is not None:
        ranks.note(found, point, prime, known)
    searched, found = [name], _with_unused(system, found, unused, point, prime, ranks)
    rank = ranks(found, point, prime)
    lie = lie_rank(
        system,
        target=system.dimension - rank,
        max_depth=max_depth,
        seed=seed,
        primes=(prime,),
        time_limit=None if time_limit is None else deadline.left,
    )
    while rank < system.dimension - lie.rank and lie.status not in ("time limit", "interrupted"):
        try:
            stage = next(stages, None)
            if stage is None:
                break
            if shared is not None:
                ranks.note(stage[1], point, prime, stage[2])
            found = _with_unused(system, stage[1], unused, point, prime, ranks)
            rank = ranks(found, point, prime)
        except KeyboardInterrupt:
            if not keeps_partial():
                raise
            searched.append("interrupted")
            break
        searched.append(stage[0])
    certificate = assembled(system, found, lie, time.perf_counter() - started, ranks)
    names = coordinate_names(system.blocks)
    small = sum(law.size for law in found) * system.dimension <= _RANKED_ENTRIES
    return ConservationLaws(
        system=system,
        certificate=certificate,
        unused=tuple(names[index] for index in unused),
        searched=tuple(searched),
        # A display computes nothing, so the ranks that it shows are found here, where that takes no time.
        ranks=tuple(law.rank_at(point, prime) if small else None for law in certificate.laws),
        seconds=time.perf_counter() - started,
    )


def _unmoved(system: AbstractSystem, prime: int, seed: int) -> tuple[int, ...]:
    """Coordinates that no field moves at random points."""
    rng = np.random.default_rng([seed, 4])
    _, fields = sample_fields(system, NilpotentModular(prime), rng, 4)
    return tuple(int(index) for index in np.flatnonzero(~np.any(fields, axis=0)))


def _with_unused(
    system: AbstractSystem,
    found: tuple[Law, ...],
    unused: Sequence[int],
    point: np.ndarray,
    prime: int,
    ranks: LawRanks,
) -> tuple[Law, ...]:
    """The coordinates that never move, and the laws that say more than that."""
    if not unused:
        return found
    trivial = law_of_polynomials(system.blocks, [SparsePolynomial({(index,): 1}) for index in unused])
    kept, rank = [require(system, trivial)], len(unused)
    for law in found:
        grown = ranks([*kept, law], point, prime)
        if grown > rank:
            kept, rank = [*kept, law], grown
    return tuple(kept)


def _as_law(system: AbstractSystem, law: Law | sympy.Expr) -> Law:
    if isinstance(law, Law):
        return law
    if not isinstance(law, sympy.Expr):
        raise ValueError(
            f"Argument `laws` must hold `Law`s or SymPy polynomials, but holds a {type(law).__name__}."
        )
    return law_of_expressions(system.blocks, [law])


def _texts(law: Law, names: Sequence[str]) -> list[str]:
    if law.is_rational:
        return [f"({top.text(names)})/({bottom.text(names)})" for top, bottom in law.polynomials]
    return [polynomial.text(names) for polynomial in law.polynomials]
