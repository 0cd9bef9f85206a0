r"""`WhitenedProblem`: target, clock and factors that every closed form takes from the loss, and from nowhere else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from .._checks import is_traced
from .._errors import ConditionError
from ..architecture import Architecture
from ..display.text import card, key_values
from ..losses import SquaredLoss
from ..training import Training

#: How far the input covariance may be from a multiple of the identity, relative to it.
TOLERANCE = 1e-10


@dataclasses.dataclass(frozen=True, eq=False)
class WhitenedProblem:
    r"""Training reduced to $\frac12 \|p - S\|_F^2$ with unit rates: what the formulas of whitened data are written for.

    For a loss with gradient $k z - \Sigma_{yx}$ and layer rates $e_l$, the layers $V_l = W_l/\sqrt{e_l}$ follow plain
    gradient flow of $\frac12 \|p - S\|_F^2$, $p = V_L \cdots V_1$, $S = \Sigma_{yx}/(kc)$,
    $c = \prod_l \sqrt{e_l}$, in the clock $k c^2 t$; and $z = c\,p$.

    Attributes:
        target: $S$ (d_L, d_0).
        speed: $k c^2$, the clock of the formulas per gradient-flow time.
        amplitude: $c$, with $z = c\,p$.
        rates: $e_l$, first layer first.
        decay: $\gamma e/(k c^2)$, weight decay in the clock of the formulas; 0 if there is none.
        conventions: the factors of the loss in words.
    """

    target: np.ndarray
    speed: float
    amplitude: float
    rates: tuple[float, ...]
    decay: float
    conventions: str

    @classmethod
    def of(cls, arch: Architecture, training: Training) -> WhitenedProblem:
        """Read everything off the loss, the rates and the weight decay.

        Args:
            arch: a chain of matrices.
            training: loss and factors.

        Raises:
            ValueError: no chain, a loss that is not squared, or weight decay with layer rates that differ.
            ConditionError: the input covariance is no multiple of the identity; says by how much.
        """
        if arch.chain is None:
            raise ValueError(
                f"Argument `arch` must declare a chain of matrices for a closed form, but {arch.name} does not."
            )
        loss = training.loss
        if not isinstance(loss, SquaredLoss):
            raise ValueError(
                "Argument `loss` must be a `SquaredLoss` for a closed form on whitened data, but is a "
                f"{type(loss).__name__}. For any other loss use a reduction."
            )
        training.check(arch)
        # The loss is known even where a start is traced.
        with jax.ensure_compile_time_eval():
            covariance, correlation = np.asarray(loss.input_covariance), np.asarray(loss.correlation)
        curvature = float(np.trace(covariance)) / len(covariance)
        defect = float(np.linalg.norm(covariance - curvature * np.eye(len(covariance)), 2))
        if defect > TOLERANCE * curvature:
            raise ConditionError(
                "Argument `loss` must have inputs whose covariance is a multiple of the identity, but "
                f"|Sxx - k I| = {defect:.3g} with k = {curvature:.3g}. Whiten the data (`whitened=True`), or use a "
                "reduction, which needs no whitening.",
                measured=defect,
                tolerance=TOLERANCE * curvature,
            )
        rates = tuple(float(training.rate(name)) for name in arch.chain)
        amplitude = math.prod(math.sqrt(rate) for rate in rates)
        speed = curvature * amplitude**2
        decay = 0.0
        if training.is_decaying:
            if max(rates) - min(rates) > 1e-15 * max(rates):
                raise ValueError(
                    "Argument `rates` must be equal for all layers with weight decay in a closed form, but are "
                    f"{dict(zip(arch.chain, rates, strict=True))}."
                )
            decay = float(training.weight_decay) * rates[0] / speed
        return cls(
            target=correlation / (curvature * amplitude),
            speed=speed,
            amplitude=amplitude,
            rates=rates,
            decay=decay,
            conventions=training.conventions,
        )

    def layers(self, arch: Architecture, theta: Mapping[str, Any]) -> list[Any]:
        r"""$V_l = W_l/\sqrt{e_l}$, first layer first; traced arrays stay traced."""
        assert arch.chain is not None  # checked by `of`
        return [
            (theta[name] if is_traced(theta[name]) else np.asarray(theta[name])) / math.sqrt(rate)
            for name, rate in zip(arch.chain, self.rates, strict=True)
        ]

    def __repr__(self) -> str:
        return f"WhitenedProblem(target {' x '.join(map(str, self.target.shape))}, {self.conventions})"

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card("Whitened problem", facts=self._facts())

    def _facts(self) -> list[tuple[str, Any]]:
        rows = [
            ("formulas for", "1/2 |p - S|^2, unit rates"),
            ("target S", f"shape {self.target.shape}, spectral norm {np.linalg.norm(self.target, 2):.4g}"),
            ("clock", f"{self.speed:.6g} per gradient-flow time"),
            ("z", f"{self.amplitude:.6g} * p"),
            ("from", self.conventions),
        ]
        if self.decay:
            rows.insert(4, ("weight decay", f"{self.decay:.6g} in that clock"))
        return rows
