"""Elimination of variables in a process of its own, which is killed at the time limit: SymPy cannot be interrupted."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction

from ...exact.rings.polynomials import SparsePolynomial

#: Polynomials as JSON: a list of [variable indices, numerator, denominator].
Terms = list[tuple[list[int], int, int]]

# The child knows SymPy only: importing this package would start JAX and cost seconds of the limit.
_CHILD = """
import json, sys, sympy
job = json.load(sys.stdin)
gens = sympy.symbols(" ".join(f"x{i}" for i in range(job["count"])), seq=True)
keep = [gens[i] for i in job["keep"]]

def read(terms):
    return sympy.Add(*(sympy.Rational(p, q) * sympy.Mul(*(gens[i] for i in m)) for m, p, q in terms))

def write(expression):
    terms = []
    for exponents, value in sympy.Poly(expression, *gens, domain="QQ").terms():
        monomial = [i for i, n in enumerate(exponents) for _ in range(n)]
        terms.append([monomial, int(value.p), int(value.q)])
    return terms

polynomials = [read(terms) for terms in job["polynomials"]]
if job["method"] == "resultant":
    for index in job["eliminate"]:
        x = gens[index]
        holding = sorted((p for p in polynomials if p.has(x)), key=lambda p: sympy.degree(p, x))
        rest = [p for p in polynomials if not p.has(x)]
        polynomials = rest + [sympy.resultant(holding[0], p, x) for p in holding[1:]]
    found = polynomials
else:
    gone = [gens[i] for i in job["eliminate"]]
    basis = sympy.groebner(polynomials, *gone, *keep, order="lex")
    found = [p for p in basis.exprs if not p.free_symbols & set(gone)]
metric = gens[job["metric"]]
found = [p for p in found if p != 0 and p.has(metric)]
factors = {}
for p in found:
    for factor, _ in sympy.factor_list(p, *keep)[1]:
        if factor.has(metric):
            factors[factor] = None
print(json.dumps([write(factor) for factor in factors]))
"""


@dataclasses.dataclass(frozen=True, eq=False)
class EliminationJob:
    """Polynomial equations, and what to eliminate from them.

    Attributes:
        polynomials: each stands for "= 0".
        count: the number of variables.
        eliminate: the variables to remove, in this order.
        metric: the variable that a relation must hold.
        method: `"resultant"` or `"groebner"`.
    """

    polynomials: Sequence[SparsePolynomial]
    count: int
    eliminate: Sequence[int]
    metric: int
    method: str


@dataclasses.dataclass(frozen=True, eq=False)
class EliminationOutcome:
    """What a job gave.

    Attributes:
        factors: irreducible relations that hold the metric, or `None` if the time limit was hit.
        seconds: wall time.
    """

    factors: tuple[SparsePolynomial, ...] | None
    seconds: float


def run_job(job: EliminationJob, time_limit: float) -> EliminationOutcome:
    """Run a job in a Python process of its own, which is killed when the time is up or on an interrupt.

    Args:
        job: the equations.
        time_limit: in seconds, the start of Python and SymPy (about half a second) included.

    Raises:
        RuntimeError: the process failed; its last line is in the message.
    """
    eliminated = set(job.eliminate)
    message = json.dumps(
        {
            "count": job.count,
            "eliminate": list(job.eliminate),
            "keep": [index for index in range(job.count) if index not in eliminated],
            "metric": job.metric,
            "method": job.method,
            "polynomials": [_terms(polynomial) for polynomial in job.polynomials],
        }
    )
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD], input=message, capture_output=True, text=True, timeout=time_limit
        )
    except subprocess.TimeoutExpired:
        return EliminationOutcome(None, time.perf_counter() - begin)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"The process that eliminates variables failed: {last}")
    factors = tuple(
        SparsePolynomial({tuple(monomial): Fraction(p, q) for monomial, p, q in terms})
        for terms in json.loads(done.stdout)
    )
    return EliminationOutcome(factors, time.perf_counter() - begin)


def _terms(polynomial: SparsePolynomial) -> Terms:
    return [(list(monomial), int(value.p), int(value.q)) for monomial, value in polynomial.terms.items()]
