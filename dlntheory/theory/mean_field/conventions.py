r"""From other normalisations to $\gamma_0$, and from a configuration to the raw numbers of a finite network."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from . import checks

if TYPE_CHECKING:
    from .config import MeanFieldConfig

CONVENTIONS = ("mup", "ntk", "plain_mean_field")


def gamma0_from(
    gamma: float, convention: str, *, nu: float | None = None, input_dim: int | None = None
) -> float:
    r"""The $\gamma_0$ of `MeanFieldConfig` for a network that somebody else has normalised.

    | convention | output of the network | $\gamma_0$ |
    | --- | --- | --- |
    | `"mup"` | $\frac{\sqrt D}{\gamma N}\, w \cdots \frac{W^0 x}{\sqrt D}$ | $\gamma$ |
    | `"ntk"` | $\frac{1}{\gamma \sqrt N}\, w \cdots \frac{W^0 x}{\sqrt D}$ | $\gamma/\sqrt\nu$ |
    | `"plain_mean_field"` | $\frac{1}{\gamma N}\, w \cdots \frac{W^0 x}{\sqrt D}$ | $\gamma\sqrt D$ |

    In the last one $\gamma$ of order 1 moves the features by $O(\sqrt D)$ in one step: no proportional limit exists.

    Args:
        gamma: their constant.
        convention: one of the three names.
        nu: $N/D$, needed for `"ntk"`.
        input_dim: $D$, needed for `"plain_mean_field"`.

    Example:
        >>> gamma0_from(4.0, "ntk", nu=4.0)
        2.0
    """
    gamma = checks.number("gamma", gamma, above=0.0)
    checks.one_of("convention", convention, CONVENTIONS)
    if convention == "mup":
        return gamma
    if convention == "ntk":
        return gamma / math.sqrt(checks.number("nu", nu, above=0.0))
    return gamma * math.sqrt(checks.whole("input_dim", input_dim, 1))


@dataclasses.dataclass(frozen=True)
class FiniteSize:
    r"""The raw numbers of one network of finite size, for whoever writes the training loop.

    Attributes:
        input_dim: $D$.
        width: $N$.
        samples: $P$ (the size of a batch for one-pass training), or `None` on the population.
        batch: samples used in one step, or `None` on the population.
        output_multiplier: $\sqrt D/(\gamma_0 N)$, in front of $w \cdot (W^{L-1}/\sqrt N) \cdots (W^0 x/\sqrt D)$.
        learning_rate: $\eta\gamma_0^2 N$, for the loss $\frac{1}{2P}\sum_\mu (y_\mu - f(x_\mu))^2$; one for each step.
    """

    input_dim: int
    width: int
    samples: int | None
    batch: int | None
    output_multiplier: float
    learning_rate: tuple[float, ...]

    @property
    def nu(self) -> float:
        """The ratio N/D after rounding to integers."""
        return self.width / self.input_dim

    @property
    def alpha(self) -> float:
        """The ratio P/D after rounding to integers."""
        return math.inf if self.samples is None else self.samples / self.input_dim


def finite_size(config: MeanFieldConfig, input_dim: int) -> FiniteSize:
    r"""Sizes, output multiplier and learning rates of the finite network that `config` stands for.

    Args:
        config: a configuration with finite `nu`.
        input_dim: $D$. Width and samples are rounded to the nearest integer; compare `nu` and `alpha` of the result.

    Raises:
        ValueError: `nu` is infinite, or `input_dim` so small that the width or the data round to nothing.

    Example:
        >>> from dlntheory.theory.mean_field import MeanFieldConfig
        >>> size = finite_size(MeanFieldConfig.mup(T=10, L=2, eta=0.1, nu=0.5, alpha=2.0), 64)
        >>> size.width, size.samples, size.output_multiplier
        (32, 128, 0.25)
    """
    input_dim = checks.whole("input_dim", input_dim, 1)
    if math.isinf(config.nu):
        raise ValueError("Argument `nu` must be finite for a network of finite size, but is inf.")
    width = round(config.nu * input_dim)
    samples = None if config.is_population else round(config.alpha * input_dim)
    batch = None if samples is None else round(config.batch_fraction * samples)
    for name, count in (("nu", width), ("alpha", samples), ("batch_fraction", batch)):
        if count == 0:
            value = getattr(config, name)
            raise ValueError(
                f"Argument `input_dim` must be large enough that {name} = {value:g} leaves something, "
                f"but is {input_dim}."
            )
    scale = config.gamma0**2 * width
    return FiniteSize(
        input_dim,
        width,
        samples,
        batch,
        math.sqrt(input_dim) / (config.gamma0 * width),
        tuple(float(rate) * scale for rate in config.rates),
    )
