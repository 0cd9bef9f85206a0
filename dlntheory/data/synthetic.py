"""Synthetic data with the spectra and teachers of the theory, each drawn from an explicit key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .._checks import SQUARABLE, integer, integers, real_array, real_number
from .._precision import require_float64
from ..initial.sampling import check_key
from .dataset import Dataset


def linear_teacher(
    key: jax.Array, samples: int, inputs: int, outputs: int, *, rank: int | None = None, noise: float = 0.0
) -> Dataset:
    r"""Gaussian inputs and targets $y = B x + \sigma \varepsilon$ from a random linear teacher of given rank.

    $x \sim N(0, I_d)$, $\varepsilon \sim N(0, I_k)$. The teacher has entries of mean zero and variance $1/d$,
    so that each noise-free target has variance about one: Gaussian at full rank, else $B = A C / \sqrt{r d}$
    with Gaussian $A$ (k, r) and $C$ (r, d).

    Args:
        key: from `jax.random.key`.
        samples: $n$.
        inputs: $d$.
        outputs: $k$.
        rank: $r$, from 1 to min(k, d); by default full.
        noise: $\sigma \ge 0$.

    Returns:
        Inputs (n, d), targets (n, k), and the teacher $B$ (k, d) as `.teacher`.

    Raises:
        ValueError: a size that is not positive, a rank out of range, negative noise, a malformed key.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> data = linear_teacher(jax.random.key(0), samples=50, inputs=6, outputs=3, rank=2)
        >>> data, int(np.linalg.matrix_rank(data.targets))
        (Dataset(linear teacher of rank 2: 50 samples, 6 inputs, 3 targets), 2)
    """
    require_float64("linear_teacher")
    check_key(key)
    samples, inputs, outputs = (
        integer(samples, "samples"),
        integer(inputs, "inputs"),
        integer(outputs, "outputs"),
    )
    largest = min(inputs, outputs)
    r = largest if rank is None else integer(rank, "rank", maximum=largest)
    noise = real_number(noise, "noise", minimum=0, maximum=SQUARABLE)
    key_inputs, key_left, key_right, key_noise = jax.random.split(key, 4)
    if r == largest:
        teacher = _normal(key_left, (outputs, inputs)) / np.sqrt(inputs)
    else:
        left, right = _normal(key_left, (outputs, r)), _normal(key_right, (r, inputs))
        teacher = left @ right / np.sqrt(r * inputs)
    x = _normal(key_inputs, (samples, inputs))
    y = x @ teacher.T + noise * _normal(key_noise, (samples, outputs))
    description = f"Gaussian inputs, targets from a linear teacher of rank {r}, noise {noise:g}."
    return Dataset(x, y, f"linear teacher of rank {r}", description, teacher)


def low_rank_target(key: jax.Array, shape: Sequence[int], singular_values: Any) -> np.ndarray:
    r"""A matrix $U \,\mathrm{diag}(s)\, V^\top$ with exactly these singular values and Haar random $U$, $V$.

    Args:
        key: from `jax.random.key`.
        shape: (d_L, d_0).
        singular_values: $s$, at most min(d_L, d_0) numbers of at least zero, in any order; the others are
            zero.

    Returns:
        The matrix (d_L, d_0), float64. `SquaredLoss.from_target` makes the whitened loss with this target.

    Raises:
        ValueError: a shape that is not two positive integers, too many or negative singular values, a
            malformed key.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> target = low_rank_target(jax.random.key(0), (4, 6), [3.0, 1.0])
        >>> np.linalg.svd(target, compute_uv=False).round(12).tolist()
        [3.0, 1.0, 0.0, 0.0]
    """
    require_float64("low_rank_target")
    check_key(key)
    sizes = integers(shape, "shape", at_least=2, meaning="outputs first")
    if len(sizes) != 2:
        raise ValueError(f"Argument `shape` must be (outputs, inputs), but is {shape!r}.")
    rows, columns = sizes
    s = real_array(singular_values, "singular_values", ndim=(0, 1), largest=SQUARABLE).ravel()
    if len(s) > min(rows, columns) or np.any(s < 0):
        raise ValueError(
            f"Argument `singular_values` must be at most {min(rows, columns)} numbers of at least 0 for "
            f"shape {tuple(shape)}, but has {len(s)}, the least being {s.min():g}."
        )
    key_left, key_right = jax.random.split(key)
    left, right = (
        _orthonormal_columns(key_left, rows, len(s)),
        _orthonormal_columns(key_right, columns, len(s)),
    )
    return (left * s) @ right.T


def whitened_gaussian(key: jax.Array, samples: int, dimension: int) -> np.ndarray:
    r"""Inputs with exactly identity second moment, $X^\top X / n = I$: Gaussian inputs, whitened.

    $X = \sqrt n\, Q$ with $Q$ uniform (Haar) among matrices with orthonormal columns.

    Args:
        key: from `jax.random.key`.
        samples: $n \ge d$.
        dimension: $d$.

    Returns:
        $X$ (n, d), float64.

    Raises:
        ValueError: fewer samples than dimensions, a size that is not positive, a malformed key.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> x = whitened_gaussian(jax.random.key(0), samples=10, dimension=4)
        >>> bool(np.max(np.abs(x.T @ x / 10 - np.eye(4))) < 1e-14)
        True
    """
    require_float64("whitened_gaussian")
    check_key(key)
    samples, dimension = integer(samples, "samples"), integer(dimension, "dimension")
    if samples < dimension:
        raise ValueError(
            f"Argument `samples` must be at least `dimension` ({dimension}) for an identity second moment, "
            f"but is {samples}."
        )
    return np.sqrt(samples) * _orthonormal_columns(key, samples, dimension)


def power_law(
    key: jax.Array, samples: int, dimension: int, exponent: float, *, source: float = 1.0, noise: float = 0.0
) -> Dataset:
    r"""Gaussian inputs with power-law spectrum and a teacher with a source condition.

    $x \sim N(0, \mathrm{diag}(\lambda_k))$ with $\lambda_k = k^{-a}$, $k = 1, …, d$, and
    $y = \beta \cdot x + \sigma \varepsilon$ with $\lambda_k \beta_k^2 = k^{-ab - 1}$ and random signs of
    $\beta_k$.

    Args:
        key: from `jax.random.key`.
        samples: $n$.
        dimension: $d$.
        exponent: $a > 0$, the capacity exponent.
        source: $b > 0$; $b < 1$ is a hard task, with $\sum_k \beta_k^2$ divergent in $d$.
        noise: $\sigma \ge 0$.

    Returns:
        Inputs (n, d), targets (n, 1), and $\beta$ (1, d) as `.teacher`.

    Raises:
        ValueError: a size or an exponent that is not positive, negative noise, a malformed key.
        PrecisionError: JAX is in float32 mode.

    Validity:
        $\lambda_k$ is the spectrum of the population; `.covariance` fluctuates around it with $n$.

    References:
        [bordelon2025feature], for the source and capacity convention.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> data = power_law(jax.random.key(0), samples=100, dimension=8, exponent=1.5, source=0.5)
        >>> data
        Dataset(power law 1.5, source 0.5: 100 samples, 8 inputs, 1 target)
    """
    require_float64("power_law")
    check_key(key)
    samples, dimension = integer(samples, "samples"), integer(dimension, "dimension")
    # Beyond these the spectrum, or what divides by it, leaves the range of floats.
    exponent, source = real_number(exponent, "exponent", above=0), real_number(source, "source", above=0)
    steepest = 200.0 / max(1.0, float(np.log10(dimension)))
    if exponent * max(1.0, source) > steepest:
        raise ValueError(
            f"Argument `exponent` must be at most {steepest:.3g} for {dimension} dimensions, times `source` too, "
            f"but is {exponent:g} with source {source:g}."
        )
    noise = real_number(noise, "noise", minimum=0, maximum=SQUARABLE)
    key_inputs, key_signs, key_noise = jax.random.split(key, 3)
    index = np.arange(1, dimension + 1, dtype=np.float64)
    signs = np.where(np.asarray(jax.random.bernoulli(key_signs, 0.5, (dimension,))), 1.0, -1.0)
    teacher = (signs * index ** (0.5 * (exponent - exponent * source - 1.0)))[None, :]
    x = _normal(key_inputs, (samples, dimension)) * index ** (-0.5 * exponent)
    y = x @ teacher.T + noise * _normal(key_noise, (samples, 1))
    name = f"power law {exponent:g}, source {source:g}"
    description = f"Gaussian inputs with spectrum k^-{exponent:g}, teacher of source exponent {source:g}."
    return Dataset(x, y, name, description, teacher)


def _normal(key: jax.Array, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(jax.random.normal(key, shape))


def _orthonormal_columns(key: jax.Array, rows: int, columns: int) -> np.ndarray:
    """A Haar matrix with orthonormal columns: the polar factor of a Gaussian one."""
    left, _, right = np.linalg.svd(_normal(key, (rows, columns)), full_matrices=False)
    return left @ right
