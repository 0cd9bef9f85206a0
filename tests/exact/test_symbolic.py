"""φ in SymPy: names, LaTeX, exact evaluation, limits."""

import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from dlntheory.exact import symbolic_map

CHAIN = {"W1": (2, 3), "W2": (2, 2)}


def product(p):
    return p["W2"] @ p["W1"]


def test_entries_are_the_matrix_product():
    result = symbolic_map(product, CHAIN)
    w1, w2 = (sympy.Matrix(result.symbols[name].tolist()) for name in CHAIN)
    assert isinstance(result.z, sympy.ImmutableDenseMatrix)
    assert (result.z - w2 * w1).expand().is_zero_matrix
    assert str(result.symbols["W1"][0, 2]) == "W1_{1,3}"


def test_other_ranks_are_arrays():
    cube = symbolic_map(lambda p: jnp.einsum("i,j,k->ijk", p["a"], p["a"], p["b"]), {"a": (2,), "b": (3,)})
    assert isinstance(cube.z, sympy.ImmutableDenseNDimArray)
    a, b = cube.symbols["a"], cube.symbols["b"]
    assert cube.z[1, 0, 2] == a[1] * a[0] * b[2]
    scalar = symbolic_map(lambda p: p["u"] ** 2, {"u": ()})
    assert scalar.z[()] == sympy.Symbol("u") ** 2


def test_evaluates_exactly():
    result = symbolic_map(product, CHAIN)
    value = result.evaluate({"W1": np.ones((2, 3), int), "W2": [[0.1, 1 / 3], [1, -2]]})
    assert [str(x) for x in value[:, 0]] == ["13/30", "-1"]
    numbers = dict.fromkeys(result.symbols["W1"].flat, 2) | dict.fromkeys(result.symbols["W2"].flat, 3)
    twos_and_threes = result.evaluate({"W1": np.full((2, 3), 2), "W2": np.full((2, 2), 3)})
    assert list(result.z.xreplace(numbers).flat()) == [int(x) for x in twos_and_threes.ravel()]


def test_latex():
    result = symbolic_map(lambda p: p["theta"] * p["w_in"][0], {"theta": (), "w_in": (1, 2)})
    for factor in (r"\theta", r"\mathrm{w\_in}_{1,1}", r"\mathrm{w\_in}_{1,2}"):
        assert factor in result.latex()
    assert result._repr_latex_() == f"$\\displaystyle z = {result.latex()}$"
    assert "theta*w_in_{1,1}" in str(result)


def test_long_maps_are_abbreviated_and_stay_cheap():
    """The tree of ten layers has over a million leaves; neither form may print it."""

    def deep(p):
        z = p["W"]
        for _ in range(9):
            z = p["W"] @ z
        return z

    result = symbolic_map(deep, {"W": (4, 4)})
    assert result.printed_terms > 10**6
    assert result._repr_latex_() == (
        r"$\displaystyle \varphi : \mathbb{R}^{4 \times 4} \to \mathbb{R}^{4 \times 4}$"
    )
    assert len(str(result)) < 100
    assert result.evaluate({"W": np.ones((4, 4), int)})[0, 0] == 4**9


def test_indices_from_ten_on_do_not_collide():
    symbols = symbolic_map(lambda p: p["W"], {"W": (12, 12)}).symbols["W"]
    assert symbols[0, 10] != symbols[10, 0]
    assert len({str(s) for s in symbols.flat}) == 144


def test_refuses_what_is_too_large():
    with pytest.raises(ValueError, match=r"at most 20000 .* takes 27000"):
        symbolic_map(lambda p: p["B"] @ p["A"], {"A": (30, 30), "B": (30, 30)})
    with pytest.raises(ValueError, match="takes 40000"):
        symbolic_map(lambda p: p["A"], {"A": (200, 200)})


def test_refuses_two_symbols_of_one_name():
    with pytest.raises(ValueError, match=r"'W' and 'W_\{1\}'"):
        symbolic_map(lambda p: p["W"] * p["W_{1}"], {"W": (1,), "W_{1}": ()})


def test_refuses_several_outputs():
    with pytest.raises(ValueError, match="one array"):
        symbolic_map(lambda p: (p["a"], p["a"]), {"a": (2,)})
