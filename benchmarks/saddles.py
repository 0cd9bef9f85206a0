"""The whole saddle-to-saddle path of three layers by scale: explicit against implicit steps, and wide networks."""

from __future__ import annotations

import time

import numpy as np

from dlntheory.losses import SquaredLoss
from dlntheory.theory.saddles import PathRun, follow_path

from .harness import Row

ALPHAS = (1e-1, 1e-2, 1e-3)
WIDE = 20


def rows() -> list[Row]:
    """Widths 5 at three scales, rtol 1e-6, explicit and LSODA; widths 20 (1200 parameters), explicit and Krylov."""
    found = []
    times: dict[str, list[float]] = {"dopri8": [], "stiff": []}
    for alpha in ALPHAS:
        runs = {}
        for method in times:
            runs[method], seconds = _timed(5, alpha, method)
            times[method].append(seconds)
        found.append(
            Row(
                "saddles",
                f"whole path, L = 3, widths 5, alpha = {alpha:g}, LSODA",
                "Dopri8",
                ours=times["stiff"][-1],
                other=times["dopri8"][-1],
                ratio=times["stiff"][-1] / times["dopri8"][-1],
                note=f"{_steps(runs['stiff'])} against {_steps(runs['dopri8'])} steps",
            )
        )
    for method, seconds in times.items():
        growth = np.log10(seconds[-1] / seconds[0]) / np.log10(ALPHAS[0] / ALPHAS[-1])
        found.append(
            Row("saddles", f"growth of the time with 1/alpha, {method}", "", note=f"exponent {growth:.2f}")
        )
    (wide, implicit), (explicit_run, explicit) = _timed(WIDE, 1e-3, "krylov"), _timed(WIDE, 1e-3, "dopri8")
    found.append(
        Row(
            "saddles",
            f"whole path, L = 3, {3 * WIDE**2} parameters, alpha = 0.001, Krylov",
            "Dopri8",
            ours=implicit,
            other=explicit,
            ratio=implicit / explicit,
            note=f"{_steps(wide)} against {_steps(explicit_run)} steps",
        )
    )
    return found


def _timed(width: int, alpha: float, method: str) -> tuple[PathRun, float]:
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((width, width)))[0] for _ in range(2))
    s = np.zeros(width)
    s[:3] = (3.0, 1.8, 1.0)
    cost = SquaredLoss.from_target((left * s) @ right.T)
    size = 1.0 if width == 5 else 1 / np.sqrt(width)
    theta0 = {f"W{layer}": size * rng.standard_normal((width, width)) for layer in (1, 2, 3)}

    def run() -> PathRun:
        return follow_path(cost, theta0, alpha, 20 / alpha, method=method, rtol=1e-6, ts=_saves(method))

    run()
    begin = time.perf_counter()
    result = run()
    return result, time.perf_counter() - begin


def _saves(method: str) -> int | str:
    return "steps" if method == "stiff" else 200


def _steps(run: PathRun) -> int:
    return sum(count for name, count in run.trajectory.stats.counts.items() if "steps" in name)
