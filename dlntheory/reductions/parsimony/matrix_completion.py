"""`complete`: matrix completion by a small deep network between two thin factors that move at a discrepant rate."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import integer, real_number
from ..._errors import IntegrationError
from ..._precision import require_float64
from ...display.displayed import Displayed
from ...display.progress import keeps_partial, progress_bar
from ...display.text import format_number
from .observed_entries import ObservedEntries, dense_gradients, dense_layout, sparse_gradients, sparse_layout

Kernel = Literal["auto", "sparse", "dense"]
#: Above this density the product of the whole matrix is faster than touching single entries.
DENSE_FROM = 0.15


@dataclasses.dataclass(frozen=True, eq=False)
class Completion(Displayed):
    r"""A completed matrix $z = U\,C_L \cdots C_1\,V^\top$ and how it was found.

    Attributes:
        left: U (d_L, k).
        core: $C_L \cdots C_1$ (k, k).
        right: V (d_0, k).
        iterations: (records,) iterations after which the loss was recorded.
        loss: (records,) $\frac12\sum_\Omega (z_{ij} - \Phi_{ij})^2$.
        test_error: (records,) relative errors against `reference`, if one was given, else `None`.
        converged: whether the loss fell below `tolerance` times its start.
        kernel: `"sparse"` or `"dense"`.
        seconds: wall time of the iterations, compilation included.
        interrupted: whether the user stopped it; the matrix is the one after the last recorded iteration.
    """

    left: np.ndarray
    core: np.ndarray
    right: np.ndarray
    iterations: np.ndarray
    loss: np.ndarray
    test_error: np.ndarray | None
    converged: bool
    kernel: str
    seconds: float
    interrupted: bool = False

    def entries(self, rows: Any, columns: Any) -> np.ndarray:
        """Completed entries $z_{ij}$, without forming the matrix."""
        return np.sum((self.left @ self.core)[np.asarray(rows)] * self.right[np.asarray(columns)], axis=-1)

    def matrix(self) -> np.ndarray:
        """The whole completed matrix (d_L, d_0)."""
        return self.left @ self.core @ self.right.T

    def error(self, target: Any) -> float:
        r"""$\|z - \Phi\|_F / \|\Phi\|_F$ against the true matrix."""
        return float(np.linalg.norm(self.matrix() - np.asarray(target)) / np.linalg.norm(target))

    @property
    def _ending(self) -> str:
        return "interrupted" if self.interrupted else "converged" if self.converged else "not converged"

    def _facts(self) -> list[tuple[str, str]]:
        rows = [
            ("matrix", f"{len(self.left)} x {len(self.right)}, inner dimension {len(self.core)}"),
            ("iterations", f"{self.iterations[-1]}, {self._ending}"),
            (
                "loss",
                f"{format_number(self.loss[0])} -> {format_number(self.loss[-1])} (1/2 sum over entries)",
            ),
            ("step", f"{self.kernel} kernel, {self.seconds:.3g} s in all"),
        ]
        if self.test_error is not None:
            rows.insert(3, ("error", f"{format_number(self.test_error[-1])} relative, whole matrix"))
        return rows

    def _title(self) -> str:
        return "completion by a compressed network"

    def __repr__(self) -> str:
        return (
            f"Completion({len(self.left)} x {len(self.right)}, {self.iterations[-1]} iterations, "
            f"loss {self.loss[-1]:.3e}, {self._ending})"
        )


def complete(
    entries: ObservedEntries,
    rank: int,
    *,
    learning_rate: float,
    discrepant_rate: float,
    depth: int = 3,
    scale: float = 1e-3,
    steps: int = 20_000,
    tolerance: float = 1e-8,
    save_every: int = 50,
    kernel: Kernel = "auto",
    reference: Any = None,
    progress: bool | None = None,
    seed: int = 0,
) -> Completion:
    r"""Complete a low-rank matrix from some of its entries by gradient descent on a compressed deep network.

    $z = U C_L \cdots C_1 V^\top$ with $k = 2\hat r$, $C_l(0) = \epsilon I$, and U, V from the leading $\hat r$ singular
    vectors of the observed matrix and their images under a random orthogonal product of layers. The cores move at
    the rate $\eta$, the thin factors at the smaller, *discrepant* rate $\eta \cdot$ `discrepant_rate`: with 0 they
    never reach the range of $\Phi$, which the observed matrix shows only roughly.

    A step costs observed entries times k (`kernel="sparse"`), or a product of the whole matrix.

    Args:
        entries: what is known.
        rank: $\hat r$, an upper estimate of the rank.
        learning_rate: $\eta$, for the loss as a *sum* over entries.
        discrepant_rate: factor on $\eta$ for U and V, at least 0. The best one depends on the normalisation of the
            target; there is no universal default.
        depth: L.
        scale: $\epsilon$.
        steps: most iterations.
        tolerance: stop when the loss is below this fraction of its start.
        save_every: iterations between two looks at the loss.
        kernel: `"sparse"`, `"dense"`, or `"auto"`: dense from 15 % observed entries on, where it is faster.
        reference: the true matrix, if known: its relative error is recorded as well (one more product a save).
        progress: show a bar; by default on a terminal and in a notebook.
        seed: of the random orthogonal product.

    Returns:
        A `Completion`. Ctrl-C returns what was recorded by then, with `interrupted` set.

    Raises:
        ValueError: a rank with $2\hat r$ beyond the matrix, rates, depth or steps out of range.
        IntegrationError: the iteration diverged.
        PrecisionError: JAX is in float32 mode.

    Validity:
        A heuristic: with a mask the subspaces are not invariant, so that nothing here is exact.

    References:
        [yaras2024compressible] (discrepant rates).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> target = np.outer(rng.standard_normal(40), rng.standard_normal(40)) / 40
        >>> seen = ObservedEntries.from_mask(target, rng.random((40, 40)) < 0.5)
        >>> found = complete(seen, 2, learning_rate=1.0, discrepant_rate=0.1, scale=0.05, steps=2000)
        >>> bool(found.error(target) < 0.01)
        True
    """
    require_float64("complete")
    _check(entries, rank, learning_rate, discrepant_rate, depth, scale, steps, tolerance, save_every, kernel)
    truth = None if reference is None else np.asarray(reference, dtype=np.float64)
    if truth is not None and truth.shape != entries.shape:
        raise ValueError(
            f"Argument `reference` must have shape {entries.shape}, but has shape {truth.shape}."
        )
    chosen = ("dense" if entries.density > DENSE_FROM else "sparse") if kernel == "auto" else kernel
    layout: Any = dense_layout(entries) if chosen == "dense" else sparse_layout(entries)
    left, right = _outer_factors(entries, rank, np.random.default_rng(seed))
    cores = jnp.stack([scale * jnp.eye(2 * rank)] * depth)
    state = (jnp.asarray(left), cores, jnp.asarray(right))
    rates = (jnp.asarray(float(learning_rate)), jnp.asarray(float(learning_rate * discrepant_rate)))
    gradients = dense_gradients if chosen == "dense" else sparse_gradients

    begin = time.perf_counter()
    iterations, losses, errors, done = [0], [float(_loss(gradients, layout, state))], [], 0
    if truth is not None:
        errors.append(_error(state, truth))
    converged = interrupted = False
    with progress_bar(steps, "completing", unit=" steps", progress=progress) as bar:
        while done < steps and not converged:
            count = min(save_every, steps - done)
            try:
                moved, value = _advance(gradients, layout, state, rates, jnp.asarray(count))
                loss = float(value)
                if not math.isfinite(loss):
                    raise IntegrationError(
                        f"complete diverged between iterations {done} and {done + count} (learning rate "
                        f"{learning_rate:g}): the loss is a sum over entries, so that a step size found for the mean "
                        "is too large here."
                    )
                error = None if truth is None else _error(moved, truth)
            except KeyboardInterrupt:
                if not keeps_partial():
                    raise
                interrupted = True
                break
            state, done = moved, done + count
            iterations.append(done)
            losses.append(loss)
            if error is not None:
                errors.append(error)
            bar.update(count)
            bar.set_postfix_str(f"loss {loss:.2e}")
            converged = loss <= tolerance * losses[0]
    return Completion(
        left=np.asarray(state[0]),
        core=np.asarray(_product(state[1])),
        right=np.asarray(state[2]),
        iterations=np.asarray(iterations),
        loss=np.asarray(losses),
        test_error=np.asarray(errors) if errors else None,
        converged=converged,
        kernel=chosen,
        seconds=time.perf_counter() - begin,
        interrupted=interrupted,
    )


def _product(cores):
    return functools.reduce(lambda below, factor: factor @ below, list(cores))


@functools.partial(jax.jit, static_argnums=0)
def _loss(gradients: Callable, layout, state):
    left, cores, right = state
    return gradients(layout, left @ _product(cores), right)[0]


@functools.partial(jax.jit, static_argnums=0)
def _advance(gradients: Callable, layout, state, rates, count):
    """`count` steps, and the loss after them."""
    rate, outer = rates

    def step(_, state):
        left, cores, right = state
        inner, core_vjp = jax.vjp(_product, cores)
        _, gradient_left, gradient_right = gradients(layout, left @ inner, right)
        (core_gradient,) = core_vjp(left.T @ gradient_left)
        return (
            left - outer * (gradient_left @ inner.T),
            cores - rate * core_gradient,
            right - outer * gradient_right,
        )

    state = jax.lax.fori_loop(0, count, step, state)
    left, cores, right = state
    return state, gradients(layout, left @ _product(cores), right)[0]


def _outer_factors(
    entries: ObservedEntries, rank: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    r"""$P_L$ and $P_1$ with $P_L = Q P_1$ for a random orthogonal Q, of which only this part is ever drawn.

    $P_1$ spans the leading right vectors V and $Q^\top U$, U the leading left ones. $Q^\top U$ is a random frame and Q
    takes the rest of $P_1$ to another one.
    """
    u, v = entries.leading_vectors(rank)
    frame = np.linalg.qr(rng.standard_normal((entries.shape[1], rank)))[0]
    right, _ = np.linalg.qr(np.hstack([frame, v]))
    left, _ = np.linalg.qr(np.hstack([u, rng.standard_normal((entries.shape[0], rank))]))
    # QR may flip columns; only the pairing of a frame vector with its left vector matters.
    right[:, :rank] *= np.sign(np.sum(right[:, :rank] * frame, axis=0))
    left[:, :rank] *= np.sign(np.sum(left[:, :rank] * u, axis=0))
    return left, right


def _error(state, truth: np.ndarray) -> float:
    left, cores, right = (np.asarray(part) for part in state)
    z = left @ np.linalg.multi_dot([*cores[::-1], right.T]) if len(cores) > 1 else left @ cores[0] @ right.T
    return float(np.linalg.norm(z - truth) / np.linalg.norm(truth))


def _check(
    entries, rank, learning_rate, discrepant_rate, depth, scale, steps, tolerance, save_every, kernel
) -> None:
    if not isinstance(entries, ObservedEntries):
        raise ValueError(
            f"Argument `entries` must be ObservedEntries, but is {type(entries).__name__}: use "
            "`ObservedEntries.from_mask(target, mask)`."
        )
    # Twice the rank must fit into the matrix.
    integer(rank, "rank", maximum=(min(entries.shape) - 1) // 2)
    for argument, value in (("learning_rate", learning_rate), ("scale", scale), ("tolerance", tolerance)):
        real_number(value, argument, above=0)
    real_number(discrepant_rate, "discrepant_rate", minimum=0)
    for argument, value in (("depth", depth), ("steps", steps), ("save_every", save_every)):
        integer(value, argument)
    if kernel not in get_args(Kernel):
        raise ValueError(f"Argument `kernel` must be one of {list(get_args(Kernel))}, but is {kernel!r}.")
