r"""Imbalances $D_l = W_{l+1}^\top W_{l+1} - W_l W_l^\top$ of a chain, and how far from $\lambda_l I$."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import SQUARABLE, instance_of, mapping, real_number
from .._precision import require_float64
from ..architecture import Architecture, Params
from ..display.text import card, text_table


def imbalances(
    arch: Architecture, params: Params, rates: Mapping[str, Any] | None = None
) -> tuple[jax.Array, ...]:
    r"""The imbalances $D_l = W_{l+1}^\top W_{l+1}/e_{l+1} - W_l W_l^\top/e_l$ of a chain, by hidden layer.

    Args:
        arch: a chain of L matrices.
        params: the parameters; nothing is validated here.
        rates: learning rate $e_l > 0$ of a factor by name; factors not named have rate 1.

    Returns:
        L - 1 symmetric arrays, of shape (d_l, d_l). Jit-compatible.

    Raises:
        ValueError: `arch` declares no chain, or a rate names no factor of it.

    Validity:
        Constant under gradient flow with these rates, for every differentiable loss. Weight decay γ with all
        rates 1 makes them decay as $e^{-2\gamma t}$.

    References:
        [arora2018optimization], Theorem 1; [du2018algorithmic], Theorem 2.2.

    Example:
        >>> from dlntheory.families import linear_network
        >>> arch = linear_network((2, 1, 1))
        >>> [d.tolist() for d in imbalances(arch, {"W1": jnp.array([[1.0, 2.0]]), "W2": jnp.array([[3.0]])})]
        [[[4.0]]]
    """
    chain = _checked_chain(arch, rates, "imbalances")
    instance_of(params, Mapping, "params", "arrays by name")
    speeds = [(rates or {}).get(name, 1.0) for name in chain]
    layers = [params[name] for name in chain]
    return tuple(
        layers[l + 1].T @ layers[l + 1] / speeds[l + 1] - layers[l] @ layers[l].T / speeds[l]
        for l in range(len(chain) - 1)
    )


@dataclasses.dataclass(frozen=True, repr=False)
class Balance:
    r"""How balanced a chain is: the measured $\lambda_l$ and the distances from balance and from λ-balance.

    Attributes:
        name: of the architecture.
        widths: $d_l$ of the hidden layers.
        lambdas: $\lambda_l = \mathrm{tr}\,D_l / d_l$.
        norms: $\|D_l\|_F$.
        deviations: $\|D_l - \lambda_l I\|_F$.
        scale: $\max_l \|W_l\|_F^2 / e_l$, to which the relative distances refer.
    """

    name: str
    widths: tuple[int, ...]
    lambdas: tuple[float, ...]
    norms: tuple[float, ...]
    deviations: tuple[float, ...]
    scale: float

    @property
    def off_balance(self) -> float:
        r"""$\max_l \|D_l\|_F$ relative to `scale`; 0 without hidden layers or weights."""
        return self._relative(self.norms)

    @property
    def off_lambda_balance(self) -> float:
        r"""$\max_l \|D_l - \lambda_l I\|_F$ relative to `scale`; 0 without hidden layers or weights."""
        return self._relative(self.deviations)

    def _relative(self, values: tuple[float, ...]) -> float:
        return max(values, default=0.0) / self.scale if self.scale > 0 else 0.0

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.4g}" for value in self.lambdas)
        return (
            f"Balance({self.name}: lambda = ({shown}), off balance by {self.off_balance:.1e}, "
            f"off lambda-balance by {self.off_lambda_balance:.1e})"
        )

    def __str__(self) -> str:
        return f"Balance of {self.name}\n{text_table(*self._table())}\n{self._distances()}"

    def _repr_html_(self) -> str:
        return card(f"Balance of {self.name}", tables=[self._table()], notes=[self._distances()])

    def _table(self) -> tuple[list[tuple[str, ...]], tuple[str, ...], str]:
        layers = zip(self.widths, self.lambdas, self.norms, self.deviations, strict=True)
        rows = [
            (str(layer), str(width), f"{lam:.6g}", f"{norm:.2e}", f"{deviation:.2e}")
            for layer, (width, lam, norm, deviation) in enumerate(layers, start=1)
        ]
        return rows, ("layer", "width", "lambda", "|D|", "|D - lambda I|"), "rrrrr"

    def _distances(self) -> str:
        return (
            f"off balance by {self.off_balance:.1e}, off lambda-balance by {self.off_lambda_balance:.1e},"
            f" relative to max |W_l|^2/e_l = {self.scale:.3g}"
        )


def balance(
    arch: Architecture, params: Mapping[str, Any], rates: Mapping[str, float] | None = None
) -> Balance:
    r"""Measure how far a chain is from balanced ($D_l = 0$) and from λ-balanced ($D_l = \lambda_l I$).

    $\lambda_l = \mathrm{tr}\,D_l / d_l$ is the multiple of the identity nearest to $D_l$ in Frobenius norm. A
    host
    verb: it checks its arguments and returns floats.

    Args:
        arch: a chain of L matrices.
        params: the parameters.
        rates: learning rate $e_l > 0$ of a factor by name; factors not named have rate 1.

    Returns:
        A `Balance`; print it for a table.

    Raises:
        ValueError: `arch` declares no chain, malformed `params`, a rate that names no factor or is not
            positive.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> balance(linear_network((1, 1, 1)), {"W1": [[1.0]], "W2": [[2.0]]})
        Balance(linear 1-1-1: lambda = (3), off balance by 7.5e-01, off lambda-balance by 0.0e+00)
    """
    require_float64("balance")
    chain = _checked_chain(arch, rates, "balance")
    for name, rate in (rates or {}).items():
        number = real_number(rate, f"rates['{name}']", above=0)
        real_number(number, f"rates['{name}']", minimum=1 / SQUARABLE, maximum=SQUARABLE)
    theta = arch.check(params, "params")
    defects = [np.asarray(defect) for defect in imbalances(arch, theta, rates)]
    lambdas = [float(np.trace(defect)) / len(defect) for defect in defects]
    squares = [float(jnp.sum(theta[name] ** 2)) / float((rates or {}).get(name, 1.0)) for name in chain]
    return Balance(
        name=arch.name,
        widths=tuple(len(defect) for defect in defects),
        lambdas=tuple(lambdas),
        norms=tuple(float(np.linalg.norm(defect)) for defect in defects),
        deviations=tuple(
            float(np.linalg.norm(defect - lam * np.eye(len(defect))))
            for defect, lam in zip(defects, lambdas, strict=True)
        ),
        scale=max(squares),
    )


def _checked_chain(arch: Architecture, rates: Mapping[str, Any] | None, where: str) -> tuple[str, ...]:
    instance_of(arch, Architecture, "arch")
    mapping(rates, "rates", "learning rates by factor name")
    if arch.chain is None:
        raise ValueError(
            f"Argument `arch` of `{where}` must be a chain of matrices (as `linear_network` makes), "
            f"but {arch.name} declares no `chain`."
        )
    if unknown := [name for name in rates or {} if name not in arch.shapes]:
        raise ValueError(
            f"Argument `rates` must name factors of {arch.name}, {list(arch.shapes)}, but has {unknown}."
        )
    return arch.chain
