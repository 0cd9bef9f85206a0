r"""`rank_one_flow`: gradient flow of a balanced network of rank one, the rich limit of the mean-field theory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..._checks import integer, real_array, real_number
from ...display.displayed import Displayed


@dataclasses.dataclass(frozen=True, eq=False)
class RankOneRun(Displayed):
    r"""Test error along the flow, with its exact logarithmic slope.

    Attributes:
        ts: (time,) times.
        gen: (time,) $\sum_k \lambda_k (B_{*k} - B_k)^2$.
        slope: (time,) $-d \log \mathrm{gen}/d \log t$, from the right side of the flow.
        norm: (time,) $|B|$.
    """

    ts: np.ndarray
    gen: np.ndarray
    slope: np.ndarray
    norm: np.ndarray

    def __repr__(self) -> str:
        return f"RankOneRun(to t = {self.ts[-1]:g}, gen {self.gen[-1]:.4g}, slope {self.slope[-1]:.4g})"

    def _title(self) -> str:
        return "rank-one flow of the test error"

    def _facts(self) -> list[tuple[str, str]]:
        return [
            ("time", f"t from {self.ts[0]:g} to {self.ts[-1]:g}, {len(self.ts)} saved states"),
            ("gen", f"{self.gen[0]:.4g} -> {self.gen[-1]:.4g}"),
            ("slope at the end", f"{self.slope[-1]:.4g} (of log gen against log t, with its sign changed)"),
            ("norm of B", f"{self.norm[0]:.4g} -> {self.norm[-1]:.4g}"),
        ]


def rank_one_flow(
    modes: Mapping[str, Any], L: int, times: Any, *, start: float = 1e-3, rtol: float = 1e-7
) -> RankOneRun:
    r"""Integrate the flow of the end-to-end vector of a balanced network with $L$ hidden layers and one output.

    $$\dot B = |B|^{2L/(L+1)} \big[\, g + L\, u\, (u \cdot g) \,\big], \qquad g = \Lambda (B_* - B), \quad u = B/|B|,$$

    from $|B(0)|$ = `start` along $\Lambda B_*$, by an implicit method (the spectrum is stiff).

    Args:
        modes: `lam`, `p`, `teacher2` as from `power_law_modes`; $B_{*k}^2 = p_k b_k^2$.
        L: number of hidden layers.
        times: increasing positive times.
        start: norm of the start.
        rtol: relative tolerance of the solver.

    Raises:
        ValueError: `times` are not increasing and positive.
        RuntimeError: the solver gave up; the message is its own.

    Example:
        >>> run = rank_one_flow({"lam": [1.0], "p": [1.0], "teacher2": [1.0]}, 1, [1.0, 30.0])
        >>> bool(run.gen[-1] < 1e-6)
        True
    """
    from scipy.integrate import solve_ivp

    L = integer(L, "L")
    if not isinstance(modes, Mapping) or not {"lam", "p", "teacher2"} <= set(modes):
        raise ValueError(
            "Argument `modes` must be a dict with `lam`, `p` and `teacher2`, as from `power_law_modes`."
        )
    lam, p, teacher2 = (
        real_array(modes[name], f"modes['{name}']", ndim=1) for name in ("lam", "p", "teacher2")
    )
    ts = np.atleast_1d(real_array(times, "times"))
    rtol = real_number(rtol, "rtol", above=0, below=1)
    if not (np.all(ts > 0) and np.all(np.diff(ts) > 0)):
        raise ValueError(f"Argument `times` must be positive and increasing, but is {times!r}.")
    target = np.sqrt(p * teacher2)
    direction = lam * target
    initial = real_number(start, "start", above=0) * direction / np.linalg.norm(direction)
    power = 2.0 * L / (L + 1)

    def velocity(t: float, b: np.ndarray) -> np.ndarray:
        norm = np.linalg.norm(b)
        g = lam * (target - b)
        return norm**power * (g + (L * (b @ g) / norm**2) * b)

    def diagonal(t: float, b: np.ndarray) -> np.ndarray:
        # Of the Jacobian, a diagonal of rates from 1 to 1e-24 plus rank two: enough for Newton's method to converge,
        # hundreds of times cheaper than the whole, and no matrix for a threaded library to fight over.
        norm2, g = b @ b, lam * (target - b)
        along = (b @ g) / norm2
        inner = L * (along + b * (g - lam * b) / norm2 - 2.0 * b**2 * along / norm2) - lam
        outer = (power / norm2) * b * (g + L * along * b)
        return (norm2 ** (power / 2) * (inner + outer))[None, :]

    found = solve_ivp(
        velocity,
        (0.0, ts[-1]),
        initial,
        method="LSODA",
        t_eval=ts,
        jac=diagonal,
        lband=0,
        uband=0,
        rtol=rtol,
        atol=rtol * start * 1e-3,
    )
    if not found.success:
        raise RuntimeError(
            f"The integration of the rank-one flow stopped at t = {found.t[-1]:g}: {found.message}"
        )
    states = found.y.T
    gen = np.array([np.sum(lam * (target - b) ** 2) for b in states])
    fall = np.array([2.0 * (lam * (target - b)) @ velocity(0.0, b) for b in states])
    return RankOneRun(ts, gen, ts * fall / gen, np.linalg.norm(states, axis=1))
