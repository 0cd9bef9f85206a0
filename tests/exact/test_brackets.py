r"""Strings of Lie brackets by the ring $\mathbb F_p[e_i]/(e_i^2)$ against brackets computed by SymPy.

The algorithm of theory/conservation.md §3: $x_{j+1} = x_j + e_j X_j(x_j)$, then backwards
$y \leftarrow hi - DX_j(x_j)\, lo$ where $y = lo + e_j\, hi$. It gives $ad_{X_0} ⋯ ad_{X_{k-1}} Y$ at $x_0$.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from dlntheory.exact import NilpotentModular, trace

D = 8


def field(x, c):
    """The gradient of the combination c of the entries of W2 W1, widths 2-2-2, at the parameters x."""

    def combination(x):
        return jnp.vdot(c, x[4:].reshape(2, 2) @ x[:4].reshape(2, 2))

    return jax.grad(combination)(x)


def string(ring, program, x0, slots, last):
    def evaluate(c, x):
        return program.evaluate(ring, x, ring.constant(c))

    xs = [ring.constant(x0)]
    for level, c in enumerate(slots):
        xs.append(ring.join(xs[-1], evaluate(c, xs[-1]), level))
    y = evaluate(last, xs[-1])
    for level in reversed(range(len(slots))):
        low, high = ring.split(y, level)
        # The part of one more unit in X(x + e low) is DX(x) low.
        _, derivative = ring.split(evaluate(slots[level], ring.join(xs[level], low, level)), level)
        y = ring.add(high, ring.neg(derivative))
    return y


def sympy_field(x, c):
    w1, w2 = sympy.Matrix(2, 2, x[:4]), sympy.Matrix(2, 2, x[4:])
    combination = sum(int(c[i, j]) * (w2 * w1)[i, j] for i in range(2) for j in range(2))
    return sympy.Matrix([sympy.diff(combination, symbol) for symbol in x])


def sympy_bracket(f, g, x):
    """[X, Y] = DY X - DX Y."""
    return (g.jacobian(x) * f - f.jacobian(x) * g).applyfunc(sympy.expand)


@pytest.mark.parametrize("prime", [2**31 - 1, 2147483629, 101])
def test_strings_equal_symbolic_brackets(prime):
    ring = NilpotentModular(prime)
    rng = np.random.default_rng(0)
    program = trace(field, jax.ShapeDtypeStruct((D,), float), jax.ShapeDtypeStruct((2, 2), float))
    x0 = rng.integers(-5, 6, D)
    c0, c1, c2 = rng.integers(-4, 5, (3, 2, 2))

    symbols = sympy.symbols(f"x:{D}")
    f0, f1, f2 = (sympy_field(symbols, c) for c in (c0, c1, c2))
    inner = sympy_bracket(f1, f2, symbols)
    expected = [f2, inner, sympy_bracket(f0, inner, symbols)]
    found = [string(ring, program, x0, slots, c2) for slots in ([], [c1], [c0, c1])]
    at_point = dict(zip(symbols, map(int, x0), strict=True))
    for exact, symbolic in zip(found, expected, strict=True):
        values = [int(entry.subs(at_point)) % prime for entry in symbolic]
        assert any(values)
        assert exact.shape == (1, 1, D)
        assert exact.ravel().tolist() == values


def test_a_batch_of_points_is_the_points_one_by_one():
    ring = NilpotentModular()
    rng = np.random.default_rng(1)
    program = trace(field, jax.ShapeDtypeStruct((D,), float), jax.ShapeDtypeStruct((2, 2), float))
    points, c = rng.integers(0, ring.prime, (3, D)), rng.integers(-4, 5, (2, 2))
    together = program.evaluate(ring, ring.from_integers(points), ring.constant(c))
    for i in range(3):
        alone = program.evaluate(ring, ring.from_integers(points[i : i + 1]), ring.constant(c))
        assert np.array_equal(together[:, i], alone[:, 0])
