r"""Is a law a law? The identity $\langle\nabla h, X_i\rangle = 0$ in $\mathbb Q[\theta]$ for every generator."""

from __future__ import annotations

import dataclasses
import functools
import math
import weakref
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from ...exact import NilpotentModular
from ...exact.linear_algebra import DEFAULT_PRIME
from ...exact.rings.fractions import Quotients, TooManyTermsError
from ...exact.rings.polynomials import (
    Polynomials,
    SparsePolynomial,
    TermCounts,
    monomial_order,
    sum_of_products,
)
from ...families.relu import PathLifting
from ..deadline import SHORT, UNLIMITED, Deadline
from ..denominators import cleared
from ..law import IDENTITY, RANDOM_POINTS, Law, coordinate_names
from ..systems import AbstractSystem, GradientSystem, MomentumSystem
from ..vjp import ChainVjp
from .degree_bounds import field_degree

MAX_TERMS = 200_000
MAX_DENOMINATOR = 10**6
THEOREM_LINEAR = "structural theorem T9"
THEOREM_RELU = "structural theorem T10"
_POINTS = 4
_PRODUCTS_A_TERM = 4
_SECOND_PRIME = 2**31 - 19
# Rough: what one term of the expanded fields costs on a slow machine.
_SECONDS_A_TERM = 3e-5


class NotConservedError(ValueError):
    """A function that was said to be a law is not one.

    Attributes:
        verification: the failed `Verification`, with the generator and the coefficient that is not zero.
    """

    def __init__(self, verification: Verification):
        super().__init__(
            f"Argument `laws` must be conserved, but {verification.law.name} is not: {verification.reason}."
        )
        self.verification = verification


@dataclasses.dataclass(frozen=True)
class Verification:
    r"""What `verify` found; true in a condition if the law holds.

    Attributes:
        law: the law, with `verified` set if it passed.
        passed: whether it is conserved.
        method: `"identity in Q[theta]"`, `"structural theorem T9"` or `"T10"`, or `"random points only"`.
        entry: index of the entry that is not conserved, or `None`.
        generator: index of a generator along which it changes: the output of φ, row by row; for momentum 0 is the
            drift and output $i$ has index $i + 1$; for a sum over paths a tuple of gates.
        monomial: a monomial of $\langle\nabla h, X_i\rangle$ in the names of the coordinates.
        value: its coefficient.
        cleared: whether the rate is given for the generator times its denominator.
        error_probability: bound on the probability that a law which passed is none; 0 for proofs.
    """

    law: Law
    passed: bool
    method: str
    entry: int | None = None
    generator: int | tuple[int, ...] | None = None
    monomial: str | None = None
    value: Fraction | None = None
    error_probability: float = 0.0
    cleared: bool = False

    @property
    def reason(self) -> str:
        """The outcome in words."""
        if self.passed:
            return self.method
        if self.monomial is None:
            return f"entry {self.entry} changes at a random point"
        return (
            f"along generator {self.generator} entry {self.entry} changes at the rate … {self.value} "
            f"{self.monomial} …" + (", times its denominator" if self.cleared else "")
        )

    def __bool__(self) -> bool:
        return self.passed


@dataclasses.dataclass(frozen=True, eq=False)
class Generators:
    """The fields of a system expanded into polynomials, with the combination as further variables.

    A rational field is multiplied by its denominator, each generator by its own: that changes neither which functions
    are conserved nor the Lie algebra over the rational functions (T4).

    Attributes:
        dimension: D; the variables 0, …, D-1 are the coordinates, the later ones the combination.
        components: the D components of the combined field.
        cleared: whether there were denominators.
    """

    dimension: int
    components: tuple[SparsePolynomial, ...] = dataclasses.field(repr=False)
    cleared: bool = False

    def derivative(self, polynomial: SparsePolynomial) -> SparsePolynomial:
        r"""$\langle\nabla h, X\rangle$ in the coordinates and the combination."""
        gradient = polynomial.gradient()
        return sum_of_products((part, self.components[variable]) for variable, part in gradient.items())

    def defect(self, entry: Any) -> SparsePolynomial:
        """Zero if the entry of a law is conserved: for a quotient a/b the numerator of its derivative."""
        if isinstance(entry, SparsePolynomial):
            return self.derivative(entry)
        top, bottom = entry
        return sum_of_products([(self.derivative(top), bottom), (-top, self.derivative(bottom))])

    @functools.cached_property
    def fields(self) -> tuple[tuple[tuple[int, ...], dict[int, SparsePolynomial]], ...]:
        """The generators one by one: the monomial in the combination, and the nonzero components."""
        parts: dict[tuple[int, ...], dict[int, dict]] = {}
        for variable, component in enumerate(self.components):
            for monomial, value in component.terms.items():
                split = _split(monomial, self.dimension)
                parts.setdefault(monomial[split:], {}).setdefault(variable, {})[monomial[:split]] = value
        return tuple(
            (name, {variable: SparsePolynomial(terms) for variable, terms in field.items()})
            for name, field in sorted(parts.items(), key=lambda item: item[0])
        )


def verify(
    system: AbstractSystem,
    law: Law,
    *,
    max_terms: int = MAX_TERMS,
    seed: int = 0,
    deadline: Deadline = UNLIMITED,
) -> Verification:
    r"""Whether a law is conserved, as an identity of polynomials if φ is small enough to be expanded.

    Args:
        system: the training rule.
        law: the law, in the coordinates of the system.
        max_terms: φ with more terms is not expanded. Then a law of a declared chain (T9) or of path products (T10) is
            recognised by its coefficients; any other law is tested at random points modulo two primes.
        seed: of these points.
        deadline: φ is not expanded either where that would not end in time.

    Returns:
        A `Verification`; on failure with a generator and a nonzero coefficient. For a rational φ the identity is
        the one that is left after multiplying by the denominator.

    Raises:
        ValueError: the law has other coordinates than the system, or φ has a constant that is no simple fraction.
    """
    if law.blocks != system.blocks:
        raise ValueError(
            f"Argument `law` must be in the coordinates {system.blocks} of the system, but is in {law.blocks}."
        )
    generators = expand(system, max_terms, deadline)
    if generators is not None:
        for index, entry in enumerate(law.polynomials):
            defect = generators.defect(entry)
            if defect:
                failure = _failure(system, law, index, defect)
                return dataclasses.replace(failure, cleared=generators.cleared)
        return _success(law, IDENTITY)
    if theorem := structural_theorem(system, law):
        return _success(law, theorem)
    return _at_random_points(system, law, seed)


def require(system: AbstractSystem, law: Law, *, seed: int = 0, deadline: Deadline = UNLIMITED) -> Law:
    """The law with `verified` set.

    Raises:
        NotConservedError: it is not conserved.
    """
    verification = verify(system, law, seed=seed, deadline=deadline)
    if not verification:
        raise NotConservedError(verification)
    return verification.law


def check_constants(system: AbstractSystem) -> int:
    """An upper bound on the number of terms of the expanded fields, if they are polynomial.

    Raises:
        ValueError: a constant of φ whose simplest fraction has a denominator above one million: nobody wrote it as a
            fraction, and it is not rounded silently.
    """
    components = _evaluate(system, TermCounts(MAX_DENOMINATOR), lambda shape, start: _ones(shape))
    return int(sum(components))


# The expanded fields of a system, which live as long as it does.
_EXPANDED: weakref.WeakKeyDictionary[AbstractSystem, dict[int, Generators | None]] = (
    weakref.WeakKeyDictionary()
)


def expand(
    system: AbstractSystem, max_terms: int = MAX_TERMS, deadline: Deadline = UNLIMITED
) -> Generators | None:
    """The fields as polynomials, or `None` if they could have more than `max_terms` terms or take too long.

    Those of a rational system are multiplied by their denominators; then the limit is on the products of terms, four
    for each term allowed.
    """
    known = _EXPANDED.setdefault(system, {})
    if max_terms not in known:
        bound = check_constants(system)
        # A small φ is always expanded, so that its laws are proved however short the time.
        seconds = _SECONDS_A_TERM * min(bound, max_terms)
        if seconds > SHORT and not deadline.is_within(seconds):
            return None
        known[max_terms] = _expanded(system, max_terms, bound)
    return known[max_terms]


def _expanded(system: AbstractSystem, max_terms: int, bound: int) -> Generators | None:
    if system.is_rational:
        quotients = Quotients(_PRODUCTS_A_TERM * max_terms)
        try:
            fields = _evaluate(system, quotients, quotients.variables)
            components = cleared(quotients, fields, system.dimension)
        except TooManyTermsError:
            return None
        return Generators(system.dimension, components, cleared=True)
    if bound > max_terms:
        return None
    ring = Polynomials()
    return Generators(system.dimension, tuple(_evaluate(system, ring, ring.variables)))


def structural_theorem(system: AbstractSystem, law: Law) -> str | None:
    """The theorem whose law this is, decided by its coefficients, or `None`.

    For the layers of a chain (T9) or of a network of path products (T10), a combination of Gram matrices, of their
    diagonals or of squared norms is conserved if what leaves a hidden layer cancels what enters it.
    """
    if law.terms is None or not isinstance(system, GradientSystem) or system.metric:
        return None
    phi, chain = system.architecture.phi, system.architecture.chain
    weights: tuple[str, ...]
    biases: tuple[str | None, ...]
    if isinstance(phi, PathLifting):
        weights = phi.weights
        biases = (*phi.biases, *(None,) * (len(weights) - len(phi.biases)))
        theorem, levels = THEOREM_RELU, ("diagonal", "norm")
    elif chain is not None and len(set(chain)) == len(chain):
        weights, biases = chain, (None,) * len(chain)
        theorem, levels = THEOREM_LINEAR, ("matrix", "diagonal", "norm")
    else:
        return None
    if law.kind not in levels or any(term.form != "gram" or term.time for term in law.terms):
        return None
    if law.kind == "norm":
        return theorem if _norms_cancel(law, weights, biases) else None
    coefficients = {(term.blocks[0], term.axes or term.batch): term.coefficient for term in law.terms}
    if len(coefficients) < len(law.terms):
        return None
    for layer in range(len(weights) - 1):
        leaving = coefficients.pop((weights[layer + 1], (1,)), Fraction(0))
        entering = coefficients.pop((weights[layer], (0,)), Fraction(0))
        if entering != -leaving:
            return None
        if (bias := biases[layer]) and coefficients.pop((bias, (0,)), Fraction(0)) != -leaving:
            return None
    return None if coefficients else theorem


def _norms_cancel(law: Law, weights: Any, biases: Any) -> bool:
    """Whether a sum of squared norms is a sum of traces of the laws of the hidden layers."""
    left = {term.blocks[0]: term.coefficient for term in law.terms or ()}
    if len(left) < len(law.terms or ()):
        return False
    # Layer by layer from the output: the trace of the law of layer l has |W_{l+1}|^2, -|W_l|^2 and -|b_l|^2.
    for layer in reversed(range(len(weights) - 1)):
        leaving = left.pop(weights[layer + 1], Fraction(0))
        left[weights[layer]] = left.get(weights[layer], Fraction(0)) + leaving
        if biases[layer] and left.pop(biases[layer], Fraction(0)) != -leaving:
            return False
    return not any(left.values())


def _at_random_points(system: AbstractSystem, law: Law, seed: int) -> Verification:
    r"""By the values of $\langle\nabla h, X\rangle$ at random points along random combinations, modulo two primes.

    By Schwartz and Zippel a polynomial of degree d that is not zero modulo p vanishes at a random point with
    probability at most d/(p - 1), as coordinates are drawn from 1..p-1. For a law of degree k and fields of degree f
    the degree is at most k - 1 + f; of a quotient a/b the numerator b ∇a - a ∇b of the gradient has degree up to 2k -
    1. The points are independent, so their probabilities multiply.
    """
    rng = np.random.default_rng([seed, 5])
    error = 1.0
    for prime in (DEFAULT_PRIME, _SECOND_PRIME):
        points, fields = sample_fields(system, NilpotentModular(prime), rng, _POINTS)
        for point, field in zip(points, fields, strict=True):
            rates = (law.gradients_mod_p(point, prime) * field % prime).sum(axis=1) % prime
            if rates.any():
                return Verification(law, False, RANDOM_POINTS, entry=int(np.flatnonzero(rates)[0]))
        degree = (2 if law.is_rational else 1) * law.degree - 1 + field_degree(system, prime, seed)
        error *= min(1.0, degree / (prime - 1)) ** _POINTS
    verified = dataclasses.replace(law, verified=RANDOM_POINTS)
    return Verification(verified, True, RANDOM_POINTS, error_probability=error)


def sample_fields(
    system: AbstractSystem, ring: NilpotentModular, rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Random points (count, D), and the values there of random combinations of the generators (count, D)."""
    points = system.defined_points(ring, rng, count)
    state = system.unflatten(ring, points[None])
    field = system.field(ring, state, system.draw(ring, rng, count))
    return points, np.broadcast_to(system.flatten(ring, field)[0], points.shape)


def _evaluate(system: AbstractSystem, ring: Any, variables: Any) -> np.ndarray:
    """The combined field over an object ring, flat, the coordinates and the combination being variables."""
    state, start = {}, 0
    for name, shape in system.blocks:
        state[name] = variables(shape, start)
        start += math.prod(shape)
    # Only the shapes of a combination are needed, so it does not matter what is drawn.
    example = system.draw(NilpotentModular(), np.random.default_rng(0), 1)
    leaves, tree = jax.tree_util.tree_flatten(example)
    symbolic = []
    for leaf in leaves:
        symbolic.append(variables(leaf.shape[2:], start))
        start += leaf[0, 0].size
    field = system.field(ring, state, jax.tree_util.tree_unflatten(tree, symbolic))
    parts = [np.ravel(field[name]) for name, _ in system.blocks]
    return np.concatenate(parts)


def _ones(shape: tuple[int, ...]) -> np.ndarray:
    return np.ones(shape, dtype=np.int64).astype(object)


def _split(monomial: tuple[int, ...], dimension: int) -> int:
    """How many factors of a sorted monomial are coordinates."""
    return sum(variable < dimension for variable in monomial)


def _success(law: Law, method: str) -> Verification:
    return Verification(dataclasses.replace(law, verified=method), True, method)


def _failure(system: AbstractSystem, law: Law, entry: int, defect: SparsePolynomial) -> Verification:
    names = coordinate_names(system.blocks)
    monomial = min(defect.terms, key=monomial_order)
    split = _split(monomial, system.dimension)
    value = defect.terms[monomial]
    text = SparsePolynomial({monomial[:split]: 1}).text(names)
    combination = tuple(variable - system.dimension for variable in monomial[split:])
    return Verification(
        law,
        False,
        IDENTITY,
        entry=entry,
        generator=_generator(system, combination),
        monomial=text,
        value=Fraction(int(value.p), int(value.q)),
    )


def _generator(system: AbstractSystem, combination: tuple[int, ...]) -> int | tuple[int, ...]:
    first = 0
    if isinstance(system, MomentumSystem):
        if combination == (0,):
            return 0
        first, combination = 1, tuple(variable - 1 for variable in combination)
    if isinstance(system, (GradientSystem, MomentumSystem)) and isinstance(system.vjp, ChainVjp):
        widths = system.architecture.widths
        assert widths is not None
        # The combination of a chain has rank one: a vector at the input, then one at the output.
        inward, outward = combination
        return first + (outward - widths[0]) * widths[0] + inward
    return first + combination[0] if len(combination) == 1 else combination
