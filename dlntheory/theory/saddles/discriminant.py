r"""Deep diagonal linear discriminant analysis: what scale invariance conserves, and where signs are locked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..._checks import integer, real_array
from ..._errors import ConditionError
from ..._precision import require_float64
from ...display.displayed import Displayed
from ...display.progress import whole_runs
from ...families import diagonal_network
from ...losses.base import checked_array
from ...training import GradientFlow, Trajectory, solve


class DiscriminantCost:
    r"""$J(w) = -\frac{w^\top S_b w}{w^\top S_w w}$, the same for every multiple of $w$.

    Args:
        between: $S_b$ (n, n), symmetric.
        within: $S_w$ (n, n), symmetric and positive definite.

    Raises:
        ValueError: shapes that differ, no symmetric matrices; ConditionError: $S_w$ not positive definite.
    """

    conventions = "J(w) = -(w^T S_b w)/(w^T S_w w)"

    def __init__(self, between: Any, within: Any):
        self.between, self.within = checked_array(between, "between"), checked_array(within, "within")
        for name, matrix in (("between", self.between), ("within", self.within)):
            if matrix.ndim != 2 or not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0.0):
                raise ValueError(f"Argument `{name}` must be a symmetric matrix, but is not.")
        if self.between.shape != self.within.shape:
            raise ValueError(
                f"Argument `within` must have shape {self.between.shape}, but has shape {self.within.shape}."
            )
        if (least := float(np.linalg.eigvalsh(self.within)[0])) <= 0:
            raise ConditionError(
                f"Argument `within` must be positive definite, but has an eigenvalue {least:.3g}.",
                measured=least,
            )

    def __call__(self, w):
        return -(w @ self.between @ w) / (w @ self.within @ w)

    @property
    def optimum(self) -> float:
        """The least value over all $w$: minus the largest generalised eigenvalue."""
        from scipy.linalg import eigh

        return -float(eigh(self.between, self.within, eigvals_only=True)[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class DiscriminantRun(Displayed):
    r"""A gradient flow of $J(a_1 \odot \cdots \odot a_L)$ with what it conserves.

    Attributes:
        trajectory: the run; `z` is $w$.
        depth: $L$.
        norm_drift: largest relative change of any $\|a_l\|_2^2$, which is conserved for every start.
        quasi_norm_drift: largest relative change of $\sum_i |w_i|^{2/L}$, conserved for balanced starts.
        moved: $\|w_{end} - w_0\|/\|w_0\|$.
        is_sign_locked: whether no entry of $w$ changed its sign.
        value: $J$ at the end.
        optimum: the least value of $J$.
    """

    trajectory: Trajectory
    depth: int
    norm_drift: float
    quasi_norm_drift: float
    moved: float
    is_sign_locked: bool
    value: float
    optimum: float

    def __repr__(self) -> str:
        return f"DiscriminantRun(L = {self.depth}, J = {self.value:.6g}, optimum {self.optimum:.6g})"

    def _title(self) -> str:
        return "discriminant of a diagonal network"

    def _facts(self) -> dict[str, Any]:
        return {
            "layers": self.depth,
            "drift of |a_l|^2": self.norm_drift,
            "drift of sum |w_i|^(2/L)": self.quasi_norm_drift,
            "w moved by": self.moved,
            "J": f"{self.value:.6g}, optimum {self.optimum:.6g}",
            "signs": "locked: no entry of w changed its sign" if self.is_sign_locked else "some changed",
        }


def balanced_entries(w: Any, depth: int) -> dict[str, np.ndarray]:
    r"""The balanced start of $w$: $|a_{l,i}| = |w_i|^{1/L}$, the sign in the last layer.

    Raises:
        ValueError: no finite vector, a depth below 1.
    """
    vector, depth = real_array(w, "w", ndim=1), integer(depth, "depth")
    root = np.abs(vector) ** (1.0 / depth)
    layers = {f"w{layer}": root.copy() for layer in range(1, depth + 1)}
    layers[f"w{depth}"] = root * np.where(vector < 0, -1.0, 1.0)
    return layers


@whole_runs()
def discriminant_flow(
    cost: DiscriminantCost, layers: Mapping[str, Any], t1: float, *, rtol: float = 1e-11
) -> DiscriminantRun:
    r"""The gradient flow of $J(a_1 \odot \cdots \odot a_L)$. Ctrl-C propagates.

    As $J$ is invariant to scaling, $\langle a_l, \nabla_{a_l} J\rangle = \langle w, \nabla_w J\rangle = 0$ by Euler's
    identity: every $\|a_l\|_2^2$ is conserved for any start. A balanced start stays balanced, so that it conserves the
    quasi-norm $\sum_i |w_i|^{2/L}$ as well, and for $L \ge 2$ no $w_i$ can change its sign.

    Args:
        cost: $J$.
        layers: `"w1"`, …, `"wL"`, each (n,).
        t1: the end.
        rtol: relative tolerance per step.

    Raises:
        ValueError: malformed arguments; ConditionError: $w = 0$, where $J$ is not defined.

    Validity:
        Exact for the flow; the drifts seen are those of the solver.

    References:
        [li2026implicit].

    Example:
        >>> cost = DiscriminantCost(np.diag([1.0, 3.0]), np.eye(2))
        >>> run = discriminant_flow(cost, balanced_entries([1.0, 0.5], 2), 5.0)
        >>> run.norm_drift < 1e-9, run.quasi_norm_drift < 1e-9, run.is_sign_locked
        (True, True, True)
    """
    require_float64("discriminant_flow")
    depth, width = len(layers), len(cost.within)
    arch = diagonal_network(width, depth)
    start = arch.check(layers, "layers")
    w0 = np.asarray(arch(start))
    if not np.any(w0):
        raise ConditionError(
            "Argument `layers` must not multiply to 0, but does: J is not defined there.", measured=0.0
        )
    flow = GradientFlow(arch, cost)
    run = solve(
        flow,
        start,
        t1,
        ts=100,
        method="dopri8",
        rtol=rtol,
        atol=1e-13,
        step_to_ts=True,
        save_states=True,
    )
    states = run.states or {}
    norms = np.stack([np.sum(np.asarray(leaf) ** 2, axis=1) for leaf in states.values()])
    quasi = np.sum(np.abs(run.z) ** (2.0 / depth), axis=1)
    return DiscriminantRun(
        run,
        depth,
        float(np.max(np.abs(norms / norms[:, :1] - 1))),
        float(np.max(np.abs(quasi / quasi[0] - 1))),
        float(np.linalg.norm(run.z[-1] - w0) / np.linalg.norm(w0)),
        bool(np.all(np.sign(run.z[-1]) == np.sign(w0))),
        float(run.loss[-1]),
        cost.optimum,
    )
