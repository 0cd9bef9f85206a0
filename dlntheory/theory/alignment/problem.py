r"""`SeparableProblem`: separable data with the logistic or the exponential loss, certified when it is made."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ..._checks import integer
from ..._precision import require_float64
from ...architecture import Architecture
from ...display.displayed import Displayed
from ...families import linear_network
from ...losses import ExponentialLoss, LogisticLoss
from ...losses.base import check_same_samples, checked_array, checked_rows
from ...losses.log_form import LARGE_MARGIN
from .max_margin import MaxMargin, max_margin

#: Predictors are as large as rows are small, and their squares must be doubles.
SMALLEST_SIZE = 1e-100
LOSSES = {"exponential": ExponentialLoss, "logistic": LogisticLoss}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SeparableProblem(Displayed):
    r"""Linear classification of separable data without bias, $\min_w \frac1n\sum_i \ell(y_i \langle w, x_i\rangle)$.

    Making one certifies that the data are separable: it computes the maximum margin. Rows are scaled to
    $\max_i \|x_i\| \le 1$, as the theory asks; margin and weights are then those of the scaled data.

    Args:
        inputs: $X$ (n, d), rows are samples.
        labels: $y$ (n,) or (n, 1), each -1 or 1; both classes need not occur.
        loss: `"exponential"`, $\ell(z) = e^{-z}$, or `"logistic"`, $\ell(z) = \log(1 + e^{-z})$.
        name: how it is called in tables and figures.

    Attributes:
        signed_inputs: the rows $Z_i = y_i x_i$ after scaling (n, d), read-only.
        scale: the number that the inputs were divided by, 1 if none was longer than 1.
        loss: the `ExponentialLoss` or `LogisticLoss` on the scaled data, for `GradientFlow` and the like.
        loss_name: which.
        margin: the maximum margin with its certificate, see `max_margin`.

    Raises:
        ValueError: shapes that do not match, non-finite inputs, labels other than -1 and 1, an unknown loss.
        InseparableError: the data are not separable; the error holds the convex combination that proves it.
        PrecisionError: JAX is in float32 mode, in which margins beyond $10^3$ lose the differences that matter.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> problem = SeparableProblem([[0.5, 0.5], [0.5, -1.5], [-2.0, 0.0]], [1, 1, -1])
        >>> problem
        SeparableProblem(data, exponential loss: 3 samples in 2 dimensions, margin 0.25)
        >>> problem.max_margin().dual.tolist(), problem.scale
        ([0.75, 0.25, 0.0], 2.0)
    """

    signed_inputs: np.ndarray
    scale: float
    loss: Any
    loss_name: str
    margin: MaxMargin
    name: str

    def __init__(self, inputs: Any, labels: Any, loss: str = "exponential", *, name: str = "data"):
        require_float64("SeparableProblem")
        if loss not in LOSSES:
            raise ValueError(f"Argument `loss` must be one of {list(LOSSES)}, but is {loss!r}.")
        x, y = checked_rows(inputs, "inputs"), _checked_labels(labels)
        check_same_samples(x, y, "labels")
        largest = float(np.max(np.abs(x)))
        # The squares of large entries overflow: the norm of a row is taken relative to the largest entry.
        largest *= float(np.max(np.linalg.norm(x / (largest or 1.0), axis=1)))
        if 0.0 < largest < SMALLEST_SIZE:
            raise ValueError(
                f"Argument `inputs` must have a row of norm {SMALLEST_SIZE:g} or more, but the largest is "
                f"{largest:.3g}: divide the inputs by it, which changes no direction."
            )
        scale = max(1.0, largest)
        x = x / scale
        signed = y[:, None] * x
        signed.flags.writeable = False
        values = {
            "signed_inputs": signed,
            "scale": scale,
            "loss": LOSSES[loss](x, y),
            "loss_name": loss,
            "margin": max_margin(signed),
            "name": name,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def max_margin(self) -> MaxMargin:
        """The maximum-margin direction with its certificate; computed when the problem was made."""
        return self.margin

    @property
    def dimension(self) -> int:
        """$d$."""
        return self.signed_inputs.shape[1]

    @property
    def log_risk_of_zero(self) -> float:
        r"""$\log \ell(0)$: the theory asks for a start at or below it."""
        return 0.0 if self.loss_name == "exponential" else float(np.log(np.log(2.0)))

    def margins(self, w: np.ndarray) -> np.ndarray:
        r"""$\langle Z_i, w\rangle$ (…, n) for predictors $w$ (…, d); not jit-compatible."""
        return np.asarray(w) @ self.signed_inputs.T

    def log_risk(self, w: np.ndarray) -> np.ndarray:
        r"""$\log R(w)$ (…) for predictors $w$ (…, d), also where $R$ underflows; in NumPy, not jit-compatible."""
        margins = self.margins(w)
        if self.loss_name == "exponential":
            logs = -margins
        else:
            small, large = np.minimum(margins, LARGE_MARGIN), np.maximum(margins, LARGE_MARGIN)
            logs = np.where(
                margins > LARGE_MARGIN,
                -large - 0.5 * np.exp(-large),
                np.log(np.logaddexp(0.0, -small)),
            )
        return np.asarray(logsumexp(logs, axis=-1)) - np.log(margins.shape[-1])

    def network(self, depth: int, hidden: int = 6) -> Architecture:
        """The linear network of `depth` layers, all hidden ones of width `hidden`, that fits the data.

        Raises:
            ValueError: a depth below 1 or a width below 1.
        """
        hidden, depth = integer(hidden, "hidden"), integer(depth, "depth")
        return linear_network((self.dimension, *[hidden] * (depth - 1), 1))

    def __repr__(self) -> str:
        n, d = self.signed_inputs.shape
        return (
            f"SeparableProblem({self.name}, {self.loss_name} loss: {n} samples in {d} dimensions, "
            f"margin {self.margin.margin:.4g})"
        )

    def _title(self) -> str:
        return f"separable problem {self.name}"

    def _facts(self) -> dict[str, Any]:
        n, d = self.signed_inputs.shape
        return {
            "data": f"{self.name}: {n} samples in {d} dimensions",
            "loss": self.loss.conventions,
            "scale": f"inputs divided by {self.scale:.6g}; the margin is that of the scaled data",
            **self.margin._facts(),
        }


def _checked_labels(labels: Any) -> np.ndarray:
    y = checked_array(labels, "labels")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"Argument `labels` must have shape (samples,), but has shape {y.shape}.")
    wrong = np.unique(y[np.abs(y) != 1.0])
    if wrong.size == 0:
        return y
    if set(np.unique(y)) <= {0.0, 1.0}:
        raise ValueError("Argument `labels` must be -1 or 1, but is 0 or 1: use `2 * labels - 1`.")
    shown = ", ".join(f"{value:g}" for value in wrong[:5]) + (", …" if wrong.size > 5 else "")
    raise ValueError(
        f"Argument `labels` must be -1 or 1, but {int(np.sum(np.abs(y) != 1.0))} of {y.size} are not: {shown}."
    )
