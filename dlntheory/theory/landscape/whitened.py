r"""`WhitenedLandscape`: the closed forms of this folder with the factors of a real loss, rates and weight decay."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ..._checks import real_array
from ...architecture import Architecture
from ...display.displayed import Displayed
from ...solutions.whitened_problem import WhitenedProblem
from ...training import Training
from .critical import CriticalPoint, critical_points
from .decay import DecayThresholds, decay_thresholds, decayed_mode
from .spectra import hessian_spectrum, ntk_spectrum, sharpness


@dataclasses.dataclass(frozen=True, eq=False)
class WhitenedLandscape(Displayed):
    r"""Spectra, thresholds and critical points of a chain on whitened data, in the units of its loss.

    With layer rates $e_l$ all spectra are those of the rate-preconditioned matrices, which decide the stability of
    gradient descent: of $E^{1/2} H E^{1/2}$, and of $\sum_l e_l\,\partial_l\varphi\,\partial_l\varphi^\top$.

    Attributes:
        problem: target and factors, read off the loss.
        widths: of the chain, input first.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import dlntheory as dln
        >>> from dlntheory.training import Training
        >>> arch = dln.linear_network((2, 3, 2))
        >>> landscape = WhitenedLandscape.of(arch, Training(dln.SquaredLoss.from_target([[2.0, 0.0], [0.0, 1.0]])))
        >>> landscape.largest_stable_step
        0.5
    """

    problem: WhitenedProblem
    widths: tuple[int, ...]

    @classmethod
    def of(cls, arch: Architecture, training: Training) -> WhitenedLandscape:
        """Read target and factors off the loss.

        Raises:
            ValueError: no chain of matrices, or a loss that is not squared.
            ConditionError: the input covariance is no multiple of the identity; says by how much.
        """
        problem = WhitenedProblem.of(arch, training)
        assert arch.widths is not None  # `WhitenedProblem.of` refuses what is no chain
        return cls(problem, tuple(arch.widths))

    @property
    def depth(self) -> int:
        """L."""
        return len(self.widths) - 1

    @property
    def sharpness(self) -> float:
        """The largest Hessian eigenvalue at a balanced minimum, without weight decay."""
        self._without_decay("the sharpness at a balanced minimum")
        self._without_bottleneck("the sharpness at a balanced minimum")
        return self.problem.speed * sharpness(self.problem.target, self.depth)

    @property
    def largest_stable_step(self) -> float:
        r"""$2/\lambda_{\max}$: gradient descent stays at a balanced minimum iff its learning rate is below."""
        return 2.0 / self.sharpness if self.sharpness > 0 else math.inf

    def ntk_spectrum(self, product: Any) -> np.ndarray:
        """Eigenvalues of the tangent kernel times the input covariance at a balanced point with end-to-end map z."""
        matrix = self._product(product)
        s = np.linalg.svd(matrix, compute_uv=False) / self.problem.amplitude
        return self.problem.speed * ntk_spectrum(s, self.widths[-1], self.widths[0], self.depth)

    def hessian_spectrum(self, product: Any) -> np.ndarray:
        """All Hessian eigenvalues of two layers at a balanced point with end-to-end map z, aligned with the target.

        Raises:
            ValueError: not two layers, weight decay, or a z that does not share singular vectors with the target.
        """
        self._two_layers()
        self._without_decay("the Hessian spectrum")
        matrix = self._product(product) / self.problem.amplitude
        left, sigma, right = np.linalg.svd(self.problem.target)
        core = left.T @ matrix @ right.T
        s = np.diag(core).copy()
        defect = float(np.linalg.norm(core - _rectangular_diagonal(s, core.shape)))
        scale = max(float(np.linalg.norm(core)), float(sigma[0]), 1e-300)
        if defect > 1e-10 * scale or np.min(s) < -1e-10 * scale:
            raise ValueError(
                "Argument `product` must share its singular vectors with the target, all modes of one sign, but is off "
                f"by {max(defect, -float(np.min(s))):.3g}."
            )
        s = np.where(s > 1e-14 * scale, s, 0.0)
        return self.problem.speed * hessian_spectrum(
            s, sigma, self.widths[-1], self.widths[0], self.widths[1]
        )

    def critical_points(self) -> list[CriticalPoint]:
        """Critical points of two layers, losses and curvatures in the units of the loss (above its minimum)."""
        self._two_layers()
        self._without_decay("the list of critical points")
        speed = self.problem.speed
        return [
            # f = k c^2 / 2 |p - S|^2 above its minimum, and the curvatures are those in V = W / sqrt(e).
            dataclasses.replace(point, loss=speed * point.loss, lowest=speed * point.lowest)
            for point in critical_points(self.problem.target, self.widths[1])
        ]

    def decay_thresholds(self) -> list[DecayThresholds]:
        r"""Thresholds of every mode of the target, strongest first, in units of the weight decay of the loss."""
        unit = self.problem.speed / self.problem.rates[0]
        self._equal_rates()
        return [
            dataclasses.replace(found, critical=unit * found.critical, spinodal=unit * found.spinodal)
            for sigma in np.linalg.svd(self.problem.target, compute_uv=False)
            if sigma > 0
            for found in [decay_thresholds(float(sigma), self.depth)]
        ]

    def minimiser(self) -> np.ndarray:
        """The global minimiser z of loss and weight decay: every mode shrunk or killed, at most the rank of the net."""
        left, sigma, right = np.linalg.svd(self.problem.target, full_matrices=False)
        s = decayed_mode(sigma, self.problem.decay, self.depth)
        s[min(self.widths) :] = 0.0
        return self.problem.amplitude * (left * s) @ right

    def __repr__(self) -> str:
        return f"WhitenedLandscape({'-'.join(map(str, self.widths))}, {self.problem.conventions})"

    def _title(self) -> str:
        return "landscape on whitened data"

    def _facts(self) -> list[tuple[str, Any]]:
        rows: list[tuple[str, Any]] = [("chain", " -> ".join(map(str, self.widths)))]
        if len(set(self.problem.rates)) == 1:
            rows += [
                (f"mode {i}", f"sigma = {found.sigma:.5g}, gone from weight decay {found.critical:.5g} on")
                for i, found in enumerate(self.decay_thresholds()[:5], start=1)
            ]
        if not self.problem.decay and min(self.widths) == min(self.widths[0], self.widths[-1]):
            rows.append(("largest stable step", f"{self.largest_stable_step:.6g} (balanced minimum)"))
        return [*rows, ("loss", self.problem.conventions)]

    def _product(self, product: Any) -> np.ndarray:
        matrix = real_array(product, "product")
        if matrix.shape != self.problem.target.shape:
            raise ValueError(
                f"Argument `product` must be of shape {self.problem.target.shape}, but has shape {matrix.shape}."
            )
        return matrix

    def _two_layers(self) -> None:
        if self.depth != 2:
            raise ValueError(
                f"Argument `arch` must have two layers for this closed form, but has {self.depth}."
            )

    def _without_decay(self, what: str) -> None:
        if self.problem.decay:
            raise ValueError(f"Argument `weight_decay` must be 0 for {what}, but is positive.")

    def _without_bottleneck(self, what: str) -> None:
        if min(self.widths) < min(self.widths[0], self.widths[-1]):
            raise ValueError(
                f"Argument `arch` must have no bottleneck for {what} (there z = S), but has widths {self.widths}."
            )

    def _equal_rates(self) -> None:
        if max(self.problem.rates) - min(self.problem.rates) > 1e-15 * max(self.problem.rates):
            raise ValueError(
                f"Argument `rates` must be equal for weight-decay thresholds, but are {self.problem.rates}."
            )


def _rectangular_diagonal(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    matrix = np.zeros(shape)
    np.fill_diagonal(matrix, values)
    return matrix
