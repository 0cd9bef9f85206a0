r"""Starts of very deep linear networks near the identity, $W_l = I + A_l/L$, and their product for $L \to \infty$.

In the limit $z = X(1)$ with $X' = A(s) X$, $X(0) = I$, and the conserved imbalances become
$D(s) = \partial_s(A + A^\top) + A^\top A - A A^\top$. Where $D(s) = \lambda(s) I$, the symmetric part of
$A = S + N$ is $S(s) = R(s)\,(S_0 + \frac12 \int_0^s \lambda\, I)\,R(s)^\top$ with $R' = N R$, $R(0) = I$.

References:
    [marcotte2026intrinsic].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checks import SQUARABLE, function, real_array, real_number
from .._errors import InfeasibleError
from .._precision import require_float64
from ..architecture import Architecture, Params
from .sampling import checked_chain

MatrixFunction = Callable[[float], Any]


def near_identity(arch: Architecture, generator: MatrixFunction) -> Params:
    r"""The start $W_l = I + A(s_l)/L$, $s_l = (l - \frac12)/L$, of any matrix function $A$ on $[0, 1]$.

    Its imbalances are $L^2 D_l = D(l/L) + O(1/L)$; see `near_identity_balanced` for a start that is relaxed balanced
    without that remainder.

    Args:
        arch: a chain of L square matrices.
        generator: $A$, a function of $s$ that returns a (d, d) array.

    Returns:
        The parameters, one array for each factor, in declared order.

    Raises:
        ValueError: `arch` is no chain of square matrices, or `generator` returns something else than a finite
            (d, d) array.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> near_identity(linear_network((2, 2, 2)), lambda s: [[s, 0.0], [0.0, 1.0]])["W2"].tolist()
        [[1.375, 0.0], [0.0, 1.5]]
    """
    require_float64("near_identity")
    chain, size = _square_chain(arch, "near_identity")
    function(generator, "generator", "of s that returns a matrix")
    depth = len(chain)
    layers = {
        name: jnp.asarray(np.eye(size) + _matrix(generator, (layer + 0.5) / depth, size, "generator") / depth)
        for layer, name in enumerate(chain)
    }
    return {name: layers[name] for name in arch.shapes}


def near_identity_balanced(
    arch: Architecture,
    symmetric: Any,
    *,
    rotation: MatrixFunction | Any = None,
    lam: Callable[[float], float] | float = 0.0,
) -> Params:
    r"""A start near the identity that is exactly relaxed balanced: $L^2 D_l = \lambda(l/L)\, I$ at every depth.

    $W_l = R_l V\,\mathrm{diag}(s_l)\,V^\top R_{l-1}^\top$ with $S_0 = V \mathrm{diag}(\mu) V^\top$, $R_0 = I$,
    $R_l = e^{N(s_l)/L} R_{l-1}$, $s_l = (l-\frac12)/L$, $s_{1}^2 = e^{2\mu/L}$ and
    $s_{l+1}^2 = s_l^2 + \lambda(l/L)/L^2$. For $L \to \infty$, $L(W_l - I)$ becomes the $A$ of `near_identity_product`.

    Args:
        arch: a chain of L square matrices (d, d).
        symmetric: $S_0$ (d, d), the symmetric part of $A(0)$.
        rotation: the skew part $N$ of $A$: a (d, d) array, a function of $s$ that returns one, or `None` for 0.
        lam: $\lambda$, a number or a function of $s$.

    Returns:
        The parameters, one array for each factor, in declared order.

    Raises:
        ValueError: `arch` is no chain of square matrices; $S_0$ is not symmetric or $N$ not skew; non-finite values.
        InfeasibleError: λ is so negative that a squared singular value would be; the message names layer and value.
        PrecisionError: JAX is in float32 mode.

    Validity:
        Relaxed balanced up to rounding at every L. The product converges to `near_identity_product` with order 1/L.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> theta0 = near_identity_balanced(linear_network((2, 2, 2, 2)), [[0.5, 0.2], [0.2, 0.0]], lam=0.9)
        >>> imbalance = theta0["W2"].T @ theta0["W2"] - theta0["W1"] @ theta0["W1"].T
        >>> (9 * imbalance).round(12).tolist()
        [[0.9, 0.0], [0.0, 0.9]]
    """
    require_float64("near_identity_balanced")
    chain, size = _square_chain(arch, "near_identity_balanced")
    depth = len(chain)
    mu, basis = np.linalg.eigh(_symmetric(symmetric, size))
    skew, offset = _rotation_function(rotation, size), _lambda_function(lam)
    squares, frame, layers = np.exp(2 * mu / depth), np.eye(size), {}
    for layer, name in enumerate(chain):
        if layer:
            squares = squares + offset(layer / depth) / depth**2
        if np.min(squares) <= 0:
            raise InfeasibleError(
                f"Argument `lam` must leave all squared singular values positive, but at layer {layer + 1} of "
                f"{depth} the smallest would be {np.min(squares):.3g}: a smaller |lam|, or more layers."
            )
        turned = _exponential_of_skew(skew((layer + 0.5) / depth) / depth) @ frame
        layers[name] = jnp.asarray((turned @ (basis * np.sqrt(squares)[None, :])) @ basis.T @ frame.T)
        frame = turned
    return {name: layers[name] for name in arch.shapes}


def near_identity_product(
    symmetric: Any,
    *,
    rotation: MatrixFunction | Any = None,
    lam: Callable[[float], float] | float = 0.0,
) -> np.ndarray:
    r"""The product in the limit of infinite depth, $z = R(1) \exp(S_0 + \frac12 \bar c\, I)$.

    $\bar c = \int_0^1 (1 - s) \lambda(s)\, ds$. Not jit-compatible (runs on the host): $R$ and
    $\bar c$ are computed by SciPy to about 1e-13.

    Args:
        symmetric: $S_0$ (d, d).
        rotation: $N$, as for `near_identity_balanced`.
        lam: $\lambda$, likewise.

    Returns:
        (d, d), with positive determinant.

    Raises:
        ValueError: $S_0$ is not symmetric, $N$ not skew, or non-finite values.

    References:
        Derived here from $\partial_s S = [N, S] + \frac12 \lambda I$; checked against integration of $X' = AX$.

    Example:
        >>> near_identity_product([[0.0, 0.0], [0.0, 1.0]], lam=2.0).round(6).tolist()
        [[1.648721, 0.0], [0.0, 4.481689]]
    """
    matrix = _symmetric(symmetric)
    mu, basis, size = *np.linalg.eigh(matrix), len(matrix)
    skew, offset = _rotation_function(rotation, size), _lambda_function(lam)
    from scipy.integrate import quad, solve_ivp

    shift, _ = quad(lambda s: (1 - s) * offset(s), 0.0, 1.0, epsabs=1e-14, epsrel=1e-13, limit=200)
    solution = solve_ivp(
        lambda s, frame: (skew(s) @ frame.reshape(size, size)).ravel(),
        (0.0, 1.0),
        np.eye(size).ravel(),
        method="DOP853",
        rtol=1e-13,
        atol=1e-14,
    )
    frame = solution.y[:, -1].reshape(size, size)
    with np.errstate(over="ignore"):
        scales = np.exp(mu + 0.5 * shift)
    if not np.all(np.isfinite(scales)):
        raise ValueError(
            "Argument `symmetric` or `lam` must be small enough for a product that floats hold, but the largest "
            f"eigenvalue of the exponent is {float(np.max(mu)) + 0.5 * shift:.3g}."
        )
    return frame @ (basis * scales[None, :]) @ basis.T


def _square_chain(arch: Architecture, where: str) -> tuple[tuple[str, ...], int]:
    chain, widths = checked_chain(arch, where)
    if len(set(widths)) > 1:
        raise ValueError(
            f"Argument `arch` of `{where}` must have layers of one width, but {arch.name} has widths "
            f"{'-'.join(map(str, widths))}."
        )
    return chain, widths[0]


def _matrix(of_s: MatrixFunction, s: float, size: int, argument: str) -> np.ndarray:
    value = real_array(of_s(s), f"{argument}(s = {s:g})", largest=SQUARABLE)
    if value.shape != (size, size):
        raise ValueError(
            f"Argument `{argument}` must return a finite array of shape {(size, size)}, but at s = {s:g} it returns "
            f"shape {value.shape}."
        )
    return value


def _symmetric(value: Any, size: int | None = None) -> np.ndarray:
    matrix = real_array(value, "symmetric", ndim=2, largest=SQUARABLE)
    expected = (size or len(matrix),) * 2
    if matrix.shape != expected:
        raise ValueError(
            f"Argument `symmetric` must be a finite array of shape {expected}, but has shape {matrix.shape}."
        )
    if (defect := float(np.max(np.abs(matrix - matrix.T)))) > 1e-12 * max(1.0, float(np.max(np.abs(matrix)))):
        raise ValueError(f"Argument `symmetric` must be symmetric, but is off by {defect:.3g}.")
    return 0.5 * (matrix + matrix.T)


def _rotation_function(rotation: Any, size: int) -> Callable[[float], np.ndarray]:
    if rotation is None:
        return lambda s: np.zeros((size, size))
    of_s: MatrixFunction = rotation if callable(rotation) else lambda s: rotation

    def skew(s: float) -> np.ndarray:
        value = _matrix(of_s, s, size, "rotation")
        if (defect := float(np.max(np.abs(value + value.T)))) > 1e-12 * max(
            1.0, float(np.max(np.abs(value)))
        ):
            raise ValueError(
                f"Argument `rotation` must be skew-symmetric, but at s = {s:g} is off by {defect:.3g}."
            )
        return 0.5 * (value - value.T)

    return skew


def _lambda_function(lam: Any) -> Callable[[float], float]:
    of_s: Any = lam if callable(lam) else lambda s: lam

    def value(s: float) -> float:
        return real_number(of_s(s), f"lam(s = {s:g})" if callable(lam) else "lam")

    return value


def _exponential_of_skew(matrix: np.ndarray) -> np.ndarray:
    """$e^N$ of a skew matrix, orthogonal to rounding, from the Hermitian matrix $iN$."""
    values, vectors = np.linalg.eigh(1j * matrix)
    return np.real((vectors * np.exp(-1j * values)[None, :]) @ vectors.conj().T)
