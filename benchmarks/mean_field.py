"""The mean-field marching: against the equations as they are printed, and how its time grows.

Each row of the marching multiplies stored matrices by one vector, and waits for memory. The printed equations do
14 L + 16 K such products of whole squares; the package does about a third of them, in units of whole squares, by
rearranging the equations and by reading lower triangles only. What does not pay is to fill a block of rows at once, by
matrix-matrix products that are iterated until the block is consistent: to reach rounding, 14 sweeps were needed for 16
rows and 19 for 32 (L = 2, eta = .05; 10 and 12 at eta = .01), while a product with 16 rows does only 4 times, with 32
rows 6 times as many operations a second as a product with one.
"""

from __future__ import annotations

import time

import numpy as np

from dlntheory.theory.mean_field import MeanFieldConfig, MeanFieldResult, solve
from tests.systems.plain_marching import march_plainly

from .harness import Row, paired

#: Rounds of timing by T.
ROUNDS = {250: 3, 500: 3, 1000: 1}
#: Largest difference between the two ways, of curves that start at 2.
AGREEMENT = 1e-12
#: Processor seconds that are required of one core: T, limit. T = 2000 is left to a run by hand.
REQUIRED = {1000: 5.0}


def rows() -> list[Row]:
    """Ratios of wall time at three lengths, then processor seconds against the requirement."""
    return [*(_against_printed(T) for T in ROUNDS), *(_seconds(T) for T in REQUIRED), _residual()]


def _config(T: int) -> MeanFieldConfig:
    return MeanFieldConfig(T=T, L=2, eta=0.05, nu=1.0, alpha=2.0, sigma=0.5)


def _against_printed(T: int) -> Row:
    config = _config(T)
    ours, printed = solve(config), march_plainly(config)
    gap = max(float(np.max(np.abs(getattr(ours, name) - printed[name]))) for name in ("gen", "train"))
    return Row(
        "mean field",
        f"T = {T}, L = 2, finite data",
        "the equations as printed",
        limit=1.0,
        note=f"largest difference {gap:.0e}",
        failed=gap > AGREEMENT,
        **paired(lambda: solve(config), lambda: march_plainly(config), ROUNDS[T]),
    )


def _seconds(T: int) -> Row:
    seconds, _ = _processor_time(_config(T))
    half, _ = _processor_time(_config(T // 2))
    return Row(
        "mean field",
        f"T = {T}, processor time",
        f"{REQUIRED[T]:g} s",
        ours=seconds,
        ratio=seconds / REQUIRED[T],
        limit=1.0,
        note=f"{seconds / half:.1f} times that of T = {T // 2} (8 if cubic); one thread if OMP_NUM_THREADS=1",
    )


def _residual() -> Row:
    config = MeanFieldConfig(T=51, L=33, eta=0.02, nu=1.0, alpha=2.0, sigma=0.3, residual=1.0)
    seconds, found = _processor_time(config)
    gap = abs(float(found.gen[-1]) - 0.2357349)
    return Row(
        "mean field",
        "32 residual blocks, T = 51",
        "3 s",
        ours=seconds,
        ratio=seconds / 3.0,
        limit=1.0,
        note=f"gen(50) = {found.gen[-1]:.7f}",
        failed=gap > 1e-7,
    )


def _processor_time(config: MeanFieldConfig) -> tuple[float, MeanFieldResult]:
    begin = time.process_time()
    found = solve(config, progress=False)
    return time.process_time() - begin, found
