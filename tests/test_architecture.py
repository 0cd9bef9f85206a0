"""`Architecture`: what is accepted, what is refused and with which words, the exact reading of φ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import dlntheory as dln


def test_a_plain_function_becomes_an_architecture():
    arch = dln.Architecture(lambda p: p["U"] @ p["V"].T, {"U": (4, 2), "V": (3, 2)}, name="factorisation")
    assert (arch.output_shape, arch.size, arch.chain, arch.widths) == ((4, 3), 14, None, None)
    params = {"U": np.arange(8.0).reshape(4, 2), "V": np.ones((3, 2))}
    np.testing.assert_array_equal(arch(params), params["U"] @ params["V"].T)
    assert "factorisation" in repr(arch)
    assert "14 parameters" in repr(arch)


def test_ravel_keeps_the_declared_order_past_ten_layers():
    arch = dln.linear_network((2,) * 13)
    params = {name: np.full(shape, i, dtype=float) for i, (name, shape) in enumerate(arch.shapes.items())}
    vector = arch.ravel(params)
    np.testing.assert_array_equal(vector, np.repeat(np.arange(12.0), 4))
    back = arch.unravel(vector)
    assert list(back) == [f"W{layer}" for layer in range(1, 13)]
    for name in back:
        np.testing.assert_array_equal(back[name], params[name])


def test_networks_of_equal_widths_are_equal_and_goes_through_transformations():
    arch = dln.linear_network((3, 2, 2))
    assert arch == dln.linear_network((3, 2, 2))
    assert arch != dln.linear_network((3, 2, 1))
    params = {"W1": jnp.ones((5, 2, 3)), "W2": jnp.ones((5, 2, 2))}
    assert jax.jit(jax.vmap(arch))(params).shape == (5, 2, 3)
    gradient = jax.grad(lambda p: jnp.sum(arch(p)))({k: v[0] for k, v in params.items()})
    np.testing.assert_allclose(gradient["W1"], 2.0)


def test_symbolic_reading_agrees_with_sympy_matrices():
    arch = dln.linear_network((2, 3, 2))
    read = arch.symbolic()
    direct = sympy.Matrix(read.symbols["W2"]) * sympy.Matrix(read.symbols["W1"])
    difference = sympy.Matrix(read.z) - direct
    assert difference.applyfunc(sympy.expand) == sympy.zeros(2, 2)


def test_bad_architectures_are_refused_with_a_reason():
    good = {"U": (2, 2)}
    cases = [
        (lambda: dln.Architecture(3, good), "`phi` must be a function"),
        (lambda: dln.Architecture(lambda p: p["U"], {}), "non-empty dict"),
        (lambda: dln.Architecture(lambda p: p["U"], {"U": (0, 2)}), "positive integers, but is \\(0, 2\\)"),
        (lambda: dln.Architecture(lambda p: p["U"], {"": (2, 2)}), "non-empty strings"),
        (
            lambda: dln.Architecture(lambda p: (p["U"], p["U"]), good),
            "must return one array, but returns tuple",
        ),
        (lambda: dln.Architecture(lambda p: p["U"].astype(jnp.float32), good), "keep the precision.*float32"),
        (lambda: dln.Architecture(lambda p: p["U"][:0], good), "non-empty array"),
        (lambda: dln.Architecture(lambda p: p["U"] / 0.0, good), "must be finite at a generic point"),
        (
            lambda: dln.Architecture(lambda p: 2.0 * p["U"], good, chain=["U"]),
            "`chain` must multiply to `phi`",
        ),
        (lambda: dln.Architecture(lambda p: p["U"], good, chain=["V"]), "unknown"),
        (lambda: dln.linear_network((3,)), "at least two positive integers"),
        (lambda: dln.linear_network((3, 0, 2)), "at least two positive integers"),
        (lambda: dln.linear_network((3, 2.5)), "at least two positive integers"),
    ]
    for build, message in cases:
        with pytest.raises(ValueError, match=message):
            build()
    with pytest.raises(KeyError) as caught:
        dln.Architecture(lambda p: p["Q"], good)
    assert "factors of shapes" in "".join(caught.value.__notes__)


def test_bad_parameters_are_refused_with_a_reason():
    arch = dln.linear_network((2, 3))
    for params, message in [
        (np.ones((3, 2)), "must be a dict"),
        ({}, r"\['W1'\] missing"),
        ({"W1": np.ones((3, 2)), "W2": 1}, r"\['W2'\] unknown"),
        ({"W1": np.ones((2, 3))}, r"must have shape \(3, 2\), but has shape \(2, 3\)"),
        ({"W1": np.ones((3, 2), complex)}, "must be real"),
        ({"W1": np.full((3, 2), np.inf)}, "must be finite, but 6 of 6"),
        ({"W1": np.array([["a", "b"]] * 3)}, "must be real"),
    ]:
        with pytest.raises(ValueError, match=message):
            arch.check(params)
    checked = arch.check({"W1": np.ones((3, 2), int)})
    assert checked["W1"].dtype == jnp.float64
