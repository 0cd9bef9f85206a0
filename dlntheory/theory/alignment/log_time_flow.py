r"""`log_time_flow`: gradient flow on separable data in logarithmic time, up to $t = e^{10^4}$ and beyond."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..._checks import real_number
from ..._precision import require_float64
from ...display.displayed import Displayed
from ...training import GradientFlow, Trajectory, solve
from ...training.backends.scipy_backend import MAX_PARAMETERS
from ...training.stats import INTERRUPTED
from .admissible_starts import StartWarning, check_not_critical, checked_network, is_admissible, product
from .observables import AlignmentObservables, observe
from .problem import SeparableProblem
from .risk_time import CLOCKS, run_risk_clock

#: An explicit method is taken up to this many support vectors and this condition number of them.
MAX_EXPLICIT_SUPPORT, MAX_EXPLICIT_CONDITION = 10, 100.0
METHODS = ("auto", "tsit5", "dopri8", "stiff", "radau")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AlignmentRun(Displayed):
    r"""A run of gradient flow on separable data.

    Attributes:
        problem: data, loss and margin.
        trajectory: the run as `solve` returns it; its loss underflows to zero beyond $\log t \approx 745$.
        s: $\log(1 + t)$ (time,).
        weights: $W_1, …, W_L$, each (time, d_k, d_{k-1}).
        is_admissible: whether the start had $R \le \ell(0)$.
        interrupted: whether the user stopped the run; its last row is where.
    """

    problem: SeparableProblem
    trajectory: Trajectory
    s: np.ndarray
    weights: tuple[np.ndarray, ...]
    is_admissible: bool
    interrupted: bool = False

    @property
    def depth(self) -> int:
        """$L$."""
        return len(self.weights)

    @cached_property
    def predictors(self) -> np.ndarray:
        """$w = (W_L ⋯ W_1)^T$ (time, d)."""
        return product({str(layer): w for layer, w in enumerate(self.weights)})

    @cached_property
    def log_risk(self) -> np.ndarray:
        r"""$\log R$ (time,), also where $R$ underflows."""
        return self.problem.log_risk(self.predictors)

    @cached_property
    def observables(self) -> AlignmentObservables:
        """Alignment, margins and norms along the run."""
        return observe(self.problem, self.weights)

    def __repr__(self) -> str:
        return (
            f"AlignmentRun({self.problem.name}, {self.problem.loss_name} loss, L = {self.depth}, "
            f"s = {self.s[0]:.4g} to {self.s[-1]:.4g}{', interrupted' if self.interrupted else ''})"
        )

    def _title(self) -> str:
        return "gradient flow on separable data"

    def _facts(self) -> dict[str, Any]:
        last, stats = self.observables, self.trajectory.stats
        worst = last.misalignment.max(axis=1)[-1] if self.depth > 1 else None
        counts = ", ".join(f"{count} {name}" for name, count in stats.counts.items())
        return {
            "problem": repr(self.problem),
            "network": self.trajectory.architecture,
            "log time": f"s = log(1 + t) from {self.s[0]:.6g} to {self.s[-1]:.6g}, {len(self.s)} saved states"
            + (", interrupted" if self.interrupted else ""),
            "start": "risk at most that of zero"
            if self.is_admissible
            else "risk above that of zero: outside the theory",
            "method": f"{stats.method}, rtol {stats.rtol:.1e}, {counts}, {stats.seconds:.3g} s",
            "log risk": f"{self.log_risk[0]:.6g} -> {self.log_risk[-1]:.6g}",
            "misalignment": worst,
            "margin gap": float(last.margin_gap[-1]),
            "1 - cos": float(last.direction_error[-1]),
        }


def log_time_flow(
    problem: SeparableProblem,
    weights: Mapping[str, Any],
    s_max: float = 1e4,
    *,
    ts: int | Sequence[float] | np.ndarray | None = None,
    clock: str = "log_t",
    method: str = "auto",
    rtol: float = 1e-9,
    max_steps: int = 1_000_000,
    progress: bool | None = None,
) -> AlignmentRun:
    r"""Gradient flow $W_k' = -\nabla_k R$ from `weights` to $\log(1 + t) = s_{\max}$.

    In $s = \log(1 + t)$ the flow reads $dW_k/ds = W_{>k}^\top \big(\sum_i c_i Z_i\big) W_{<k}^\top$ with
    $c_i = e^{s + \log|\ell'(z_i)|}/n$. Only the combined exponent is formed, and it stays of order one.

    Args:
        problem: data and loss.
        weights: the start, `"W1"` … `"WL"`, first layer first; the last has one row.
        s_max: the end, at most 1e6.
        ts: increasing values of $s$, or a number of them, by default 150; a number $N$ means 0 and $N - 1$ values
            from 0.01, evenly spaced in $\log s$. For `clock="log_t"` only.
        clock: `"log_t"`; or, as a cross-check that keeps the start and the end only, `"risk"` ($d\tau = R\,dt$)
            or `"risk_normalised"` ($d\sigma = R\|W\|^{L-2} dt$), see `risk_time`.
        method: as in `solve`; `"auto"` takes `"dopri8"` for at most 10 support vectors of condition number below
            100, else `"radau"` if the network has at most 1000 parameters. Real data are stiff in logarithmic time.
        rtol: relative tolerance per step; the absolute one is a hundredth of it.
        max_steps: upper bound on solver steps.
        progress: show a bar; by default on a terminal and in a notebook.

    Returns:
        An `AlignmentRun`. Ctrl-C returns it up to there, with `interrupted` set, for `clock="log_t"`; the others
        keep the end only, and it propagates.

    Warns:
        StartWarning: the start has a risk above that of zero.

    Raises:
        ValueError: malformed arguments, a start that does not fit the data or at which the gradient is zero.
        PrecisionError: JAX is in float32 mode.
        IntegrationError: the solver stopped early.

    Validity:
        The integration is exact up to the tolerance for every start. Rounding moves $c_i$ by $2\cdot 10^{-16} s$.

    References:
        [ji2019gradient] (the flow; the time variable is ours).

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> problem = SeparableProblem([[0.5, 0.5], [0.5, -1.0]], [1, 1])
        >>> run = log_time_flow(problem, {"W1": np.array([[0.2, 0.0]])}, 100.0, ts=20, method="tsit5", rtol=1e-6)
        >>> bool(run.log_risk[-1] < -95)
        True
    """
    require_float64("log_time_flow")
    arch = checked_network(problem, weights)
    check_not_critical(problem, weights)
    if method not in METHODS:
        raise ValueError(f"Argument `method` must be one of {list(METHODS)}, but is {method!r}.")
    if clock not in ("log_t", *CLOCKS):
        raise ValueError(f"Argument `clock` must be one of {['log_t', *CLOCKS]}, but is {clock!r}.")
    s_max = real_number(s_max, "s_max", above=0)
    admissible = is_admissible(problem, weights)
    if not admissible:
        warnings.warn(
            f"The start has log risk {float(problem.log_risk(product(weights))):.4g}, above that of zero, "
            f"{problem.log_risk_of_zero:.4g}: the theorems say nothing about it. `admissible` flips and shrinks it.",
            StartWarning,
            stacklevel=2,
        )
    if clock != "log_t":
        if ts is not None:
            raise ValueError(f'Argument `ts` must be None with clock "{clock}", which keeps both ends only.')
        trajectory, s = run_risk_clock(problem, arch, weights, s_max, clock, rtol, max_steps, progress)
    else:
        chosen = recommended_method(problem, arch.size) if method == "auto" else method
        trajectory = solve(
            GradientFlow(arch, problem.loss),
            weights,
            float(s_max),
            ts=_grid(ts, float(s_max)),
            method=chosen,
            rtol=rtol,
            atol=1e-2 * rtol,
            clock="log_t",
            step_to_ts=chosen in ("tsit5", "dopri8"),
            save_states=True,
            max_steps=max_steps,
            progress=progress,
        )
        s = trajectory.ts
    assert trajectory.states is not None  # `save_states` is set
    layers = tuple(trajectory.states[name] for name in arch.shapes)
    stopped = trajectory.stats.stopped_by == INTERRUPTED
    return AlignmentRun(problem, trajectory, s, layers, admissible, stopped)


def recommended_method(problem: SeparableProblem, size: int) -> str:
    """The method that `"auto"` stands for.

    Args:
        problem: data and loss.
        size: number of weights.

    Raises:
        ValueError: the problem is stiff and the network too large for an implicit method.
    """
    margin = problem.margin
    if len(margin.support) <= MAX_EXPLICIT_SUPPORT and margin.condition < MAX_EXPLICIT_CONDITION:
        return "dopri8"
    if size <= MAX_PARAMETERS:
        return "radau"
    raise ValueError(
        f"Argument `weights` must have at most {MAX_PARAMETERS} entries for data as stiff as these "
        f"({len(margin.support)} "
        f"support vectors of condition {margin.condition:.2g}: an implicit method is needed), but has {size}. Take a "
        'smaller hidden width, on which the theorems do not depend, or method="dopri8" and patience.'
    )


def _grid(ts: Any, end: float) -> Any:
    if ts is None:
        ts = 150
    if not isinstance(ts, (int, np.integer)) or isinstance(ts, bool):
        return ts
    if ts < 3:
        raise ValueError(f"Argument `ts` must be at least 3, but is {ts}.")
    later = np.geomspace(min(1e-2, 1e-3 * end), end, int(ts) - 1)
    return np.concatenate([[0.0], later[:-1], [end]])
