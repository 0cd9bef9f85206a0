"""`find_closure`: a closed system of observables that training obeys, found automatically."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ...architecture import Architecture
from ...display.progress import waiting
from .closure_result import Closure
from .closure_search import Level, check_arguments, search_closure


def find_closure(
    arch: Architecture,
    hints: Sequence[Any] = (),
    *,
    max_degree: int = 8,
    max_generators: int = 60,
    time_limit: float = 60.0,
    balanced: Mapping[int, float] | float | None = None,
    level: Level = "auto",
    propose: bool = True,
    seed: int = 0,
    progress: bool | None = None,
) -> Closure:
    r"""Observables $o$ of the parameters with $\dot o = -T(o)[\nabla f(z)]$ and $z = z(o)$, for every loss $f$.

    First φ is read as words in its matrices, and the words are closed: matrix equations that hold for all widths, in
    milliseconds. Where φ has no such reading, or its words do not close, single entries are closed: exactly, modulo a
    prime, with coefficients found over the rationals and verified at fresh points.

    Args:
        arch: the architecture; φ must be polynomial.
        hints: further observables to start from: texts such as `"tr(W2 W2^T)"`, `"det(W2)"`, `"W3 W2 W2^T W3^T"`,
            polynomial JAX functions of the parameters, or SymPy expressions in the symbols of `arch.symbolic()`.
        max_degree: the largest degree of an observable that is not part of $z$.
        max_generators: the largest number of observables.
        time_limit: seconds, for all attempts together.
        balanced: scalar laws to use, $D_l = W_{l+1}^\top W_{l+1} - W_l W_l^\top = \lambda_l I$, as `{l: lambda}`, or
            one λ for all; the result then holds only for starts that meet them, which its dynamics measures.
        level: `"words"` or `"entries"` to try only one.
        propose: add traces and determinants of the factors where entries do not close by themselves.
        seed: determines all random points.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Returns:
        A `Closure`. A search that meets a bound is no error: its status is `"open"`. So it is after Ctrl-C, with
        `interrupted` set and the attempts so far, the last with the observables that it had collected.

    Raises:
        ValueError: φ divides by parameters, a malformed argument, a hint that names no factor, a λ for an interface
            that φ does not have.
        UnsupportedPrimitiveError: φ is not polynomial; the message names the operation and its line.
        NoReductionError: `balanced` is given, but φ is not one word in its matrices.

    Validity:
        Exact for gradient flow with equal layer rates, for every differentiable loss of $z$. The observables are a
        closed set, not proven to be the smallest one.

    References:
        Derived for dlntheory, in the setting of [marcotte2026intrinsic].

    Example:
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> arch = dln.Architecture(lambda p: p["U"] @ p["U"].T, {"U": (4, 9)}, name="tied")
        >>> find_closure(arch)
        Closure(tied: closed in z, 36 parameters -> 16 numbers)
    """
    check_arguments(arch, hints, max_degree, max_generators, time_limit, level)
    deadline = time.perf_counter() + time_limit
    with waiting(f"closing the dynamics of {arch.name}", progress):
        found = search_closure(
            arch,
            hints,
            max_degree=max_degree,
            max_generators=max_generators,
            time_limit=time_limit,
            balanced=balanced,
            level=level,
            propose=propose,
            seed=seed,
        )
        return Closure(**vars(found)).prepare(deadline)
