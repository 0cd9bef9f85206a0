"""What is not polynomial is refused, by name, with the line of φ and a way out."""

import inspect
import math

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from dlntheory._errors import UnsupportedPrimitiveError
from dlntheory.exact import Rationals, interpret, trace

VECTOR = jax.ShapeDtypeStruct((3,), "float64")


def nested(x):
    return jax.jit(lambda y: jnp.exp(y) * 2.0)(x)


REFUSED = {
    "tanh": (lambda x: jnp.tanh(x), "tanh", "put the nonlinearity in the loss"),
    "exp": (lambda x: x * jnp.exp(x), "exp", "put the nonlinearity in the loss"),
    "relu": (lambda x: jax.nn.relu(x), "max", "put the nonlinearity in the loss"),
    "maximum": (lambda x: jnp.maximum(x, 0.0), "max", "put the nonlinearity in the loss"),
    "norm": (lambda x: jnp.linalg.norm(x), "sqrt", "square it"),
    "normalised": (lambda x: x * jax.lax.rsqrt(jnp.vdot(x, x)), "rsqrt", "has the laws of φ"),
    "abs": (lambda x: jnp.abs(x), "abs", "put the nonlinearity in the loss"),
    "float power": (lambda x: x**0.5, "pow", "constant integer"),
    "odd power": (lambda x: x**1.5, "pow", "constant integer"),
    "negative float power": (lambda x: x**-0.5, "pow", "constant integer"),
    "comparison": (lambda x: jnp.where(x > 0, x, 0.0), "gt", "compare"),
    "sort": (lambda x: jnp.sort(x), "sort", "compare"),
    "to float32": (lambda x: x.astype(jnp.float32), "convert_element_type", "float64"),
    "to integers": (lambda x: jnp.arange(3)[x.astype(int)], "convert_element_type", "float64"),
    "while": (
        lambda x: lax.while_loop(lambda s: s.sum() < 9.0, lambda s: s + 1.0, x),
        "while",
        "Python loop",
    ),
    "inverse": (lambda x: jnp.linalg.inv(jnp.outer(x, x)), "lu", "factorisations"),
    "division by zero": (lambda x: x / 0.0, "div", "divides by zero"),
    "callback": (
        lambda x: jax.pure_callback(lambda y: y, jax.ShapeDtypeStruct((3,), "float64"), x),
        "pure_callback",
        "products, sums",
    ),
    "inside jit": (nested, "exp", "put the nonlinearity in the loss"),
    "inside scan": (lambda x: lax.scan(lambda c, y: (jnp.sin(c), y), x[0], x)[0], "sin", "nonlinearity"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_names_primitive_line_and_remedy(name):
    phi, primitive, hint = REFUSED[name]
    with pytest.raises(UnsupportedPrimitiveError) as caught:
        trace(phi, VECTOR)
    assert caught.value.primitive == primitive
    assert f"`{primitive}`" in str(caught.value)
    assert hint in str(caught.value)
    lines, start = inspect.getsourcelines(phi)
    places = [f"test_refusals.py:{line}:" for line in range(start, start + len(lines))]
    assert any(place in caught.value.location for place in places)
    assert caught.value.location in str(caught.value)


def test_the_derivative_of_a_nonlinearity_points_to_the_nonlinearity():
    def phi(x):
        y = 2.0 * x
        return jnp.tanh(y)

    line = inspect.getsourcelines(phi)[1] + 2
    with pytest.raises(UnsupportedPrimitiveError, match="`tanh`") as caught:
        trace(lambda x: jax.vjp(phi, x)[1](x), VECTOR)
    assert f"test_refusals.py:{line}:" in caught.value.location


@jax.jit
def inner(y):
    return jnp.exp(y) * 2.0


def test_an_inner_function_is_reported_beside_the_line_of_the_caller():
    def phi(x):
        return 1.0 + inner(x)

    with pytest.raises(UnsupportedPrimitiveError) as caught:
        trace(phi, VECTOR)
    assert f"test_refusals.py:{inspect.getsourcelines(phi)[1] + 1}:" in caught.value.location
    assert f"traced at test_refusals.py:{inspect.getsourcelines(inner)[1] + 2}:" in str(caught.value)


def test_a_remembered_jit_does_not_report_its_first_caller():
    trace_first = jax.make_jaxpr(lambda x: jnp.linalg.norm(x) + 1.0)
    trace_first(jnp.ones(3))
    phi = lambda x: jnp.linalg.norm(x)
    with pytest.raises(UnsupportedPrimitiveError) as caught:
        trace(phi, VECTOR)
    assert f"test_refusals.py:{inspect.getsourcelines(phi)[1]}:" in caught.value.location


def test_a_negative_power_that_nothing_needs_is_no_obstacle():
    third = trace(
        lambda x: jax.grad(jax.grad(jax.grad(lambda y: y**2.0)))(x), jax.ShapeDtypeStruct((), float)
    )
    assert third.evaluate(Rationals(), Rationals().constant(0))[()] == 0


def test_constants_that_are_not_finite():
    with pytest.raises(ValueError, match="finite"):
        trace(lambda x: x * math.inf, VECTOR)
    with pytest.raises(ValueError, match="finite"):
        trace(lambda x: x.at[jnp.asarray([7])].get(mode="fill"), VECTOR)


def test_exact_results_do_not_depend_on_the_mode_of_jax():
    with jax.enable_x64(False):
        found = interpret(lambda x: x * 0.1, Rationals(), Rationals().constant([1]))
    assert str(found[0]) == "1/10"
