r"""Spectra in closed form on whitened data: tangent kernel of any depth, full Hessian of two layers, sharpness.

All for $\frac12\|z - S\|_F^2$ with unit rates, at balanced points aligned with $S$: $z = U\,\mathrm{diag}(s)\,V^\top$,
$S = U\,\mathrm{diag}(\sigma)\,V^\top$. `WhitenedLandscape` puts in the factors of a real loss.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..._checks import integer, real_array


def ntk_spectrum(singular_values: Any, outputs: int, inputs: int, depth: int) -> np.ndarray:
    r"""Eigenvalues of the tangent kernel $\partial\varphi\,\partial\varphi^\top$ at a balanced point, whitened inputs.

    All $m_L(s_k^2, s_l^2) = \sum_{j=1}^L s_k^{2(L-j)/L} s_l^{2(j-1)/L}$, $k$ over outputs and $l$ over inputs, with
    $s = 0$ for empty directions. A mode paired with an empty one gives $s^{2-2/L}$, which is $s$ only for $L = 2$.

    Args:
        singular_values: of $z$, at most min(outputs, inputs) of them, at least 0; missing ones are 0.
        outputs: $d_L$.
        inputs: $d_0$.
        depth: $L \ge 1$.

    Returns:
        (outputs * inputs,) in increasing order.

    Raises:
        ValueError: too many, negative or infinite singular values, sizes below 1.

    References:
        [arora2018optimization] for the operator.

    Example:
        >>> print(ntk_spectrum([4.0], 1, 2, 2), ntk_spectrum([8.0], 1, 2, 3))
        [4. 8.] [16. 48.]
    """
    depth = integer(depth, "depth")
    s = _checked_modes("singular_values", singular_values, outputs, inputs)
    left = np.concatenate([s, np.zeros(outputs - len(s))])
    right = np.concatenate([s, np.zeros(inputs - len(s))])
    terms = [
        left[:, None] ** (2 * (depth - j) / depth) * right[None, :] ** (2 * (j - 1) / depth)
        for j in range(1, depth + 1)
    ]
    return np.sort(np.sum(terms, axis=0).ravel())


def hessian_spectrum(s: Any, sigma: Any, outputs: int, inputs: int, hidden: int) -> np.ndarray:
    r"""All $h(d + o)$ Hessian eigenvalues of two layers at a balanced point aligned with the target.

    With $r = \min(d, o)$ and $e_i = s_i - \sigma_i$: per mode $2 s_i + e_i$ and $-e_i$; per pair of modes the four
    eigenvalues of $v_1 v_1^\top + v_2 v_2^\top$ plus couplings $e_k$, $e_i$; $s_i$ with multiplicity $d + o - 2r$;
    $\pm e_i$ with multiplicity $h - r$; zeros. With $h < r$ the modes beyond $h$ have no hidden direction: a pair
    (present $j$, absent $m$) gives $s_j \pm e_m$.

    Args:
        s: (r,) singular values of $z$ along the modes of the target, at least 0, at most `hidden` of them not 0.
        sigma: (r,) the target along the same modes, any order and sign.
        outputs: $o$.
        inputs: $d$.
        hidden: $h \ge 1$.

    Returns:
        (hidden * (inputs + outputs),) in increasing order.

    Raises:
        ValueError: shapes that do not fit, a negative or infinite value, more modes than hidden units.

    Validity:
        Exact where $z$ and $S$ share singular vectors and the layers are balanced: at every critical point of the
        balanced flow, and along an aligned trajectory.

    References:
        Derived here.

    Example:
        >>> print(hessian_spectrum([2.0], [2.0], 1, 1, 1), hessian_spectrum([0.0], [2.0], 1, 1, 1))
        [0. 4.] [-2.  2.]
    """
    hidden = integer(hidden, "hidden")
    s = _checked_modes("s", s, outputs, inputs)
    sigma = real_array(sigma, "sigma", ndim=1)
    r = min(outputs, inputs)
    if s.shape != (r,) or sigma.shape != (r,):
        raise ValueError(
            f"Arguments `s` and `sigma` must be of shape ({r},), one for each mode, but have shapes "
            f"{s.shape} and {sigma.shape}."
        )
    if np.count_nonzero(s) > hidden:
        raise ValueError(
            f"Argument `s` must have at most {hidden} nonzero entries, the number of hidden units, but has "
            f"{np.count_nonzero(s)}."
        )
    # With a bottleneck every nonzero mode needs a hidden direction; empty modes fill the rest.
    order = np.argsort(s == 0, kind="stable")
    s, e = s[order], (s - sigma)[order]
    present = min(r, hidden)
    values = [2 * s[:present] + e[:present], -e[:present]]
    for i, k in itertools.combinations(range(present), 2):
        v = np.sqrt([[0.0, s[k], s[i], 0.0], [s[i], 0.0, 0.0, s[k]]])
        block = v.T @ v
        block[[0, 2], [2, 0]] += e[k]
        block[[1, 3], [3, 1]] += e[i]
        values.append(np.linalg.eigvalsh(block))
    values.append(np.repeat(s[:present], outputs + inputs - 2 * r))
    for sign in (1.0, -1.0):
        values.append(np.repeat(sign * e, max(hidden - r, 0)))
        values.append((s[:present, None] + sign * e[None, present:]).ravel())
    values.append(np.zeros(max(hidden - r, 0) * (outputs + inputs - 2 * r)))
    return np.sort(np.concatenate(values)) + 0.0  # no -0


def sharpness(target: Any, depth: int) -> float:
    r"""The largest Hessian eigenvalue at a balanced minimum $z = S$: $L\,\sigma_1^{2 - 2/L}$.

    Gradient descent with step $\eta$ is stable there iff $\eta < 2/\lambda_{\max}$. Unbalanced minima are sharper: a
    scalar network $ab = \sigma$ has $a^2 + b^2 \ge 2\sigma$, so that a large step selects balanced minima.

    Args:
        target: $S$, a matrix.
        depth: $L \ge 1$.

    Raises:
        ValueError: no matrix, or not finite.

    References:
        [mulayoff2020unique].

    Example:
        >>> sharpness([[2.0, 0.0], [0.0, 1.0]], 2)
        4.0
    """
    depth = integer(depth, "depth")
    matrix = real_array(target, "target", ndim=2)
    return float(depth * np.linalg.norm(matrix, 2) ** (2.0 - 2.0 / depth))


def _checked_modes(name: str, values: Any, outputs: int, inputs: int) -> np.ndarray:
    integer(outputs, "outputs")
    integer(inputs, "inputs")
    modes = real_array(values, name, ndim=1, empty=True)
    if len(modes) > min(outputs, inputs):
        raise ValueError(
            f"Argument `{name}` must have shape (modes,) with at most {min(outputs, inputs)} modes, but has shape "
            f"{modes.shape}."
        )
    if np.any(modes < 0):
        raise ValueError(
            f"Argument `{name}` must be at least 0, but its smallest entry is {np.min(modes):g}."
        )
    return modes
