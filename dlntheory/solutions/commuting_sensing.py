r"""Matrix sensing with commuting measurements: $X = UU^\top$ on the way, and where it ends."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checks import SQUARABLE, real_array
from .._errors import ConditionError
from ..display.text import card, key_values
from .diagonal_networks import checked_alpha
from .dual_newton import dual_newton

#: Largest commutator that counts as rounding, relative to the product of the norms.
TOLERANCE = 1e-10


@dataclasses.dataclass(frozen=True, eq=False)
class CommutingSensing:
    r"""Gradient flow of $X = UU^\top$ from $U_0 = \sqrt\alpha\,I$ on $\frac12\sum_i(\langle A_i, X\rangle - y_i)^2$.

    $X(t) = \alpha\exp(4\sum_i s_i A_i)$ with $s_i = -\int(\langle A_i, X\rangle - y_i)\,dt$, for symmetric $A_i$ that
    commute. `loss` has the factors of this formula: without its ½ the 4 would be an 8.

    Args:
        measurements: $A_i$ (m, n, n), symmetric, pairwise commuting, linearly independent.
        targets: $y$ (m,).
        alpha: $X_0 = \alpha I$, positive.

    Raises:
        ValueError: shapes that do not fit, not finite, not symmetric, dependent, or `alpha` not positive.
        ConditionError: two measurements do not commute; gives $\max|[A_i, A_j]|$.

    References:
        [gunasekar2017implicit].

    Example:
        >>> import numpy as np
        >>> sensing = CommutingSensing(np.array([np.diag([1.0, 2.0])]), [2.0], 1e-8)
        >>> print(np.diag(sensing.limit()).round(3))
        [0. 1.]
    """

    measurements: np.ndarray
    targets: np.ndarray
    alpha: float
    basis: np.ndarray = dataclasses.field(init=False)
    values: np.ndarray = dataclasses.field(init=False)
    commutator: float = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        a = np.asarray(self.measurements, dtype=np.float64)
        y = np.asarray(self.targets, dtype=np.float64)
        if a.ndim != 3 or a.shape[1] != a.shape[2] or y.shape != a.shape[:1] or a.size == 0:
            raise ValueError(
                "Arguments `measurements` and `targets` must have shapes (m, n, n) and (m,), but have "
                f"{a.shape} and {y.shape}."
            )
        if not (np.all(np.isfinite(a)) and np.all(np.isfinite(y))):
            raise ValueError("Arguments `measurements` and `targets` must be finite, but are not.")
        skew = float(np.max(np.abs(a - a.transpose(0, 2, 1))))
        scale = float(np.max(np.linalg.norm(a, axis=(1, 2))))
        if skew > 1e-12 * scale:
            raise ValueError(f"Argument `measurements` must be symmetric, but is off by {skew:.3g}.")
        commutator = largest_commutator(a)
        if commutator > TOLERANCE * scale**2:
            raise ConditionError(
                "Argument `measurements` must commute for the closed form, but max |[A_i, A_j]| = "
                f"{commutator:.3g}. Integrate the flow of the Gram factorisation instead.",
                measured=commutator,
                tolerance=TOLERANCE * scale**2,
            )
        basis = _common_basis(a)
        values = np.einsum("ki,mkl,li->mi", basis, a, basis)
        if len(a) > a.shape[1] or np.linalg.matrix_rank(values) < len(a):
            raise ValueError(
                f"Argument `measurements` must be linearly independent, but {len(a)} of them have rank "
                f"{np.linalg.matrix_rank(values)}."
            )
        for name, value in (
            ("measurements", a),
            ("targets", y),
            ("alpha", checked_alpha(self.alpha)),
            ("basis", basis),
            ("values", values),
            ("commutator", commutator),
        ):
            object.__setattr__(self, name, value)

    def loss(self, product: Any) -> Any:
        r"""$\frac12\sum_i(\langle A_i, X\rangle - y_i)^2$, the loss that the formula is for. Pure JAX."""
        residual = jnp.einsum("mij,ij->m", self.measurements, jnp.asarray(product)) - self.targets
        return 0.5 * jnp.sum(residual**2)

    def at(self, s: Any) -> np.ndarray:
        r"""$\alpha\exp(4\sum_i s_i A_i)$ for $s$ (..., m), shape (..., n, n)."""
        exponents = 4.0 * np.asarray(s, dtype=np.float64) @ self.values
        eigenvalues = np.exp(exponents + math.log(self.alpha))
        return np.einsum("ik,...k,jk->...ij", self.basis, eigenvalues, self.basis)

    def curve(self, ts: Any) -> np.ndarray:
        """X at increasing times (time,), shape (time, n, n): m numbers are integrated instead of a matrix.

        Raises:
            ValueError: times that are negative or do not increase.
        """
        from scipy.integrate import solve_ivp

        times = np.asarray(ts, dtype=np.float64)
        if times.ndim != 1 or not len(times) or times[0] < 0 or np.any(np.diff(times) <= 0):
            raise ValueError(
                f"Argument `ts` must be increasing times of at least 0, but is {np.array2string(times)}."
            )

        def velocity(t, s):
            return self.targets - self.values @ np.exp(4.0 * s @ self.values + math.log(self.alpha))

        start = np.zeros(len(self.targets))
        if times[-1] == 0:
            return self.at(start[None])
        found = solve_ivp(
            velocity, (0.0, times[-1]), start, t_eval=times, method="DOP853", rtol=1e-12, atol=1e-13
        )
        if not found.success:
            raise ValueError(f"Argument `ts` must be within reach of the integrator, but: {found.message}")
        return self.at(found.y.T)

    def limit(self) -> np.ndarray:
        r"""$X_\infty$, the fit of least entropy relative to $\alpha I$, by the dual Newton method.

        Raises:
            InfeasibleError: no positive semidefinite X with these commuting measurements was found.
        """

        def curve(w, a):
            value = np.exp(w + math.log(a))
            return value, value

        nu, _ = dual_newton(self.values, self.targets, curve, self.alpha)
        return self.at(nu / 4.0)

    def __repr__(self) -> str:
        side = self.basis.shape[0]
        return f"CommutingSensing({len(self.targets)} measurements of {side} x {side}, alpha {self.alpha:g})"

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card("Commuting matrix sensing", facts=self._facts())

    def _facts(self) -> dict[str, Any]:
        return {
            "formula": "X(t) = alpha exp(4 sum_i s_i A_i)",
            "measurements": f"{len(self.targets)} commuting, {self.basis.shape[0]} x {self.basis.shape[0]}",
            "max |[A_i, A_j]|": self.commutator,
            "alpha": self.alpha,
            "loss": "1/2 sum_i (<A_i, X> - y_i)^2",
        }


def largest_commutator(measurements: Any) -> float:
    """The largest entry of a commutator among matrices (m, n, n).

    Example:
        >>> largest_commutator([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [1.0, 0.0]]])
        1.0
    """
    a = real_array(measurements, "measurements", ndim=3, largest=SQUARABLE)
    if a.shape[1] != a.shape[2]:
        raise ValueError(f"Argument `measurements` must have shape (m, n, n), but has shape {a.shape}.")
    products = np.einsum("aij,bjk->abik", a, a)
    return float(np.max(np.abs(products - products.transpose(1, 0, 2, 3)), initial=0.0))


def _common_basis(a: np.ndarray) -> np.ndarray:
    """Joint eigenvectors: those of a generic combination, of which fixed irrational weights are one."""
    weights = np.sqrt(np.arange(2.0, 2.0 + len(a))) * (-1.0) ** np.arange(len(a))
    scaled = a / np.maximum(np.linalg.norm(a, axis=(1, 2), keepdims=True), 1e-300)
    basis = np.linalg.eigh(np.einsum("m,mij->ij", weights, scaled))[1]
    rotated = np.einsum("ki,mkl,lj->mij", basis, scaled, basis)
    off = float(np.max(np.abs(rotated * (1.0 - np.eye(a.shape[1])))))
    if off > 1e-7:
        raise ConditionError(
            "Argument `measurements` must have joint eigenvectors that a combination separates, but the largest entry "
            f"off the joint diagonal is {off:.3g}.",
            measured=off,
            tolerance=1e-7,
        )
    return basis
