"""Linear convolutional networks: circular or not, filters of any length, one channel or several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from ..architecture import Architecture, Params


@dataclasses.dataclass(frozen=True)
class _CircularConvolution:
    """The composed filter, by products of filters padded to one length."""

    layers: int
    length: int

    def __call__(self, params: Params):
        composed = self._padded(params["w1"])
        for layer in range(2, self.layers + 1):
            composed = jnp.einsum("...ijs,...jks->...ik", *self._aligned(params[f"w{layer}"], composed))
        return composed

    def _padded(self, filters: Any):
        return filters


def convolutional_network(filters: Sequence[int], length: int | None = None) -> Architecture:
    raise NotImplementedError
