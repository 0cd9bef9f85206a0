"""The main job on real data: one network on the handwritten digits, by full gradient flow and by reduced dynamics."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from ..compare import compare
from ..comparison import Comparison
from ..data import digits
from ..display.text import text_table
from ..families import linear_network
from ..initial import balanced, gaussian
from ..reductions import reduce
from ..training import GradientFlow
from .curves import Curves

HIDDEN = 100
END = 100.0
#: Hidden widths at which one evaluation of each velocity is timed: a reduction of z does not grow with the width.
WIDTHS = (HIDDEN, 16 * HIDDEN)
REPEATS = 50


@dataclasses.dataclass(frozen=True, repr=False)
class MainJob:
    """Full against reduced training of a 64-100-10 network on the digits, from two starts.

    Attributes:
        balanced: from a balanced start, against the end-to-end flow of $z$.
        gaussian: from a random start, against the flow of Gram matrices.
        speeds: hidden width -> seconds of one evaluation of the full and of the reduced velocity, balanced start.
    """

    balanced: Comparison
    gaussian: Comparison
    speeds: Mapping[int, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        return {
            "balanced": self.balanced.to_dict(),
            "gaussian": self.gaussian.to_dict(),
            "seconds_of_a_velocity": {
                str(width): {"full": full, "reduced": reduced}
                for width, (full, reduced) in self.speeds.items()
            },
        }

    def figures(self) -> tuple[dict[str, Curves], ...]:
        """Losses, and errors of the reductions: for each a panel for both starts."""
        starts = {
            "balanced start, end-to-end flow": self.balanced,
            "Gaussian start, Gram flow": self.gaussian,
        }
        time = "gradient-flow time $t$"
        losses = {
            title: Curves(
                time,
                "loss $f(z)$",
                {
                    "full flow": (run.full.ts, run.full.loss),
                    "reduced flow": (run.full.ts, run.reduced.loss),
                },
            )
            for title, run in starts.items()
        }
        errors = {
            # At the start both are the same matrix, whose error 0 has no place on a logarithmic axis.
            title: Curves(
                time,
                "error of $z$, relative to the largest norm",
                {"error of the reduced flow": (run.full.ts[1:], np.asarray(run.error)[1:])},
                scale="log-y",
            )
            for title, run in starts.items()
        }
        return losses, errors

    def __repr__(self) -> str:
        return f"MainJob(balanced {self.balanced!r}, Gaussian {self.gaussian!r})"

    def _repr_html_(self) -> str:
        return f"<div>{self.balanced._repr_html_()}<hr>{self.gaussian._repr_html_()}</div>"

    def __str__(self) -> str:
        return (
            "Digits (1797 images), full gradient flow against reduced dynamics\n\n"
            f"Balanced start:\n{_indent(self.balanced)}\n\nGaussian start (unbalanced):\n{_indent(self.gaussian)}\n\n"
            f"{self._speed_table()}\n"
        )

    def _speed_table(self) -> str:
        """At which width a reduced run is faster, and at which it is not."""
        rows = [
            (
                f"64-{width}-10",
                f"{1e3 * full:.2g} ms",
                f"{1e3 * reduced:.2g} ms",
                "the reduction" if reduced < full else "the full network",
            )
            for width, (full, reduced) in self.speeds.items()
        ]
        return "One evaluation of the velocity, balanced start, on this machine:\n" + text_table(
            rows, ("network", "full", "reduced", "faster"), "lrrl"
        )


@lru_cache(maxsize=1)
def main_job() -> MainJob:
    """Train and compare; takes some ten seconds, most of it compilation.

    Raises:
        ImportError: scikit-learn is missing (extra `dlntheory[data]`).
    """
    arch = linear_network((64, HIDDEN, 10))
    flow = GradientFlow(arch, digits(centred=True).loss())
    first, second = (
        compare(flow, reduce(arch, start), start, END, ts=60, timing=False)
        for start in (maker(arch, jax.random.key(0), scale=0.1) for maker in (balanced, gaussian))
    )
    return MainJob(first, second, {width: _speeds(width) for width in WIDTHS})


def _speeds(width: int) -> tuple[float, float]:
    """Seconds of one evaluation of the full and of the reduced velocity at a balanced start, compilation excluded."""
    arch = linear_network((64, width, 10))
    full = GradientFlow(arch, digits(centred=True).loss())
    start = balanced(arch, jax.random.key(0), scale=0.1)
    found = []
    for dynamics in (full, reduce(arch, start).bind(full.training)):
        velocity = jax.jit(lambda state, dynamics=dynamics: dynamics.velocity(0.0, state))
        state = dynamics.initial(start)
        jax.block_until_ready(velocity(state))
        began = time.perf_counter()
        for _ in range(REPEATS):
            jax.block_until_ready(velocity(state))
        found.append((time.perf_counter() - began) / REPEATS)
    return found[0], found[1]


def _indent(comparison: Comparison) -> str:
    # The runs were not timed again, so that their times include compilation; the table of speeds is below.
    lines = (line for line in str(comparison).splitlines() if not line.startswith("speed-up"))
    return "\n".join("  " + line for line in lines)
