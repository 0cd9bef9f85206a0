"""The main job on real data: one network on the handwritten digits, by full gradient flow and by reduced dynamics."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import jax

from ..catalogue import linear_network
from ..compare import Comparison, compare
from ..data import digits
from ..dynamics import GradientFlow
from ..initial import balanced, gaussian
from ..reductions import reduce

HIDDEN = 100
END = 100.0


@dataclasses.dataclass(frozen=True)
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
        runs.append(compare(flow, reduce(arch, start), start, END, saves=60))
    return MainJob(*runs)


def _indent(comparison: Comparison) -> str:
    return "\n".join("  " + line for line in str(comparison).splitlines())
