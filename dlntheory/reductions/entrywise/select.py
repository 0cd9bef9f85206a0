"""`entrywise_flow`: the entrywise reduction that fits an architecture, whatever its parameters are called."""

from __future__ import annotations

from typing import Any

from ..._errors import NoReductionError
from ...architecture import Architecture
from ..base import AbstractReduction
from .chain import ScalarChainFlow
from .diagonal import DiagonalFlow
from .neuron import NeuronFlow
from .powers import PowersFlow
from .recognise import FormError
from .squares import SquaresFlow

FORMS: tuple[type[AbstractReduction], ...] = (
    DiagonalFlow,
    ScalarChainFlow,
    SquaresFlow,
    PowersFlow,
    NeuronFlow,
)


def entrywise_flow(arch: Architecture, loss: Any = None) -> AbstractReduction:
    r"""The first of the diagonal, scalar-chain, squares, powers and one-neuron flows whose form φ has.

    A symbolic verb: the form is read off the exact polynomials of φ, so names and layout of the factors do not matter.

    Args:
        arch: the architecture.
        loss: a function of $z$, optional.

    Raises:
        NoReductionError: φ has none of these forms; the message says for each where it differs.
        UnsupportedPrimitiveError: φ is no polynomial.

    Example:
        >>> import dlntheory as dln
        >>> entrywise_flow(dln.Architecture(lambda p: p["a"] * p["b"] * p["c"], {"a": (2,), "b": (2,), "c": (2,)}))
        ScalarChainFlow(architecture)
    """
    reasons = []
    for form in FORMS:
        try:
            return form(arch, loss)  # pyright: ignore[reportCallIssue]
        except FormError as error:
            reasons.append(str(error))
    raise NoReductionError(
        f"No entrywise reduction applies to {arch.name}:\n" + "\n".join(f"- {reason}" for reason in reasons)
    )
