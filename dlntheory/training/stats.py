"""`Stats`: how a run was made, which stands in its trajectory and in its file."""

from __future__ import annotations

import dataclasses

#: `Stats.stopped_by` of a run that the user ended with Ctrl-C.
INTERRUPTED = "interrupted"


@dataclasses.dataclass(frozen=True)
class Stats:
    """How a run was made.

    Attributes:
        method: solver or iteration.
        rtol: relative tolerance per step (`None` for an iteration).
        atol: absolute tolerance per step, derived from the start unless given (`None` for an iteration).
        counts: steps accepted and rejected, or evaluations, by name.
        seconds: wall time of the call.
        compiled: whether that time includes a compilation.
        stopped_by: the event that ended the run early, `"interrupted"` if the user did, or `None`.
        float64: whether JAX computed in float64.
        warning: how near a reduction came to the edge of its domain, or `None`.
    """

    method: str
    rtol: float | None
    atol: float | None
    counts: dict[str, int]
    seconds: float
    compiled: bool
    stopped_by: str | None = None
    float64: bool = True
    warning: str | None = None
