"""Reading φ over another ring, against tracing the same function in JAX, which any use of it pays anyway."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import dlntheory as dln
from dlntheory.exact import NilpotentModular, trace

from .harness import Row, paired

ROUNDS = 15


def rows() -> list[Row]:
    """φ in SymPy, and the vector-Jacobian product of a chain of four 4 x 4 layers modulo a prime."""
    small, chain = dln.linear_network((3, 4, 3, 2)), dln.linear_network((4, 4, 4, 4, 4))
    program = trace(_pullback, *_shapes(chain))
    ring = NilpotentModular()

    def jaxpr_of_phi() -> object:
        return jax.make_jaxpr(small.phi)(_shapes(small)[0])

    def jaxpr_of_pullback() -> object:
        return jax.make_jaxpr(_pullback)(*_shapes(chain))

    found = [
        Row(
            "exact",
            "symbolic(), linear 3-4-3-2",
            "jax.make_jaxpr of φ",
            note=f"{small.symbolic().printed_terms} symbols and numbers to print z",
            **paired(small.symbolic, jaxpr_of_phi, ROUNDS),
        ),
        Row(
            "exact",
            "VJP of linear 4-4-4-4-4 to a program",
            "jax.make_jaxpr of it",
            note=f"{program.products} scalar products",
            **paired(lambda: trace(_pullback, *_shapes(chain)), jaxpr_of_pullback, ROUNDS),
        ),
    ]
    for count in (1, 64):
        points = _random_points(ring, chain, count)
        label = f"that program over F_p, {count} point{'s' if count > 1 else ''}"
        times = paired(lambda args=points: program.evaluate(ring, *args), jaxpr_of_pullback, ROUNDS)
        found.append(Row("exact", label, "jax.make_jaxpr of it", **times))
    return found


def _random_points(ring: NilpotentModular, arch: dln.Architecture, count: int) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: ring.from_integers(rng.integers(0, ring.prime, (count, *leaf.shape))), _shapes(arch)
    )


def _pullback(params: dict[str, Any], cotangent: Any) -> dict[str, Any]:
    return jax.vjp(lambda p: p["W4"] @ p["W3"] @ p["W2"] @ p["W1"], params)[1](cotangent)[0]


def _shapes(arch: dln.Architecture) -> tuple[dict[str, Any], Any]:
    factors = {name: jax.ShapeDtypeStruct(shape, np.dtype("float64")) for name, shape in arch.shapes.items()}
    return factors, jax.ShapeDtypeStruct(arch.output_shape, np.dtype("float64"))
