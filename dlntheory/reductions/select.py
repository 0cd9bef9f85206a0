"""`reduce`: the reduction that applies to an architecture at a start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import NoReductionError
from ..architecture import Architecture
from .base import AbstractReduction, numerical_rank
from .linear.balanced import BalancedFlow
from .linear.gram import GramFlow


def reduce(arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> AbstractReduction:
    """The first reduction whose condition holds at `theta0`: the balanced flow, else the Gram flow.

    The Gram flow has $(d_0 + d_2)^2$ variables, more than a network with few hidden units has: it closes the
    equations at every width, but saves time only above the width at which its state is the smaller one.

    A host verb. The result is not bound to a loss unless one is given; `compare` binds it to the full flow.

    Args:
        arch: the architecture.
        theta0: the start, by factor name.
        loss: a function of $z$, optional.

    Raises:
        NoReductionError: nothing known applies; says why not, with the measured violations, and what would.
        ValueError: a malformed `theta0`.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 4, 2))
        >>> reduce(arch, dln.gaussian(arch, jax.random.key(0))).label
        'Gram flow'
    """
    checked = arch.check(theta0)
    if arch.chain is None:
        raise NoReductionError(
            f"No known reduction applies to {arch.name}: it declares no chain of matrices. Closed forms exist for "
            "deep linear networks; declare `chain=` if φ is a product of its factors."
        )
    rank = min(numerical_rank(checked[name]) for name in arch.chain)
    reasons = []
    if rank == 0:
        reasons.append(
            "a layer of `theta0` is zero, so the balanced flow (which then never moves) does not apply"
        )
    else:
        balanced = BalancedFlow(arch, loss, rank=rank)
        condition = balanced.condition(checked)
        if condition.holds:
            return balanced
        reasons.append(f"off balance by {condition.measured:.3g} ({condition.explanation})")
    if len(arch.chain) == 2:
        return GramFlow(arch, loss)
    raise NoReductionError(
        f"No known reduction applies to {arch.name} at this start: {'; '.join(reasons)}; the Gram flow needs exactly "
        f"two layers, not {len(arch.chain)}. What would: a balanced start, `balanced(arch, key)`."
    )
