"""Compressed against full training: steps, setup and flow, and matrix completion with a sparse mask."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dlntheory as dln
from dlntheory.reductions.parsimony import (
    CompressedFlow,
    ObservedEntries,
    active_subspaces,
    compress,
    descent,
)
from dlntheory.reductions.parsimony.matrix_completion import _advance
from dlntheory.reductions.parsimony.observed_entries import (
    dense_gradients,
    dense_layout,
    sparse_gradients,
    sparse_layout,
)

from .harness import Row, Times, paired

RATE, SCALE = 0.02, 0.1
COMPRESSED_STEPS = 20_000
ROUNDS = 3
#: The largest ratio of compressed to full: a step costs a two-thousandth, a flow a hundredth.
STEP_LIMIT, FLOW_LIMIT = 1 / 2000, 1 / 100


def rows() -> list[Row]:
    """Full and compressed descent at two sizes, the setup, the flow at d = 200, completion at d = 1000."""
    found = []
    for size, rank, steps in ((500, 5, 12), (1000, 10, 3)):
        found += _descent_rows(size, rank, steps)
    return [*found, _flow_row(200, 5), *_completion_rows()]


def _problem(size: int, rank: int) -> tuple[dln.Architecture, dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    layers = {f"W{i}": SCALE * np.linalg.qr(rng.standard_normal((size, size)))[0] for i in range(1, 4)}
    target = rng.standard_normal((size, rank)) @ rng.standard_normal((rank, size)) / size
    return dln.linear_network((size,) * 4), layers, target


def _descent_rows(size: int, rank: int, steps: int) -> list[Row]:
    arch, layers, target = _problem(size, rank)
    loss = dln.SquaredLoss.from_target(target)
    full = dln.GradientDescent(arch, loss, RATE)

    @jax.jit
    def train_full(state, count):
        return jax.lax.fori_loop(0, count, lambda k, y: full.step(k, y), state)

    start = {name: jnp.asarray(value) for name, value in layers.items()}
    flow = compress(arch, loss, layers)
    small = descent(flow, RATE)

    @jax.jit
    def train_small(state, count):
        return jax.lax.fori_loop(0, count, lambda k, y: small.step(k, y), state)

    small_start = flow.initial(start)
    times = paired(
        lambda: jax.block_until_ready(train_small(small_start, COMPRESSED_STEPS)),
        lambda: jax.block_until_ready(train_full(start, steps)),
        ROUNDS,
    )
    per_step: Times = {
        "ours": times["ours"] / COMPRESSED_STEPS,
        "other": times["other"] / steps,
        "ratio": times["ratio"] * steps / COMPRESSED_STEPS,
    }
    check = 10 * steps
    z = np.asarray(arch(train_full(start, check)))
    gap = float(
        np.linalg.norm(np.asarray(flow.output(train_small(small_start, check))) - z) / np.linalg.norm(z)
    )
    case = f"d = {size}, r = {rank}, L = 3"
    weights = list(layers.values())
    setup = [
        ("subspaces", lambda: active_subspaces(weights, target)),
        ("subspaces, projections and E", lambda: compress(arch, loss, layers)),
    ]
    return [
        Row(
            "parsimony",
            f"one step, {case}",
            "full gradient descent",
            limit=STEP_LIMIT,
            note=f"{1 / per_step['ratio']:.0f} times faster; error of z {gap:.1e} after {check} steps",
            failed=gap > 1e-12,
            **per_step,
        ),
        *(
            Row(
                "parsimony",
                f"setup ({what}), {case}",
                "one full step",
                ours=(ours := _median(make)),
                other=per_step["other"],
                ratio=ours / per_step["other"],
            )
            for what, make in setup
        ),
    ]


def _flow_row(size: int, rank: int) -> Row:
    arch, layers, target = _problem(size, rank)
    loss = dln.SquaredLoss.from_target(target)
    options: dict[str, Any] = {"method": "dopri8", "rtol": 1e-10, "ts": 2, "save_states": False}
    flow: CompressedFlow = compress(arch, loss, layers)
    full = dln.GradientFlow(arch, loss)

    def run(dynamics):
        return dln.solve(dynamics, layers, 25.0, **options)

    gap = np.linalg.norm(run(full).z[-1] - run(flow).z[-1]) / np.linalg.norm(target)
    return Row(
        "parsimony",
        f"flow to t = 25, d = {size}, r = {rank}, L = 3",
        "full gradient flow",
        limit=FLOW_LIMIT,
        note=f"dopri8, rtol 1e-10, error {gap:.0e}; both include checking the start and z at two times",
        **paired(lambda: run(flow), lambda: run(full), 2),
    )


def _completion_rows() -> list[Row]:
    size, rank, estimate, steps = 1000, 5, 10, 20
    rng = np.random.default_rng(0)
    target = rng.standard_normal((size, rank)) @ rng.standard_normal((rank, size))
    target /= np.linalg.norm(target, 2)
    state = (
        jnp.asarray(np.linalg.qr(rng.standard_normal((size, 2 * estimate)))[0]),
        jnp.stack([1e-3 * jnp.eye(2 * estimate)] * 3),
        jnp.asarray(np.linalg.qr(rng.standard_normal((size, 2 * estimate)))[0]),
    )
    rates = (jnp.asarray(1.0), jnp.asarray(0.1))
    found = []
    for density in (0.3, 0.1, 0.02):
        entries = ObservedEntries.from_mask(target, rng.random(target.shape) < density)

        def run(pull, layout):
            return jax.block_until_ready(_advance(pull, layout, state, rates, jnp.asarray(steps)))

        sparse, dense = sparse_layout(entries), dense_layout(entries)
        times = paired(lambda s=sparse: run(sparse_gradients, s), lambda d=dense: run(dense_gradients, d), 3)
        per_step: Times = {
            "ours": times["ours"] / steps,
            "other": times["other"] / steps,
            "ratio": times["ratio"],
        }
        found.append(
            Row(
                "parsimony",
                f"completion step, d = {size}, {100 * density:g} % seen, sparse mask",
                "dense mask",
                note=f"{1e9 * per_step['ours'] / (len(entries) * 2 * estimate):.2f} ns per entry and inner dimension",
                **per_step,
            )
        )
    return found


def _median(make: Callable[[], Any]) -> float:
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        make()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
