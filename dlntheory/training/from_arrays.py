"""What a trajectory is made of, out of arrays that a training loop elsewhere has kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .._checks import real_array
from .._precision import require_float64
from ..architecture import Architecture
from .backends.compiling import Compiled
from .base import AbstractFlow, State
from .batches import refuse_traced
from .recording import LawMonitor, quantities, record
from .rules.gradient_flow import GradientFlow
from .stats import Stats


class ArrayRun(NamedTuple):
    """The arguments of `trajectory_of`, in its order."""

    process: AbstractFlow
    clock: str
    ts: np.ndarray
    rows: dict[str, Any]
    final: dict[str, Any]
    stats: Stats


@Compiled
def _rows(flow: AbstractFlow, monitor: LawMonitor | None, ts: Any, states: State) -> dict[str, Any]:
    first = jax.tree.map(lambda leaf: leaf[0], states)
    reference = quantities(flow, ts[0], first, monitor)

    def row(point: Any) -> dict[str, Any]:
        t, state = point
        return record(flow, t, state, reference, monitor=monitor, with_state=False)

    return jax.lax.map(row, (ts, states))


def run_of_arrays(
    ts: Any,
    params: Any,
    arch: Architecture,
    loss: Callable[[Any], Any],
    *,
    laws: Callable[[dict[str, Any]], Any] | None,
) -> ArrayRun:
    """Rows of gradient flow at given parameters; see `Trajectory.from_arrays`."""
    require_float64("Trajectory.from_arrays")
    refuse_traced(ts, params)
    times = real_array(ts, "ts", ndim=1)
    if np.any(np.diff(times) <= 0):
        raise ValueError("Argument `ts` must be strictly increasing, but is not.")
    begin = time.perf_counter()
    states = _stacked(arch, params, len(times))
    flow = GradientFlow(arch, loss)
    monitor = None if laws is None else LawMonitor(laws)
    traces = _rows.traces
    rows = jax.tree.map(np.asarray, _rows(flow, monitor, times, states))
    stats = Stats(
        method="given arrays",
        rtol=None,
        atol=None,
        counts={"times": len(times)},
        seconds=time.perf_counter() - begin,
        compiled=_rows.traces > traces,
    )
    final = {name: leaf[-1] for name, leaf in states.items()}
    return ArrayRun(flow, "t", times, {**rows, "state": states}, final, stats)


def _stacked(arch: Architecture, params: Any, count: int) -> State:
    """Parameters by name with a leading time axis."""
    is_sequence = isinstance(params, Sequence) and not isinstance(params, (str, bytes))
    if is_sequence and len(params) == count and not _has_time_axis(arch, params, count):
        points = [arch.check(one, f"params[{number}]") for number, one in enumerate(params)]
        return {name: np.stack([np.asarray(point[name]) for point in points]) for name in arch.shapes}
    named = arch.named(params, "params")
    if not isinstance(named, Mapping) or set(named) != set(arch.shapes):
        raise ValueError(
            f"Argument `params` must hold exactly the factors {list(arch.shapes)} of {arch.name}, but holds "
            f"{sorted(map(str, named))}."
        )
    states = {}
    for name, shape in arch.shapes.items():
        array = real_array(named[name], f"params['{name}']")
        if array.shape != (count, *shape):
            raise ValueError(
                f"Argument `params['{name}']` must have shape {(count, *shape)}, times first, but has shape "
                f"{array.shape}."
            )
        states[name] = array
    return states


def _has_time_axis(arch: Architecture, params: Any, count: int) -> bool:
    """Whether a sequence is the pytree that φ takes, with stacked arrays, and not one of parameters."""
    try:
        named = arch.named(params, "params")
    except ValueError:
        return False
    return all(
        name in named and np.shape(named[name]) == (count, *shape) for name, shape in arch.shapes.items()
    )
