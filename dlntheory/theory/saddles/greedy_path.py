r"""The greedy low-rank algorithm, and the piecewise width-$k$ description of a saddle-to-saddle path."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..._checks import integer, integers, real_number
from ..._errors import IntegrationError
from ..._precision import require_float64
from ...display.displayed import Displayed
from ...display.progress import keeps_partial, progress_bar, whole_runs
from ...display.text import one_line
from ...families import linear_network
from ...training import GradientFlow, SteadyState, Trajectory, solve
from .chain_inputs import Cost, check_depth, negative_gradient
from .plateaus import CONJECTURE

#: The flow of a width counts as stationary where its gradient has fallen to this fraction of its largest scale.
STATIONARY = 1e-12
INTERRUPTED = "interrupted"


@dataclasses.dataclass(frozen=True, eq=False)
class GreedyPoint:
    r"""The critical point that the network of one width ends at.

    Attributes:
        width: $k$.
        weights: the width-$k$ network, by name; empty for $k = 0$.
        z: the map $A_k$ (d_out, d_in).
        loss: $C(A_k)$.
        singular_value: the leading singular value of $G(A_{k-1})$ that was followed to it, nan for $k = 0$.
        segment: the run that leads to it, in a network padded with zero neurons; `None` for $k = 0$.
    """

    width: int
    weights: dict[str, np.ndarray]
    z: np.ndarray
    loss: float
    singular_value: float
    segment: Trajectory | None

    def __repr__(self) -> str:
        return one_line(self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class GreedyPath(Displayed):
    """The critical points of width 0, 1, 2, …; that gradient flow visits them is a conjecture.

    Attributes:
        points: one `GreedyPoint` for each width.
        depth: $L$.
        eps: size of the weights of a new neuron.
        stopped_by: why it ended, in words.
    """

    points: tuple[GreedyPoint, ...]
    depth: int
    eps: float
    stopped_by: str

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped it."""
        return self.stopped_by == INTERRUPTED

    @property
    def losses(self) -> np.ndarray:
        """$C(A_k)$ for k = 0, 1, …"""
        return np.array([point.loss for point in self.points])

    @property
    def z(self) -> np.ndarray:
        """$A_k$ (k, d_out, d_in)."""
        return np.stack([point.z for point in self.points])

    @property
    def singular_values(self) -> np.ndarray:
        """The leading singular value of $G(A_{k-1})$ for k = 1, 2, …"""
        return np.array([point.singular_value for point in self.points[1:]])

    def description(self) -> tuple[np.ndarray, np.ndarray]:
        """All segments in a row: losses (n,) and maps (n, d_out, d_in). Times are not comparable with a run's."""
        segments = [point.segment for point in self.points if point.segment is not None]
        if not segments:
            return self.losses[:1], self.z[:1]
        return np.concatenate([s.loss for s in segments]), np.concatenate([s.z for s in segments])

    def __repr__(self) -> str:
        return f"GreedyPath(L = {self.depth}, widths 0 to {self.points[-1].width}, {self.stopped_by})"

    def _title(self) -> str:
        return f"greedy low-rank path, L = {self.depth}"

    def _facts(self) -> dict[str, str]:
        return {"widths added": f"eps = {self.eps:g}", "ended": self.stopped_by}

    def _notes(self) -> list[str]:
        return [f"as the limit of gradient flow: {CONJECTURE}"]

    def _tables(self) -> list[tuple[Any, ...]]:
        rows = [(one.width, one.loss, one.singular_value) for one in self.points]
        return [(rows, ("width", "loss", "singular value followed"))]


def greedy_low_rank(
    cost: Cost,
    shape: tuple[int, int],
    depth: int,
    *,
    eps: float = 1e-3,
    k_max: int | None = None,
    tol: float = 1e-10,
    gtol: float = 1e-9,
    t_max: float = 1e5,
    rtol: float = 1e-8,
    progress: bool | None = None,
) -> GreedyPath:
    r"""Greedy low-rank learning: widen by one neuron along the leading pair of $G$, train to the end, repeat.

    From width $k = 0$, $A = 0$: stop if $C(A) <$ `tol`, $s_1(G(A)) <$ `gtol` or $k =$ `k_max`; give every hidden layer
    one neuron (new row of $W_1$: $\epsilon v^\top$; new diagonal entries: $\epsilon$; new column of $W_L$: $\epsilon
    u$; zeros elsewhere); run the gradient flow of the wider network until it is stationary.

    The network is padded with zero neurons to width `k_max`. They stay exactly zero, so that all widths share one
    compiled program. Ctrl-C returns the widths that are done, with `interrupted` set.

    Args:
        cost: $C$, a convex function of $z$.
        shape: (d_out, d_in).
        depth: $L \ge 2$.
        eps: size of the new weights.
        k_max: largest width, by default the smaller side of $z$.
        tol: loss at which to stop.
        gtol: gradient at which to stop.
        t_max: bound on the time of one flow. Escape takes $\epsilon^{-(L-2)}/((L-2) s)$: more layers need a larger
            `eps`.
        rtol: relative tolerance of the flows.
        progress: show a bar; by default on a terminal and in a notebook.

    Raises:
        ValueError: malformed arguments, a network of more than 1000 parameters (take a smaller `k_max`).
        IntegrationError: a flow is not stationary at `t_max`.

    Validity:
        The algorithm is defined for every smooth cost. For whitened regression $C(A_k) = \frac12\sum_{i>k} s_i^2$. That
        gradient flow from vanishing weights follows it is a conjecture (Jacot et al. 2021; for depth 2 compare Li, Luo,
        Lyu 2021).

    Example:
        >>> import dlntheory as dln
        >>> path = greedy_low_rank(dln.SquaredLoss.from_target(np.diag([2.0, 1.0])), (2, 2), 2)
        >>> path.losses.round(8).tolist(), path.stopped_by
        ([2.5, 0.5, 0.0], 'loss below 1e-10')
    """
    require_float64("greedy_low_rank")
    layers = check_depth(depth)
    rows, columns = integers(shape, "shape", at_least=2)[:2]
    widest = min(rows, columns) if k_max is None else integer(k_max, "k_max")
    for name, value in {"eps": eps, "tol": tol, "gtol": gtol, "t_max": t_max}.items():
        real_number(value, name, above=0)
    arch = linear_network((columns, *[widest] * (layers - 1), rows))
    flow = GradientFlow(arch, cost)
    weights = {name: np.zeros(size) for name, size in arch.shapes.items()}
    z = np.zeros((rows, columns))
    points = [GreedyPoint(0, {}, z, float(cost(jnp.asarray(z))), float("nan"), None)]
    reason = ""
    with progress_bar(widest, "greedy low rank", unit="width", progress=progress) as bar:
        while not reason:
            k = len(points) - 1
            left, s, right = np.linalg.svd(negative_gradient(cost, z))
            reason = _reason(points[-1].loss, float(s[0]), k, widest, tol, gtol)
            if reason:
                break
            weights["W1"][k] = eps * right[0]
            for layer in range(2, layers):
                weights[f"W{layer}"][k, k] = eps
            weights[f"W{layers}"][:, k] = eps * left[:, 0]
            try:
                segment = _stationary(flow, weights, float(s[0]), eps, k + 1, t_max, rtol)
            except KeyboardInterrupt:
                if not keeps_partial():
                    raise
                reason = INTERRUPTED
                break
            weights = {name: np.array(leaf) for name, leaf in segment.final.items()}
            z, loss = np.asarray(segment.z[-1]), float(segment.loss[-1])
            points.append(GreedyPoint(k + 1, _cut(weights, k + 1, layers), z, loss, float(s[0]), segment))
            bar.update()
    return GreedyPath(tuple(points), layers, float(eps), reason)


def matched_distances(run: Any, path: GreedyPath, levels: Any) -> np.ndarray:
    r"""$\|A(t) - A_{greedy}\|_F$ where both have the same loss, (levels,).

    The piecewise width-$k$ description is compared with a run at matched loss levels, never at equal times: the time
    shift between them diverges as $\alpha \to 0$. Take `eps` of the greedy path equal to $\alpha$.

    Args:
        run: from `follow_path`.
        path: from `greedy_low_rank`.
        levels: losses between the first and the last of both.

    Raises:
        ValueError: a level that one of them does not pass.

    Validity:
        Both maps are interpolated linearly in the loss between recorded steps. Agreement as $\alpha \to 0$ is
        conjectured.
    """
    wanted = np.atleast_1d(np.asarray(levels, dtype=float))
    ours, greedy = (run.loss, run.z), path.description()
    return np.array([np.linalg.norm(_at_loss(*ours, one) - _at_loss(*greedy, one)) for one in wanted])


def _at_loss(losses: np.ndarray, maps: np.ndarray, level: float) -> np.ndarray:
    below = np.flatnonzero(losses <= level)
    if not len(below) or below[0] == 0:
        raise ValueError(
            f"Argument `levels` must lie between {losses[-1]:.4g} and {losses[0]:.4g}, but has {level:.4g}."
        )
    after = int(below[0])
    share = (losses[after - 1] - level) / (losses[after - 1] - losses[after])
    return maps[after - 1] + share * (maps[after] - maps[after - 1])


def _reason(loss: float, s: float, k: int, widest: int, tol: float, gtol: float) -> str:
    if loss < tol:
        return f"loss below {tol:g}"
    if s < gtol:
        return f"gradient below {gtol:g}"
    return f"width {widest} reached" if k == widest else ""


@whole_runs()
def _stationary(
    flow: GradientFlow,
    weights: dict[str, np.ndarray],
    s: float,
    eps: float,
    width: int,
    t_max: float,
    rtol: float,
) -> Trajectory:
    """The flow until its gradient vanishes; at the start it is of size eps^(L-1) s already, so the level lies below."""
    depth = len(weights)
    level = STATIONARY * s if depth == 2 else min(STATIONARY * s, 1e-3 * eps ** (depth - 1) * s)
    # Rounding in the gradient is of size 1e-16 times curvature and weights: no level below can be reached.
    level = max(level, 1e-13 * s)
    run = solve(
        flow,
        weights,
        t_max,
        ts="steps",
        method="stiff",
        rtol=rtol,
        atol=min(1e-10 * eps, 1e-13),
        stop=SteadyState(rtol=0.0, atol=level),
        save_states=True,
        # From one saddle to the next: that the start has no component along later modes is meant.
        check=False,
        progress=False,
    )
    if run.stats.stopped_by is None:
        raise IntegrationError(
            f"The flow of width {width} is not stationary at t_max = {t_max:g}: the gradient has not fallen to "
            f"{level:.1e}. Escape alone takes about {_escape(eps, depth, s):.1e}: raise `t_max` or `eps`.",
            trajectory=run,
        )
    return run


def _escape(eps: float, depth: int, s: float) -> float:
    return np.log(1 / eps) / s if depth == 2 else eps ** -(depth - 2) / ((depth - 2) * s)


def _cut(weights: dict[str, np.ndarray], width: int, depth: int) -> dict[str, np.ndarray]:
    """The first neurons; the padding must have stayed zero, exactly."""
    cut = {}
    for number in range(1, depth + 1):
        layer = weights[f"W{number}"]
        rows = layer.shape[0] if number == depth else width
        columns = layer.shape[1] if number == 1 else width
        if np.any(layer[rows:]) or np.any(layer[:, columns:]):
            raise IntegrationError(f"The padding of layer W{number} did not stay zero.")
        cut[f"W{number}"] = layer[:rows, :columns].copy()
    return cut
