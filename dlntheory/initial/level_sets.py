"""Starts on level sets of the imbalances: the mixed signature of two layers, and projection of any start."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import SQUARABLE, real_number
from .._errors import InfeasibleError
from .._precision import require_float64
from ..architecture import Architecture, Params
from .balance import checked_lam, checked_product
from .free_directions import free_square
from .index_chains import forced_squares, offsets
from .sampling import check_key, check_scale, checked_chain, orthonormal_columns

SWEEPS = 200


def mixed_balanced(
    arch: Architecture, key: jax.Array, lam: float, mu: float, *, scale: float = 1.0, product: Any = None
) -> Params:
    r"""A random start of two layers whose imbalance has eigenvalues $\lambda$ ($d_2$ times), $-\mu$ ($d_0$ times), 0.

    $S = W_2^\top W_2 - W_1 W_1^\top$. In singular direction $i$ of $z$ two hidden neurons carry
    $W_2 = (\sqrt\lambda \cosh x, \sqrt\mu \sinh x)$, $W_1 = (\sqrt\lambda \sinh x, \sqrt\mu \cosh x)$ with
    $\sinh 2x = \sigma_i/\kappa$, $\kappa = (\lambda + \mu)/2$; the hidden layer is turned by a Haar random matrix.
    Every product $z$ has such starts.

    Args:
        arch: a chain of two matrices.
        key: from `jax.random.key`.
        lam: $\lambda > 0$.
        mu: $\mu > 0$.
        scale: root mean square of the singular values of the random product.
        product: the end-to-end map (d_2, d_0) instead of a random one; leave `scale` at 1 then.

    Returns:
        The parameters, one array for each factor, in declared order.

    Raises:
        InfeasibleError: the hidden width is below $d_0 + d_2$.
        ValueError: no chain of two matrices, λ or μ not positive (one sign alone: `lambda_balanced`), a malformed
            product or key.
        PrecisionError: JAX is in float32 mode.

    References:
        Derived here.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> theta0 = mixed_balanced(linear_network((1, 3, 1)), jax.random.key(0), 0.9, 0.4)
        >>> imbalance = theta0["W2"].T @ theta0["W2"] - theta0["W1"] @ theta0["W1"].T
        >>> [round(float(value), 12) + 0.0 for value in jnp.linalg.eigvalsh(imbalance)]
        [-0.4, 0.0, 0.9]
    """
    require_float64("mixed_balanced")
    chain, widths = checked_chain(arch, "mixed_balanced")
    if len(chain) != 2:
        raise ValueError(
            f"Argument `arch` of `mixed_balanced` must have two layers, but {arch.name} has {len(chain)}."
        )
    check_key(key)
    check_scale(scale)
    lam, mu = (
        real_number(value, name, above=0, maximum=SQUARABLE) for name, value in (("lam", lam), ("mu", mu))
    )
    inputs, hidden, outputs = widths
    if hidden < inputs + outputs:
        raise InfeasibleError(
            f"Argument `arch` must have a hidden width of at least {inputs} + {outputs} for eigenvalues of both signs "
            f"in full number, but layer 1 has width {hidden}."
        )
    key_product, key_turn = jax.random.split(key)
    if product is None:
        z = jax.random.normal(key_product, (outputs, inputs))
        z = z * (jnp.asarray(scale, float) * np.sqrt(min(inputs, outputs)) / jnp.linalg.norm(z))
    else:
        z = jnp.asarray(checked_product(product, scale, arch))
    turn = orthonormal_columns(key_turn, hidden, hidden)
    w1, w2 = _hyperbolic(z, turn, jnp.asarray(lam, float), jnp.asarray(mu, float))
    params = {chain[0]: w1, chain[1]: w2}
    return {name: params[name] for name in arch.shapes}


@jax.jit
def _hyperbolic(z, turn, lam, mu):
    """$W_1$, $W_2$ with product `z` on the level set of λ and μ, the hidden layer turned by `turn`."""
    outputs, inputs = z.shape
    u, s, vt = jnp.linalg.svd(z, full_matrices=True)
    x = 0.5 * jnp.arcsinh(2.0 * s / (lam + mu))
    left, right = (jnp.pad(x, (0, size - len(s))) for size in (outputs, inputs))
    across = jnp.pad(jnp.diag(jnp.sinh(x)), ((0, outputs - len(s)), (0, inputs - len(s))))
    # Neurons: one for each output, one for each input, and the dead ones.
    second = [jnp.sqrt(lam) * jnp.diag(jnp.cosh(left)), jnp.sqrt(mu) * across]
    first = [jnp.sqrt(lam) * across, jnp.sqrt(mu) * jnp.diag(jnp.cosh(right))]
    dead = ((0, 0), (0, len(turn) - outputs - inputs))
    w2 = u @ jnp.pad(jnp.concatenate(second, axis=1), dead) @ turn.T
    w1 = turn @ jnp.pad(jnp.concatenate(first, axis=0), dead[::-1]) @ vt
    return w1, w2


def project_to_relaxed_balanced(
    arch: Architecture, theta0: Mapping[str, Any], lambdas: float | Sequence[float] | np.ndarray
) -> Params:
    r"""A start with $D_l = \lambda_l I$ at every hidden layer, near `theta0` and with the same end-to-end map $z$.

    In the singular bases of $z$ the layers get the singular values that λ and the widths demand (`lambda_balanced`).
    The hidden bases, and those of the null spaces of $z$ and $z^\top$, are what brings the layers nearest to `theta0`
    in Frobenius norm, found by alternating orthogonal Procrustes problems, which descend to a stationary point. A start
    on the level set is returned as it is, up to rounding, and one at a distance δ from it moves by O(δ). Not
    jit-compatible (runs on the host).

    Args:
        arch: a chain of L matrices.
        theta0: the parameters to start from; random Gaussian ones never have $D_l = \lambda_l I$.
        lambdas: $\lambda_1, …, \lambda_{L-1}$; a number for two layers.

    Returns:
        The parameters, one array for each factor, in declared order.

    Raises:
        InfeasibleError: no chain of these widths has these λ; the message names the layer and the widths.
        ValueError: `arch` is no chain, a malformed `theta0`, a wrong number of λ.
        PrecisionError: JAX is in float32 mode.

    Warns:
        UserWarning: the alternation has not settled after 200 sweeps. The start is on the level set all the same, but
            another one may be nearer to `theta0`.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> from dlntheory.initial import gaussian
        >>> arch = linear_network((3, 2, 3))
        >>> near = project_to_relaxed_balanced(arch, gaussian(arch, jax.random.key(0)), 0.5)
        >>> imbalance = near["W2"].T @ near["W2"] - near["W1"] @ near["W1"].T
        >>> bool(jnp.allclose(imbalance, 0.5 * jnp.eye(2)))
        True
    """
    require_float64("project_to_relaxed_balanced")
    chain, widths = checked_chain(arch, "project_to_relaxed_balanced")
    checked = arch.check(theta0)
    lam = checked_lam(lambdas, len(chain), "lambdas")
    forced, shifts, free = forced_squares(widths, lam), offsets(lam), min(widths)
    layers = [np.asarray(checked[name]) for name in chain]
    z = np.linalg.multi_dot(layers[::-1]) if len(layers) > 1 else layers[0]
    u, sigma, vt = np.linalg.svd(z, full_matrices=True)
    # The rounding of z is that of the product of the norms, which may be far above its own norm.
    size = float(np.prod([np.linalg.norm(layer, 2) for layer in layers]))
    rank = int(np.sum(sigma > 4 * max(widths) * np.finfo(float).eps * size))
    t = np.array(free_square(jnp.asarray(sigma[:free] ** 2), jnp.asarray(shifts)))
    t[rank:] = 0.0
    spectra = []
    for layer in range(len(chain)):
        size = min(widths[layer], widths[layer + 1])
        spectra.append(np.sqrt(np.concatenate([t + shifts[layer], forced[layer, free:size]])))
    bases, settled = _nearest_bases(layers, spectra, vt.T, u, rank)
    if not settled:
        warnings.warn(
            f"The nearest start on the level set of {arch.name} was not settled after {SWEEPS} sweeps: the result is "
            "on the level set, but another start there may be nearer to `theta0`.",
            stacklevel=2,
        )
    params = {
        name: jnp.asarray(_assembled(bases[l + 1], spectra[l], bases[l])) for l, name in enumerate(chain)
    }
    return {name: params[name] for name in arch.shapes}


def _assembled(left: np.ndarray, s: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left[:, : len(s)] * s) @ right[:, : len(s)].T


def _nearest_bases(
    layers: Sequence[np.ndarray],
    spectra: Sequence[np.ndarray],
    first: np.ndarray,
    last: np.ndarray,
    rank: int,
) -> tuple[list[np.ndarray], bool]:
    r"""Bases $Q_0, …, Q_L$ that bring $Q_l\,\mathrm{diag}(s_l)\,Q_{l-1}^\top$ nearest to the given layers.

    All hidden bases are free. Of $Q_0$ and $Q_L$ the first `rank` columns are the singular vectors of z, and the
    others may be turned among themselves: in a direction of the null space some layer has the singular value zero, so
    that z does not see how it is turned, but the layers before that one do.

    With all other bases fixed, the best $Q_l$ is the orthogonal factor of a matrix (Procrustes), and the distance falls
    at each step. What decides is the start of this descent. Where the layers are on the level set, $W_1^\top W_1$ has
    the squares $s_1^2$ as eigenvalues, so its eigenvectors in the null space of z, in the order of $s_1$, are a $Q_0$;
    from there one pass upwards finds all the others exactly: $D_l = \lambda_l I$ makes the eigenspaces of
    $W_l W_l^\top$ those of $W_{l+1}^\top W_{l+1}$, and within one of them every basis will do.

    Returns:
        The bases, and whether the descent has come to rest.
    """
    depth = len(layers)
    null = first[:, rank:]
    if null.shape[1]:
        _, vectors = np.linalg.eigh(null.T @ layers[0].T @ layers[0] @ null)
        wanted = np.zeros(len(first))
        wanted[: len(spectra[0])] = spectra[0]
        # Eigenvalues ascend; the largest belongs to the direction with the largest singular value.
        order = np.argsort(np.argsort(wanted[rank:], kind="stable"), kind="stable")
        first = np.concatenate([first[:, :rank], null @ vectors[:, order]], axis=1)
    bases = [first, *(np.eye(layer.shape[0]) for layer in layers[:-1]), last]
    fits = [0.0] * (depth + 1)

    def matched(l: int, below: bool, above: bool) -> np.ndarray:
        """What the layers on both sides would have $Q_l$ be: the gradient of the inner product with them."""
        total = np.zeros_like(bases[l])
        if below:
            s = spectra[l - 1]
            total[:, : len(s)] = layers[l - 1] @ bases[l - 1][:, : len(s)] * s
        if above:
            s = spectra[l]
            total[:, : len(s)] += layers[l].T @ bases[l + 1][:, : len(s)] * s
        return total

    for sweep in range(SWEEPS):
        before = list(fits)
        for l in range(depth + 1):
            # The first pass looks down only: the bases above are still arbitrary.
            above = l < depth and (sweep > 0 or (l == depth - 1 and rank == len(last)))
            if l in (0, depth):
                null = bases[l][:, rank:]
                if (l == 0 and not sweep) or not null.shape[1]:
                    continue
                left, values, right = np.linalg.svd(null.T @ matched(l, l > 0, above)[:, rank:])
                bases[l] = np.concatenate([bases[l][:, :rank], null @ (left @ right)], axis=1)
            else:
                left, values, right = np.linalg.svd(matched(l, True, above))
                bases[l] = left @ right
            fits[l] = float(np.sum(values))
        if sweep > 1 and np.allclose(fits, before, rtol=1e-15, atol=0):
            return bases, True
    return bases, False
