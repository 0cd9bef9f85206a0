r"""`kkt_residual`: does a run end at the point of $\{A z = b\}$ nearest to its start in Bregman divergence."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..._precision import require_float64
from ...display.text import card, format_number, key_values


@dataclasses.dataclass(frozen=True)
class BiasReport:
    r"""The two conditions for $z_\infty = \arg\min_{Az = b} D_\Phi(z, z_0)$.

    Attributes:
        fit: $\|A z_\infty - b\| / \|b\|$.
        fit_tolerance: the largest fit residual at which the end counts as reached.
        residual: $\|N^\top d\| / \|d\|$ with $d = \nabla\Phi(z_\infty) - \nabla\Phi(z_0)$ and $N$ an orthonormal
            basis of null(A); `None` if the fit was not reached, since then nothing may be concluded.
        free: the dimension of null(A); with 0 the fit alone determines $z_\infty$.
        divergence: $D_\Phi(z_\infty, z_0)$.
    """

    fit: float
    fit_tolerance: float
    residual: float | None
    free: int
    divergence: float

    @property
    def is_fitted(self) -> bool:
        """Whether the end of the run solves the constraints to the tolerance."""
        return self.fit <= self.fit_tolerance

    def __repr__(self) -> str:
        return f"BiasReport(fit residual {self.fit:.3g}, KKT residual {format_number(self.residual, 3)})"

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card("Implicit bias", facts=self._facts())

    def _facts(self) -> dict[str, Any]:
        if self.residual is None:
            answer = "not reported: the constraints are not met"
        else:
            answer = f"{self.residual:.3g}" + ("" if self.free else " (A has no null space)")
        return {
            "fit residual": f"{self.fit:.3g} (tolerance {self.fit_tolerance:.1g})",
            "KKT residual": answer,
            "free directions": self.free,
            "Bregman divergence": self.divergence,
        }


def kkt_residual(
    potential: Any, matrix: Any, targets: Any, end: Any, *, fit_tolerance: float = 1e-8
) -> BiasReport:
    r"""The KKT residual of a run: how far $\nabla\Phi(z_\infty) - \nabla\Phi(z_0)$ is from the range of $A^\top$.

    Along the (warped) mirror flow of any $f(z) = g(Az)$ it stays in that range; where $A z_\infty = b$, this is
    the optimality condition of the convex problem $\min_{Az = b} D_\Phi(z, z_0)$. Not jit-compatible.

    Args:
        potential: an `AbstractPotential` from `mirror_potential`; it knows $z_0$.
        matrix: $A$, (constraints, entries of z).
        targets: $b$, (constraints,).
        end: $z_\infty$ in the shape of $z$, for example `trajectory.z[-1]`.
        fit_tolerance: the residual is reported only if the relative fit residual is at most this.

    Returns:
        A `BiasReport`.

    Raises:
        ValueError: there is no potential, shapes that do not fit, or a value that is not finite.

    Validity:
        The bias is a theorem for runs that converge to a solution; with a warped flow while the warp stays positive.

    References:
        [gunasekar2018characterizing]; [azulay2021implicit] for warped flows.

    Example:
        >>> import dlntheory as dln, numpy as np
        >>> arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)})
        >>> potential = dln.reductions.mirror.mirror_potential(arch, {"u": np.ones(2), "v": np.zeros(2)})
        >>> report = kkt_residual(potential, [[1.0, 1.0]], [2.0], [1.0, 1.0])
        >>> report.free, report.residual < 1e-15
        (1, True)
    """
    require_float64("kkt_residual")
    if not potential.exists:
        raise ValueError(f"Argument `potential` must be one, but there is none: {potential.reason}.")
    size = int(np.prod(potential.arch.output_shape, dtype=int))
    a, b = np.asarray(matrix, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    z = np.asarray(end, dtype=np.float64)
    if a.ndim != 2 or a.shape[1] != size:
        raise ValueError(f"Argument `matrix` must have shape (constraints, {size}), but has shape {a.shape}.")
    if b.shape != a.shape[:1]:
        raise ValueError(f"Argument `targets` must have shape {a.shape[:1]}, but has shape {b.shape}.")
    if z.shape != potential.arch.output_shape:
        raise ValueError(
            f"Argument `end` must have shape {potential.arch.output_shape}, but has shape {z.shape}."
        )
    for name, value in (("matrix", a), ("targets", b), ("end", z)):
        if not np.all(np.isfinite(value)):
            raise ValueError(
                f"Argument `{name}` must be finite, but {np.sum(~np.isfinite(value))} entries are not."
            )
    fit = float(np.linalg.norm(a @ z.ravel() - b)) / (float(np.linalg.norm(b)) or 1.0)
    _, singular, rows = np.linalg.svd(a, full_matrices=True)
    rank = int(np.sum(singular > max(a.shape) * np.finfo(float).eps * singular[0])) if singular.size else 0
    null = rows[rank:]
    change = np.ravel(np.asarray(potential.gradient(z)) - np.asarray(potential.gradient(potential.start)))
    size_of_change = float(np.linalg.norm(change))
    residual = float(np.linalg.norm(null @ change)) / size_of_change if size_of_change else 0.0
    return BiasReport(
        fit=fit,
        fit_tolerance=float(fit_tolerance),
        residual=residual if fit <= fit_tolerance else None,
        free=len(null),
        divergence=float(potential.bregman(z)),
    )
