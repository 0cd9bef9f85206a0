"""`product_flow`: the smallest reduction that fits an architecture made of products of two factors, at a start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._errors import ConditionError, InfeasibleError
from ...architecture import Architecture
from ..base import AbstractReduction
from ..entrywise.recognise import FormError
from .gram_blocks import GramBlocksFlow
from .relaxed_blocks import RelaxedBlocksFlow
from .tied import TiedFlow


def product_flow(arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> AbstractReduction:
    r"""The flow in $z$ alone for tied factors and for independent products with scalar laws, else Gram matrices.

    A host verb. Attention, shared queries, tied factors and adapters are recognised whatever their factors are called.

    Args:
        arch: the architecture.
        theta0: the start, which decides whether the laws are scalar.
        loss: a function of $z$, optional.

    Raises:
        FormError: φ is not made of products of two factors (a `ValueError`).
        ValueError: a malformed `theta0`.

    Example:
        >>> import dlntheory as dln, jax
        >>> from dlntheory.families.attention import attention
        >>> arch = attention(2, 1)
        >>> product_flow(arch, dln.gaussian(arch, jax.random.key(0))).label
        'relaxed balanced flow of independent products'
        >>> product_flow(attention(2, 2), dln.gaussian(attention(2, 2), jax.random.key(0))).label
        'flow of Gram matrices'
    """
    checked = arch.check(theta0)
    try:
        return TiedFlow(arch, loss)
    except FormError:
        pass
    try:
        relaxed = RelaxedBlocksFlow.at(arch, checked, loss)
    except (FormError, ConditionError, InfeasibleError):
        return GramBlocksFlow(arch, loss)
    return relaxed if relaxed.condition(checked).holds else GramBlocksFlow(arch, loss)
