"""Interpretation over a ring against the float call at integer points, where floats are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from exact.programs import SHAPES, TABLE, build, points, random_steps, structs
from hypothesis import assume, given, settings
from jax import lax

from dlntheory.exact import Expressions, NilpotentModular, Rationals, interpret, trace

Q = Rationals()


def integers(seed, shapes):
    rng = np.random.default_rng(seed)
    return [rng.integers(-3, 4, shape) for shape in shapes]


def as_floats(tree):
    return jax.tree_util.tree_map(lambda x: np.asarray(x, dtype=np.float64), tree)


def assert_same(exact, floats):
    """Equality of a pytree over Q and a pytree of floats, entry by entry, without tolerance."""
    left, right = jax.tree_util.tree_leaves(exact), jax.tree_util.tree_leaves(floats)
    assert jax.tree_util.tree_structure(exact) == jax.tree_util.tree_structure(floats)
    for x, y in zip(left, right, strict=True):
        assert x.shape == y.shape
        assert max([abs(float(entry)) for entry in x.ravel()], default=0) < 2**50
        assert x.tolist() == Q.constant(y).tolist()


def moderate(tree):
    return all(abs(float(x)) < 2**40 for leaf in jax.tree_util.tree_leaves(tree) for x in leaf.ravel())


@settings(deadline=None, max_examples=40)
@given(random_steps, points())
def test_random_functions_over_the_rationals(steps, point):
    phi = build(steps)
    exact = interpret(phi, Q, {name: Q.constant(x) for name, x in point.items()})
    assume(moderate(exact))
    assert_same(exact, jax.jit(phi)({name: jnp.asarray(x, float) for name, x in point.items()}))


@settings(deadline=None, max_examples=15)
@given(random_steps, points(), points())
def test_three_rings_and_the_derivative(steps, point, tangent):
    """SymPy with numbers put in equals Q; Q mod p equals F_p; the e-part equals the exact jvp."""
    phi = build(steps)
    program = trace(phi, structs(SHAPES))
    over_q = program.evaluate(Q, {name: Q.constant(x) for name, x in point.items()})
    assume(moderate(over_q))

    symbols = {
        name: np.array([sympy.Symbol(f"{name}{i}") for i in range(6)]).reshape(shape)
        for name, shape in SHAPES.items()
    }
    numbers = {
        s: int(x) for name in SHAPES for s, x in zip(symbols[name].flat, point[name].flat, strict=True)
    }
    for expressions, values in zip(program.evaluate(Expressions(), symbols), over_q, strict=True):
        for expression, value in zip(expressions.flat, values.flat, strict=True):
            assert expression.xreplace(numbers) == sympy.Rational(int(value.p), int(value.q))

    derivative = interpret(
        lambda p, v: jax.jvp(phi, (p,), (v,))[1],
        Q,
        {name: Q.constant(x) for name, x in point.items()},
        {name: Q.constant(x) for name, x in tangent.items()},
    )
    ring = NilpotentModular(2147483629)
    lifted = {name: ring.join(ring.constant(point[name]), ring.constant(tangent[name]), 0) for name in SHAPES}
    for x, value, slope in zip(program.evaluate(ring, lifted), over_q, derivative, strict=True):
        low, high = ring.split(x, 0)
        assert np.array_equal(low, ring.constant(value))
        assert np.array_equal(high, ring.constant(slope))


@pytest.mark.parametrize("name", TABLE)
def test_each_operation_and_its_derivatives(name):
    """The value, the vjp and the jvp of the jvp, all exactly, except what JAX cannot differentiate."""
    fn, shapes = TABLE[name]

    def everything(args, vs, ws):
        value, back = fn(*args), None
        if name not in ("while on a counter", "scatter multiply"):
            back = jax.vjp(fn, *args)[1](jax.tree_util.tree_map(lambda y: y * 0.5 + 1.0, value))
        if name in ("own transpose", "scatter multiply"):
            return value, back
        return value, back, jax.jvp(lambda *a: jax.jvp(fn, a, tuple(vs)), tuple(args), tuple(ws))

    point = [integers(seed, shapes) for seed in range(3)]
    exact = interpret(everything, Q, *([Q.constant(x) for x in group] for group in point))
    assert_same(exact, jax.jit(everything)(*([jnp.asarray(x, float) for x in group] for group in point)))


def test_the_same_function_runs_on_sympy_matrices():
    """A second route that knows neither JAX nor the interpreter."""

    def phi(p):
        return p["A"] @ p["B"].T @ p["A"] + 2 * p["A"] @ (p["C"] - p["B"])

    shapes = {"A": (2, 2), "B": (2, 2), "C": (2, 2)}
    matrices = {name: sympy.Matrix(*shape, sympy.symbols(f"{name}:4")) for name, shape in shapes.items()}
    arrays = {name: np.array(matrix.tolist(), dtype=object) for name, matrix in matrices.items()}
    read = interpret(phi, Expressions(), arrays)
    direct = phi(matrices)
    assert all(
        sympy.expand(x - y) == 0 for x, y in zip(read.ravel().tolist(), list(direct.flat()), strict=True)
    )


def test_float_constants_are_read_as_simple_fractions():
    data = jnp.asarray([[0.1, 1 / 3], [0.7, -2.5]])
    result = interpret(lambda x: (data @ x) / 3.0 + 0.2, Q, Q.constant(np.eye(2)))
    expected = [["7/30", "14/45"], ["13/30", "-19/30"]]
    assert [[str(x) for x in row] for row in result] == expected


def test_matrix_products_cost_what_they_should():
    program = trace(
        lambda p: p["B"] @ p["A"],
        {"A": jax.ShapeDtypeStruct((3, 4), float), "B": structs({"B": (5, 3)})["B"]},
    )
    assert program.products == 60
    assert [instruction.operation for instruction in program.instructions] == [
        "reshape",
        "reshape",
        "matmul",
        "reshape",
    ]
    assert program.output_shapes == ((5, 4),)


def test_no_dead_code():
    def wasteful(x):
        unused = jnp.sum(x @ x)
        return x * 2.0 + 0.0 * lax.stop_gradient(1.0), [unused][:0]

    program = trace(wasteful, jax.ShapeDtypeStruct((2, 2), float))
    assert "matmul" not in [instruction.operation for instruction in program.instructions]


def test_works_while_the_caller_is_being_traced():
    @jax.jit
    def traced(x):
        value = interpret(lambda y: y[jnp.asarray([1, 0])] * jnp.arange(2.0), Q, Q.constant([2, 3]))
        return x * float(value[1])

    assert traced(jnp.asarray(1.0)) == 2.0


def test_pytrees_in_and_out():
    result = interpret(lambda a, b: {"s": [a["x"] + b, b]}, Q, {"x": Q.constant(1)}, Q.constant(0.5))
    assert str(result["s"][0][()]) == "3/2"
    assert str(result["s"][1][()]) == "1/2"


def test_refuses_other_shapes_and_structures():
    program = trace(lambda p: p["a"], structs({"a": (2,)}))
    with pytest.raises(ValueError, match="shapes"):
        program.evaluate(Q, {"a": Q.constant([1, 2, 3])})
    with pytest.raises(ValueError, match="structure"):
        program.evaluate(Q, {"b": Q.constant([1, 2])})
    with pytest.raises(ValueError, match="float64"):
        trace(lambda x: x, jax.ShapeDtypeStruct((2,), jnp.int32))
