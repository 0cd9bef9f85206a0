r"""One equilibrium, three densities: what noise favours depends on the measure that a density refers to."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..._checks import integer, real_array
from ...display.displayed import Displayed
from .entropy import log_m

#: What a density may refer to; the words are those of the table.
REFERENCES = {
    "metric": "d vol_g, the metric that balanced weights induce on products",
    "lebesgue": "dW, Lebesgue measure on products",
    "singular values": "ds_1 ... ds_d, after the rotations are integrated out",
}


def log_density_factor(singular_values: Any, depth: int, reference: str) -> np.ndarray:
    r"""Log of the factor that multiplies $e^{-\beta f}$ in the equilibrium density, up to a constant.

    - `"metric"`: $e^{S_N} = \prod_{k<l} m_N(s_k^2, s_l^2)^{1/2}$, which grows with every singular value;
    - `"lebesgue"`: $e^{S_N}\sqrt{\det g} = \prod_{k<l} m_N^{-1/2} \prod_k (N s_k^{2-2/N})^{-1/2}$, for low rank;
    - `"singular values"`: the latter times $\prod_{k<l} |s_k^2 - s_l^2|$. For a loss that is not invariant under
      rotations, $e^{-\beta f}$ is then to be averaged over them.

    Args:
        singular_values: (..., d), positive.
        depth: $N \ge 1$.
        reference: a key of `REFERENCES`.

    Returns:
        (...).

    Raises:
        ValueError: values that are not positive, or another reference.

    References:
        [menon2025entropy].

    Example:
        >>> [round(float(log_density_factor([2.0, 1.0], 2, name)), 4) for name in REFERENCES]
        [0.5493, -1.589, -0.4904]
    """
    s, depth = real_array(singular_values, "singular_values"), integer(depth, "depth")
    if s.ndim < 1 or not np.all(s > 0):
        raise ValueError("Argument `singular_values` must be positive, of shape (..., d).")
    if reference not in REFERENCES:
        raise ValueError(f"Argument `reference` must be one of {list(REFERENCES)}, but is {reference!r}.")
    logs = log_m(s, depth)
    upper = np.triu(np.ones((s.shape[-1],) * 2, dtype=bool), 1)
    value = 0.5 * np.sum(np.where(upper, logs, 0.0), axis=(-2, -1))
    if reference == "metric":
        return value
    value = value - 0.5 * np.sum(logs, axis=(-2, -1))
    if reference == "lebesgue":
        return value
    gaps = np.abs(s[..., :, None] - s[..., None, :]) * (s[..., :, None] + s[..., None, :])
    with np.errstate(divide="ignore"):
        return value + np.sum(np.log(np.where(upper, gaps, 1.0)), axis=(-2, -1))


@dataclasses.dataclass(frozen=True)
class MeasureReport(Displayed):
    """The three factors at one product, with the measure of each named.

    Attributes:
        depth: N.
        singular_values: of the product.
        logs: log factor by reference measure.
        slopes: derivative of the log factor with respect to a common log scale of all singular values.
    """

    depth: int
    singular_values: tuple[float, ...]
    logs: dict[str, float]
    slopes: dict[str, float]

    def __repr__(self) -> str:
        return f"MeasureReport({self._head()})"

    def _title(self) -> str:
        return f"measures on products, {self._head()}"

    def _head(self) -> str:
        return f"depth {self.depth}, singular values {', '.join(f'{s:.4g}' for s in self.singular_values)}"

    def _tables(self) -> list[tuple[Any, ...]]:
        rows = [
            (
                f"exp(-beta f) * {np.exp(value):.4g}",
                REFERENCES[name],
                f"{'larger' if self.slopes[name] > 0 else 'smaller'} products",
            )
            for name, value in self.logs.items()
        ]
        return [(rows, ("density", "against", "factor favours"))]


def equilibrium_measures(singular_values: Any, depth: int) -> MeasureReport:
    """All three factors at one product, each beside the measure that it refers to.

    Raises:
        ValueError: values that are not positive.

    Example:
        >>> report = equilibrium_measures([2.0, 1.0], 2)
        >>> [name for name, slope in report.slopes.items() if slope > 0]
        ['metric', 'singular values']
    """
    s, depth = real_array(singular_values, "singular_values", ndim=1), integer(depth, "depth")
    logs = {name: float(log_density_factor(s, depth, name)) for name in REFERENCES}
    size = s.shape[-1]
    pairs = size * (size - 1) / 2
    # Every m_N is homogeneous of degree 2 - 2/N in the singular values.
    degree = 2.0 - 2.0 / depth
    slopes = {"metric": pairs * degree / 2, "lebesgue": -(pairs + size) * degree / 2}
    slopes["singular values"] = slopes["lebesgue"] + 2 * pairs
    return MeasureReport(depth, tuple(map(float, s)), logs, slopes)
