"""`fibre_divergence`: full flows from different parameters with one $z$ and one value of all laws."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...display.progress import keeps_partial, progress_bar, whole_runs
from ...display.text import card, key_values
from ...laws import ConservationLaws
from ...training import GradientFlow, solve
from .fibre_points import fibre_companions


@dataclasses.dataclass(frozen=True)
class FibreDivergence:
    r"""How far the $z(t)$ of full flows from different points of one fibre are apart.

    Attributes:
        network: name of the architecture.
        distances: of the companions from the start, in parameters.
        spreads: $|M(\theta) - M(\theta_0)| / |M(\theta_0)|$ at the companions.
        gaps: $\max_t |z_k(t) - z_0(t)| / \max_t |z_0(t)|$ for each companion.
        interrupted: whether the user stopped it: the companions are those that were run to the end.
    """

    network: str
    distances: tuple[float, ...]
    spreads: tuple[float, ...]
    gaps: tuple[float, ...]
    interrupted: bool = False

    @property
    def gap(self) -> float:
        """The largest gap."""
        return max(self.gaps)

    def __repr__(self) -> str:
        largest = max(self.gaps, default=0.0)
        mark = ", interrupted" if self.interrupted else ""
        return f"FibreDivergence({self.network}: {len(self.gaps)} companions, gap of z(t) at most {largest:.1e}{mark})"

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card(f"Companions of {self.network}", facts=self._facts())

    def _facts(self) -> list[tuple[str, Any]]:
        return [
            ("network", self.network),
            (
                "companions at",
                ", ".join(f"{value:.3g}" for value in self.distances)
                + (" (interrupted)" if self.interrupted else ""),
            ),
            ("spread of M", ", ".join(f"{value:.1e}" for value in self.spreads)),
            ("gap of z(t)", ", ".join(f"{value:.1e}" for value in self.gaps)),
        ]


def fibre_divergence(
    flow: GradientFlow,
    theta0: Mapping[str, Any],
    t1: float,
    *,
    laws: ConservationLaws | None = None,
    count: int = 1,
    seed: int = 0,
    rtol: float = 1e-11,
    ts: Any = 20,
    progress: bool | None = None,
) -> FibreDivergence:
    r"""Train from `theta0` and from other points of its fibre, and compare $z(t)$.

    A cheaper check than `ImplicitFlow` of the same property: where the dynamics of $z$ is intrinsic on the level set,
    there is one $z(t)$. Not jit-compatible. Ctrl-C returns the companions that are done, with `interrupted` set;
    before the first one `KeyboardInterrupt` is raised.

    Args:
        flow: the full flow, with unit rates and without weight decay.
        theta0: the start.
        t1: end of the runs.
        laws: by default `conservation_laws(flow.architecture)`.
        count: the number of companions.
        seed: determines them.
        rtol: of the runs, by Dopri8.
        ts: see `solve`; every save is a step.
        progress: show a bar; by default on a terminal and in a notebook.

    Raises:
        ValueError: the flow has weight decay or rates, or no companion was found (the fibre may be one point).
        IntegrationError: a run stopped early.
    """
    training = flow.training
    if training.is_decaying or training.rates:
        raise ValueError(
            f"Argument `flow` must have unit rates and no weight decay, but has {training.conventions}."
        )
    found = fibre_companions(flow.architecture, theta0, laws=laws, count=count, seed=seed, progress=progress)
    if not found:
        raise ValueError(
            "Argument `theta0` must have other points in its fibre, but none was found: z and the laws may determine "
            "theta (see `intrinsic`)."
        )
    options: dict[str, Any] = {"method": "dopri8", "rtol": rtol, "ts": ts, "step_to_ts": True}
    runs = []
    interrupted = False
    with progress_bar(1 + len(found), "companions", unit="run", progress=progress) as bar:
        try:
            for theta in (theta0, *(companion.theta for companion in found)):
                with whole_runs():
                    runs.append(solve(flow, theta, t1, progress=False, **options).z)
                bar.update()
        except KeyboardInterrupt:
            if len(runs) < 2 or not keeps_partial():
                raise
            interrupted = True
    found = found[: len(runs) - 1]
    size = float(np.max(np.linalg.norm(runs[0].reshape(len(runs[0]), -1), axis=1))) or 1.0
    gaps = [
        float(np.max(np.linalg.norm((run - runs[0]).reshape(len(run), -1), axis=1))) / size
        for run in runs[1:]
    ]
    return FibreDivergence(
        network=flow.architecture.name,
        distances=tuple(companion.distance for companion in found),
        spreads=tuple(companion.spread for companion in found),
        gaps=tuple(gaps),
        interrupted=interrupted,
    )
