"""The main job on real data: one network on the handwritten digits, by full gradient flow and by reduced dynamics."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from ..compare import Comparison, compare
from ..data import digits
from ..families import linear_network
from ..initial import balanced, gaussian
from ..reductions import reduce
from ..training import GradientFlow
from .curves import Curves

HIDDEN = 100
END = 100.0


@dataclasses.dataclass(frozen=True, repr=False)
class MainJob:
    """Full against reduced training of a 64-100-10 network on the digits, from two starts.

    Attributes:
        balanced: from a balanced start, against the end-to-end flow of $z$.
        gaussian: from a random start, against the Gram flow.
    """

    balanced: Comparison
    gaussian: Comparison

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        return {"balanced": self.balanced.to_dict(), "gaussian": self.gaussian.to_dict()}

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
            f"Balanced start:\n{_indent(self.balanced)}\n\nGaussian start (unbalanced):\n{_indent(self.gaussian)}\n"
        )


@lru_cache(maxsize=1)
def main_job() -> MainJob:
    """Train and compare; takes some ten seconds, most of it compilation.

    Raises:
        ImportError: scikit-learn is missing (extra `dlntheory[data]`).
    """
    arch = linear_network((64, HIDDEN, 10))
    flow = GradientFlow(arch, digits(centred=True).loss())
    runs = []
    for start in (
        balanced(arch, jax.random.key(0), scale=0.1),
        gaussian(arch, jax.random.key(0), scale=0.1),
    ):
        runs.append(compare(flow, reduce(arch, start), start, END, ts=60))
    return MainJob(*runs)


def _indent(comparison: Comparison) -> str:
    return "\n".join("  " + line for line in str(comparison).splitlines())
