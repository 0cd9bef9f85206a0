"""`TwoLayerScalarFlow`: two linear layers with one input and one output, closed in $z$ for every start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from ..._checks import real_number
from ...architecture import Architecture
from ...training import Training
from ..base import AbstractReduction, Condition, FormError, chain_of, widths_of
from ..guarded import guarded_sqrt
from .base import AbstractChainFlow, rescaled_layers

LABEL = "two-layer scalar flow"


class TwoLayerScalarFlow(AbstractChainFlow):
    r"""The flow of $z = W_2 W_1$ with one input, one output and any hidden width, from any start.

    $$\dot z = -\sqrt{C + 4 z^2}\; f'(z), \qquad C = 2\,\mathrm{tr}\,S^2 - (\mathrm{tr}\,S)^2, \qquad
      S = W_2^\top W_2 - W_1 W_1^\top$$

    since $C + 4z^2 = (|W_1|^2 + |W_2|^2)^2$ identically. The state is $z$, (1, 1).

    Args:
        arch: an architecture that declares a chain of exactly two matrices with one input and one output.
        loss: a function of $z$, or `None` to `bind` later.
        level: $C \ge 0$; `TwoLayerScalarFlow.from_start` measures it at a start.
        rates: layer rates $e_1, e_2$ by factor name; $S$ is then $W_2^\top W_2/e_2 - W_1 W_1^\top/e_1$.
        tolerance: largest deviation from the level, relative to $(|W_1|^2 + |W_2|^2)^2$, that passes.

    Validity:
        Exact for every loss and every start while the flow exists. At $C = 0$ (balanced) $z$ keeps its sign.

    Raises:
        ValueError: another architecture; a negative level; weight decay.

    References:
        Derived here.

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.linear_network((1, 2, 1))
        >>> theta0 = {"W1": [[1.0], [0.0]], "W2": [[0.0, 2.0]]}
        >>> float(TwoLayerScalarFlow.from_start(arch, theta0).level)  # (1 + 4)^2 at z = 0
        25.0
    """

    level: np.ndarray
    tolerance: float

    label = LABEL
    source = "derived here"
    exactness = "exact for every loss and every start of this level C"
    order = 40.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        level: float,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
        tolerance: float = 1e-10,
    ):
        _check(arch)
        self.level = np.asarray(real_number(level, "level", minimum=0.0))
        self.tolerance = real_number(tolerance, "tolerance", minimum=0.0)
        AbstractReduction.__init__(self, arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def from_start(
        cls,
        arch: Architecture,
        theta0: Mapping[str, Any],
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
        tolerance: float = 1e-10,
    ) -> Self:
        """The flow with the level of a start; every start has one. Not jit-compatible; `rates` need a `loss`.

        Raises:
            FormError: another architecture.
            ValueError: a malformed `theta0`.
        """
        _check(arch)
        training = None if loss is None else Training(loss, rates=rates)
        level, _ = _level(arch, training, arch.check(theta0))
        return cls(arch, loss, level=level, weight_decay=weight_decay, rates=rates, tolerance=tolerance)

    @property
    def statement(self) -> str:
        return rf"\dot z = -\sqrt{{C + 4 z^2}}\; f'(z),\quad C = {float(self.level):.6g}"

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        found, scale = _level(self.architecture, self.training, theta0)
        measured, allowed = abs(found - float(self.level)), self.tolerance * scale
        holds = measured <= allowed
        return Condition(
            requirement=f"2 tr S^2 - (tr S)^2 = {float(self.level):.6g}",
            measured=measured,
            tolerance=allowed,
            explanation="" if holds else f"it is {found:.6g}",
            # d sqrt(C + 4 z^2) = dC / (2 sqrt(C + 4 z^2)), at the start.
            expected_error=None if holds else measured / (2 * np.sqrt(scale)),
            remedy=""
            if holds
            else "Use `TwoLayerScalarFlow.from_start(arch, theta0)`, which takes the level of the start.",
        )

    def metric(self, z, gradient, law):
        # C is of degree two in S.
        return guarded_sqrt(self.level * law**2 + 4.0 * z**2) * gradient


def _check(arch: Architecture) -> None:
    chain_of(arch, f"the {LABEL}", depth=2)
    inputs, _, outputs = widths_of(arch)
    if (inputs, outputs) != (1, 1):
        raise FormError(
            f"Argument `arch` must have one input and one output for the {LABEL}, but has {inputs} and {outputs}."
        )


def _level(arch: Architecture, training: Training | None, theta0: Mapping[str, Any]) -> tuple[float, float]:
    """$C$ and $(|W_1|^2 + |W_2|^2)^2$, without subtracting nearly equal numbers."""
    first, second = (layer.ravel() for layer in rescaled_layers(arch, training, theta0, LABEL))
    a, b = float(first @ first), float(second @ second)
    # a b - z^2 is a times the squared distance of W_2 from the line of W_1.
    across = second - (first @ second / a) * first if a > 0 else np.zeros_like(second)
    return (a - b) ** 2 + 4.0 * a * float(across @ across), (a + b) ** 2
