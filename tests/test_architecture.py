"""`Architecture`: what is accepted, what is refused and with which words, the exact reading of φ."""

import copy
import functools
import pickle
from collections.abc import Callable

import equinox as eqx
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
        ({"W1": np.ones((3, 2), complex)}, "must be an array of real numbers"),
        ({"W1": [[1.0, 2.0], [3.0]]}, r"theta0\['W1'\]` must be an array of real numbers"),
        ({"W1": np.ma.masked_array(np.ones((3, 2)), mask=True)}, "without a mask"),
        ({"W1": np.full((3, 2), np.inf)}, "must be finite, but 6 of 6"),
        ({"W1": np.array([["a", "b"]] * 3)}, "must be an array of real numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            arch.check(params)
    checked = arch.check({"W1": np.ones((3, 2), int)})
    assert checked["W1"].dtype == jnp.float64


class Method:
    def __init__(self, matrix):
        self.matrix = matrix

    def phi(self, p):
        return self.matrix @ p["W"]


class Module(eqx.Module):
    matrix: jax.Array

    def __call__(self, p):
        return self.matrix @ p["W"]


def closure(matrix):
    return lambda p: matrix @ p["W"]


FORMS = {
    "lambda": lambda matrix: lambda q: jnp.asarray(matrix) @ q["W"],
    "closure": closure,
    "bound method": lambda matrix: Method(matrix).phi,
    "module": lambda matrix: Module(jnp.asarray(matrix)),
    "partial": lambda matrix: functools.partial(lambda m, p: m @ p["W"], matrix),
}


@pytest.mark.parametrize("form", FORMS)
def test_equality_is_by_content(form):
    matrix = np.arange(4.0).reshape(2, 2)
    build = FORMS[form]
    arch = dln.Architecture(build(matrix), {"W": (2, 3)}, name="one")
    same = dln.Architecture(closure(matrix.copy()), {"W": (2, 3)}, name="another")
    assert arch == same
    assert hash(arch) == hash(same)
    assert arch != dln.Architecture(build(matrix + 1e-15), {"W": (2, 3)})
    assert arch != dln.Architecture(build(matrix), {"W": (2, 4)})
    assert arch != dln.Architecture(lambda p: matrix @ p["V"], {"V": (2, 3)})
    assert copy.deepcopy(arch) == arch
    assert jax.tree_util.tree_structure(arch) == jax.tree_util.tree_structure(same)
    assert jax.tree_util.tree_leaves(arch) == []


def test_constants_are_read_once():
    matrix = np.ones((2, 2))
    arch = dln.Architecture(closure(matrix), {"W": (2, 2)})
    matrix[:] = 7.0
    np.testing.assert_allclose(arch({"W": np.eye(2)}), np.ones((2, 2)), rtol=1e-15)
    assert arch == dln.Architecture(closure(np.ones((2, 2))), {"W": (2, 2)})


def test_custom_derivatives_are_part_of_the_content():
    def with_derivative(factor):
        function = jax.custom_jvp(lambda x: 1.0 * x)
        function.defjvp(lambda primals, tangents: (1.0 * primals[0], factor * tangents[0]))
        return dln.Architecture(lambda p: function(p["W"]), {"W": (2, 2)})

    assert with_derivative(0.5) == with_derivative(0.5)
    assert with_derivative(0.5) != with_derivative(0.25)
    assert with_derivative(1.0) != dln.Architecture(lambda p: 1.0 * p["W"], {"W": (2, 2)})
    relu = [dln.Architecture(lambda p: jax.nn.relu(p["W"]), {"W": (2, 2)}) for _ in range(2)]
    assert relu[0] == relu[1]


def test_random_keys_and_branches_in_phi():
    key = jax.random.key(3)

    def network(seed, flag):
        def phi(p):
            noise = jax.random.normal(jax.random.fold_in(key, seed), (2, 2))
            scaled = jax.lax.cond(flag, lambda w: 2.0 * w, lambda w: w, p["W"])
            return noise @ scaled

        return dln.Architecture(phi, {"W": (2, 2)})

    assert network(0, True) == network(0, True)
    assert network(0, True) != network(1, True)
    assert network(0, True) != network(0, False)


def test_equal_architectures_share_compiled_programs():
    traces = 0

    @eqx.filter_jit
    def run(arch, params):
        nonlocal traces
        traces += 1
        return arch(params)

    params = {"W": jnp.eye(2)}
    for form in FORMS.values():
        run(dln.Architecture(form(np.full((2, 2), 0.5)), {"W": (2, 2)}), params)
    assert traces == 1
    for scale in (1.0, 2.0):
        np.testing.assert_allclose(
            run(dln.Architecture(Module(scale * jnp.eye(2)), {"W": (2, 2)}), params)[0, 0], scale
        )


def test_an_architecture_is_immutable_and_can_be_pickled():
    arch = dln.linear_network((3, 2, 2))
    assert pickle.loads(pickle.dumps(arch)) == arch
    assert pickle.loads(pickle.dumps(arch)).chain == arch.chain
    with pytest.raises(AttributeError, match="value"):
        arch.name = "other"
    nested = dln.Architecture(_sum_of_nested, {"a": [(2,), (2,)]})
    assert pickle.loads(pickle.dumps(nested)) == nested


def _sum_of_nested(p):
    return p["a"][0] + p["a"][1]


def test_an_architecture_needs_no_mode_of_jax():
    with jax.enable_x64(False):
        arch = dln.Architecture(lambda p: 0.1 * p["W2"] @ p["W1"], {"W1": (2, 2), "W2": (2, 2)})
        assert arch({"W1": np.eye(2), "W2": np.eye(2)}).dtype == jnp.float32
        assert "W1_{1,1}*W2_{1,1}/10" in str(arch.symbolic())
        chain = dln.Architecture(lambda p: p["W2"] @ p["W1"], {"W1": (2, 2), "W2": (2, 2)}).chain
    assert chain == ("W1", "W2")
    assert arch == dln.Architecture(lambda p: 0.1 * p["W2"] @ p["W1"], {"W1": (2, 2), "W2": (2, 2)})
    assert arch({"W1": np.eye(2, dtype=np.float32), "W2": np.eye(2)}).dtype == jnp.float64


def test_rounding_inside_phi_is_refused_with_its_line():
    def phi(p):
        return p["W"].astype(jnp.float32).astype(jnp.float64)

    with pytest.raises(dln.UnsupportedPrimitiveError, match="must stay in float64") as caught:
        dln.Architecture(phi, {"W": (2, 2)})
    assert "test_architecture.py" in caught.value.location


class Block(eqx.Module):
    weights: list
    scale: float
    activation: Callable
    bias: jax.Array | None = None


def test_parameters_may_be_any_pytree():
    model = {
        "blocks": [Block([jnp.ones((2, 3)), jnp.ones((4, 2))], 2.0, jnp.tanh)],
        "10": jnp.ones(3),
        "9": jnp.ones(1),
    }

    def phi(m):
        block = m["blocks"][0]
        return block.scale * block.weights[1] @ block.weights[0] @ m["10"] * m["9"]

    arch = dln.Architecture(phi, model)
    assert arch.shapes == {
        "blocks/0/weights/0": (2, 3),
        "blocks/0/weights/1": (4, 2),
        "10": (3,),
        "9": (1,),
    }
    flat = arch.check(model)
    assert list(flat) == list(arch.shapes)
    np.testing.assert_allclose(arch(model), arch(flat), rtol=1e-15)
    again = arch.as_pytree(flat)
    assert again["blocks"][0].activation is jnp.tanh
    np.testing.assert_allclose(again["blocks"][0].weights[1], np.ones((4, 2)))
    gradient = jax.grad(lambda p: jnp.sum(arch(p)))(flat)
    assert set(gradient) == set(flat)
    plain = dln.Architecture(
        lambda p: 2.0 * p["b"] @ p["a"] @ p["c"] * p["d"], {"a": (2, 3), "b": (4, 2), "c": (3,), "d": (1,)}
    )
    assert plain.output_shape == arch.output_shape
    with pytest.raises(ValueError, match="missing"):
        arch.check({"blocks": []})
    with pytest.raises(ValueError, match="shape"):
        arch.check(
            {
                "blocks": [Block([jnp.ones((2, 2)), jnp.ones((4, 2))], 2.0, jnp.tanh)],
                "10": jnp.ones(3),
                "9": [1.0],
            }
        )


def test_nested_shapes_and_odd_names():
    arch = dln.Architecture(
        lambda p: p["α/β"] @ p["z"]["Wq"] + p["list"][1][None],
        {"α/β": (2, 2), "z": {"Wq": (2, 3)}, "list": [(), (3,)]},
    )
    assert list(arch.shapes) == ["α/β", "z/Wq", "list/0", "list/1"]
    values = arch.check(
        {"α/β": [[1, 0], [0, 1]], "z": {"Wq": np.ones((2, 3))}, "list": [0.0, [0.0, 0.0, 1.0]]}
    )
    np.testing.assert_allclose(arch(values), [[1, 1, 2], [1, 1, 2]], rtol=1e-15)
    np.testing.assert_allclose(arch.ravel(values)[:4], [1, 0, 0, 1], rtol=1e-15)
    with pytest.raises(ValueError, match="two are called 'a/b'"):
        dln.Architecture(lambda p: p["a/b"], {"a/b": (2,), "a": {"b": (2,)}})
    with pytest.raises(ValueError, match="non-empty dict"):
        dln.Architecture(lambda p: p, {"a": {}, "b": []})


def test_a_call_with_another_shape_says_how_to_map_over_a_batch():
    arch = dln.linear_network((2, 2))
    with pytest.raises(ValueError, match="jax.vmap"):
        arch({"W1": np.ones((5, 2, 2))})
    with pytest.raises(ValueError, match="missing"):
        arch({"W2": np.ones((2, 2))})


def test_laws_and_closures_need_no_mode_of_jax():
    shapes = {"W1": (2, 3), "W2": (2, 2)}

    def texts():
        arch = dln.Architecture(lambda p: 0.1 * p["W2"] @ p["W1"], shapes)
        laws, closure = dln.conservation_laws(arch), dln.find_closure(arch)
        return str(laws), str(closure.latex())

    with jax.enable_x64(False):
        found = texts()
    assert found == texts()
