"""`Muon`: momentum whose steps are the polar factors of its matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import equinox as eqx
import jax.numpy as jnp

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange, form_of, taylor
from ..settings import Settings, Training, checked_number
from .descent import AbstractDescent

#: Coefficients of the quintic iteration, and how often it is applied.
NEWTON_SCHULZ, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
#: Singular values below this share of the largest count as zero.
DROPPED = 1e-12


class Muon(AbstractDescent):
    r"""Orthogonalised momentum, $v_+ = \beta v + g$, $\theta_+ = \theta - \eta e_l\,\mathrm{polar}(v_+)$.

    $\mathrm{polar}(M) = UV^\top$ for $M = U\Sigma V^\top$; a vector is divided by its norm. It commutes with rotations
    of the hidden units. Quadratic laws of gradient flow are lost at first order: their change is Taylor's formula.

    Args:
        arch: an architecture of matrices, vectors and numbers.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        momentum: $\beta$ in $[0, 1)$.
        exact: the exact polar factor; else five steps of the quintic Newton-Schulz iteration as in practice, whose
            result has singular values between 0.06 and 1.20.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`.

    Raises:
        ValueError: a number out of range, a factor of more than two dimensions, or what `GradientFlow` refuses.

    Validity:
        Singular values below $10^{-12}$ of the largest are dropped: there the polar factor is not determined.

    References:
        [jordan2024muon].
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    momentum: Any
    exact: bool = eqx.field(static=True)
    label: ClassVar[str] = "Muon"

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        learning_rate: float,
        momentum: float = 0.95,
        *,
        exact: bool = True,
        **settings: Unpack[Settings],
    ):
        if large := [name for name, shape in arch.shapes.items() if len(shape) > 2]:
            raise ValueError(
                f"Argument `arch` must have matrices and vectors for Muon, but {large} have more dimensions."
            )
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)
        self.momentum = checked_number(momentum, "momentum", minimum=0, below=1)
        self.exact = bool(exact)

    def memory(self, theta: Mapping[str, Any]) -> State:
        return {f"{name}'": 0 * value for name, value in theta.items()}

    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        slope = gradient(theta)
        velocity = {name: self.momentum * memory[f"{name}'"] + slope[name] for name in theta}
        along = {name: polar_factor(value, exact=self.exact) for name, value in velocity.items()}
        after = {name: theta[name] - eta[name] * along[name] for name in theta}
        return after, {f"{name}'": value for name, value in velocity.items()}

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def law_change(self, law: Law) -> LawChange:
        return taylor(self, form_of(self, law))


def polar_factor(matrix: Any, *, exact: bool = True) -> Any:
    r"""$UV^\top$ of a matrix $U\Sigma V^\top$ without its null space; of a vector its direction. Pure.

    Args:
        matrix: at most two dimensions.
        exact: by singular values; else by the quintic Newton-Schulz iteration.
    """
    columns = jnp.reshape(matrix, (matrix.shape[0], -1) if matrix.ndim else (1, 1))
    if exact:
        left, values, right = jnp.linalg.svd(columns, full_matrices=False)
        kept = (values > DROPPED * values[0]).astype(values.dtype)
        return jnp.reshape((left * kept[None, :]) @ right, matrix.shape)
    size = jnp.linalg.norm(columns)
    x = columns / jnp.where(size > 0, size, 1.0)
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return jnp.reshape(x, matrix.shape)
