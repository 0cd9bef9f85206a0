r"""Linear convolutional networks, $z = w_L * \cdots * w_1$: circular or aperiodic, one channel or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checks import integer, integers
from ..architecture import Architecture, Params
from .registry import dashed, family, one_sequence


def _convolution(layers: int, length: int) -> Callable[[Params], Any]:
    """φ: the composed filter of length n, where all filters are cyclic of that length; channels are optional."""

    def phi(params: Params):
        filters = [params[f"w{layer}"] for layer in range(1, layers + 1)]
        scalar = filters[0].ndim == 1
        if scalar:
            filters = [w[None, None] for w in filters]
        composed = jnp.pad(filters[0], ((0, 0), (0, 0), (0, length - filters[0].shape[2])))
        for w in filters[1:]:
            shifted = (np.arange(length)[:, None] - np.arange(w.shape[2])[None, :]) % length
            # All positions are in range; "clip" only spares the arithmetic that negative ones would need.
            aligned = jnp.take(composed, shifted, axis=2, mode="clip")
            composed = jnp.einsum("abt,bcst->acs", w, aligned)
        return composed[0, 0] if scalar else composed

    return phi


@family(
    "convolution",
    "filter lengths",
    example=(3, 2),
    laws=1,
    counts=(1, None),
    arguments=one_sequence,
)
@family(
    "circular",
    "length, then filter lengths",
    example=(4, 4, 2),
    laws=1,
    counts=(2, None),
    arguments=lambda n: (n[1:], n[0]),
)
def convolutional_network(filters: Sequence[int], length: int | None = None) -> Architecture:
    r"""The linear convolutional network with one channel, $z = w_L * \cdots * w_1$.

    Circular of length n: $(a * b)_s = \sum_t a_t b_{s-t}$ with indices modulo n, filters shorter than n padded by
    zeros. Without a length the convolution is aperiodic, and z has $1 + \sum_l (k_l - 1)$ entries.

    Laws of gradient flow: between two full filters ($k = n$), the difference of their cyclic autocorrelations,
    $\sum_i w_l(i) w_l(i+s)$ for $s = 0, …, \lfloor n/2 \rfloor$; otherwise the difference of their squared norms.
    So $N = (L-1)(\lfloor n/2 \rfloor + 1)$ if all are full, and $N = L - 1$ if all or all but one are shorter, or
    without a length.

    Args:
        filters: $(k_1, …, k_L)$, the filter lengths, first layer first.
        length: n, at least the longest filter; `None` for aperiodic convolution.

    Returns:
        An `Architecture` with factors `"w1"`, …, `"wL"` of shapes (k_l,).

    Raises:
        ValueError: a size that is not a positive integer, or a filter longer than n.

    References:
        [gunasekar2018convolutional] (circular); [kohn2022geometry] (aperiodic).

    Example:
        >>> convolutional_network((3, 2)).output_shape, convolutional_network((3, 3), length=3).output_shape
        ((4,), (3,))
    """
    taps = integers(filters, "filters", at_least=1)
    n = _support(taps) if length is None else integer(length, "length")
    if max(taps) > n:
        raise ValueError(
            f"Argument `filters` must be no longer than `length`, but is {filters!r} with length {n}."
        )
    shapes = {f"w{layer}": (k,) for layer, k in enumerate(taps, start=1)}
    kind = "convolution" if length is None else f"circular convolution {n},"
    return Architecture(_convolution(len(taps), n), shapes, name=f"{kind} filters {dashed(taps)}")


@family(
    "multichannel",
    "taps, then channels from input to output",
    example=(2, 1, 2, 1),
    laws=4,
    counts=(3, None),
    arguments=lambda n: (n[1:], n[0]),
)
def multichannel_network(channels: Sequence[int], taps: int | Sequence[int]) -> Architecture:
    r"""The linear convolutional network with several channels, aperiodic: $z_{ac} = \sum_b w_{L,ab} * \cdots$

    Each layer is a matrix of filters; layers multiply as matrices whose entries are convolved.

    Laws of gradient flow: $\sum_t w_{l+1}(t)^\top w_{l+1}(t) - \sum_t w_l(t)\, w_l(t)^\top$, the channel Gram matrices
    summed over taps; with two layers $N = c_1(c_1+1)/2$ while $c_1 \le k_1 c_0 + k_2 c_2$.

    Args:
        channels: $(c_0, …, c_L)$ from input to output.
        taps: k, or $(k_1, …, k_L)$, the filter lengths.

    Returns:
        An `Architecture` with factors `"w1"`, …, `"wL"` of shapes (c_l, c_{l-1}, k_l), and z of shape
        $(c_L, c_0, 1 + \sum_l (k_l - 1))$.

    Raises:
        ValueError: a size that is not a positive integer, or a number of taps that does not match the layers.

    References:
        [gunasekar2018convolutional]; [marcotte2025transformative].

    Example:
        >>> multichannel_network((2, 3, 1), 2).shapes
        {'w1': (3, 2, 2), 'w2': (1, 3, 2)}
    """
    widths = integers(channels, "channels", at_least=2, meaning="input channels first")
    layers = len(widths) - 1
    if isinstance(taps, (Sequence, np.ndarray)):
        lengths = integers(taps, "taps", at_least=1)
    else:
        lengths = (integer(taps, "taps"),) * layers
    if len(lengths) != layers:
        raise ValueError(
            f"Argument `taps` must be one length or one for each of {layers} layers, but is {taps!r}."
        )
    shapes = {f"w{i + 1}": (widths[i + 1], widths[i], lengths[i]) for i in range(layers)}
    name = f"multichannel convolution {dashed(widths)}, taps {dashed(lengths)}"
    return Architecture(_convolution(layers, _support(lengths)), shapes, name=name)


def _support(taps: Sequence[int]) -> int:
    """The length at which a circular convolution of these filters does not wrap around."""
    return 1 + sum(k - 1 for k in taps)
