"""Which reductions are tried for an architecture at a start, in which order, and what each attempt says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .._errors import NoReductionError
from ..architecture import Architecture
from ..families.relu import PathLifting
from ..laws import conservation_laws
from .base import AbstractReduction, numerical_rank
from .chain.balanced import BalancedFlow
from .chain.gram_flow import GramFlow
from .chain.mixed import MixedBalancedFlow
from .chain.relaxed import RelaxedBalancedFlow
from .chain.two_layer_scalar import TwoLayerScalarFlow
from .closure import find_closure
from .closure.closure_result import FULL_SPACE
from .entrywise import entrywise_flow
from .intrinsicity.implicit_flow import ImplicitFlow
from .products import GramBlocksFlow, RelaxedBlocksFlow, TiedFlow
from .relu import DeepPathFlow, TwoLayerPathFlow

Build = Callable[[Architecture, Mapping[str, Any], Any], AbstractReduction]

#: Above this many parameters φ is not expanded into polynomials of single entries.
MAX_EXPANDED = 120
#: Above this many parameters the instrument of last resort is not offered.
MAX_IMPLICIT = 120

CLOSED_FORM = "closed form in z"
CLOSED_FORM_MORE = "closed form with further observables"
CLOSURE = "automatic closure"
IMPLICIT = "implicit, an instrument and no accelerator"


def candidates(arch: Architecture, time_limit: float) -> Iterator[tuple[str, str, Build]]:
    """(kind, name, how to build it) in the order of preference: those that can apply to this kind of φ."""
    is_small = arch.size <= MAX_EXPANDED
    depth = 0 if arch.chain is None else len(arch.chain)
    if depth:
        yield CLOSED_FORM, "balanced end-to-end flow", _balanced
        yield (
            CLOSED_FORM,
            "relaxed balanced flow",
            lambda a, theta, loss: RelaxedBalancedFlow.at(a, theta, loss),
        )
    if depth == 2:
        yield CLOSED_FORM, "mixed balanced flow", lambda a, theta, loss: MixedBalancedFlow.at(a, theta, loss)
        if arch.output_shape == (1, 1):
            yield (
                CLOSED_FORM,
                "two-layer scalar flow",
                lambda a, theta, loss: TwoLayerScalarFlow.at(a, theta, loss),
            )
    if isinstance(arch.phi, PathLifting):
        yield CLOSED_FORM, "two-layer path lifting", lambda a, theta, loss: TwoLayerPathFlow(a, loss)
        yield CLOSED_FORM, "deep path lifting", lambda a, theta, loss: DeepPathFlow(a, loss)
        return
    if not depth:
        yield CLOSED_FORM, "tied factors", lambda a, theta, loss: TiedFlow(a, loss)
        yield (
            CLOSED_FORM,
            "relaxed balanced products",
            lambda a, theta, loss: RelaxedBlocksFlow.at(a, theta, loss),
        )
    if is_small:
        yield CLOSED_FORM, "entrywise forms", lambda a, theta, loss: entrywise_flow(a, loss)
    if depth == 2:
        yield CLOSED_FORM_MORE, "Gram flow", lambda a, theta, loss: GramFlow(a, loss)
    if not depth:
        yield CLOSED_FORM_MORE, "Gram matrices of products", lambda a, theta, loss: GramBlocksFlow(a, loss)
    yield CLOSURE, "closure", lambda a, theta, loss: _closed(a, loss, time_limit)
    if arch.size <= MAX_IMPLICIT:
        yield IMPLICIT, "implicit flow", _implicit


def _balanced(arch: Architecture, theta0: Mapping[str, Any], loss: Any) -> BalancedFlow:
    assert arch.chain is not None  # only chains have this candidate
    rank = min(numerical_rank(theta0[name]) for name in arch.chain)
    if rank == 0:
        raise NoReductionError(
            "a layer of `theta0` is zero: the balanced flow never moves from there, and no other start is balanced"
        )
    return BalancedFlow(arch, loss, rank=rank)


def _implicit(arch: Architecture, theta0: Mapping[str, Any], loss: Any) -> ImplicitFlow:
    return ImplicitFlow(arch, theta0, loss, laws=conservation_laws(arch, progress=False))


def _closed(arch: Architecture, loss: Any, time_limit: float) -> AbstractReduction:
    # The search that tries this candidate shows that it works.
    found = find_closure(arch, time_limit=time_limit, progress=False)
    if not found.is_closed:
        raise NoReductionError(f"{found.status}: {found.explanation}")
    if found.status == FULL_SPACE:
        raise NoReductionError(
            f"{found.status}: the observables determine the {arch.size} parameters up to finitely many choices"
        )
    return found.dynamics(loss)
