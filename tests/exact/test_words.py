"""Words read off functions that users write, against φ itself; and the reasons where there are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory.exact.words.reading import (
    NoWords,
    WordForm,
    canonical,
    read_words,
    word_latex,
    word_text,
)

OFFSET = np.array([[0.5, -2.0, 0.0], [1.0, 3.0, 0.25], [0.0, 0.0, 1.0], [2.0, 1.0, -1.0]])
SAMPLES = np.arange(6.0).reshape(3, 2) - 2.0

UV = {"U": (4, 5), "V": (3, 5)}
TWO = {"U2": (3, 2), "V2": (3, 2), "U1": (3, 2), "V1": (3, 2)}
HEADS = {"Q": (2, 3, 4), "K": (2, 3, 4)}
CHAIN = {"A": (4, 5), "B": (5, 2), "C": (2, 3)}
ATTENTION = dict.fromkeys("QKVO", (3, 2))

READABLE = {
    "product": (lambda p: p["U"] @ p["V"].T, UV, "z = U V^T"),
    "einsum": (lambda p: jnp.einsum("ik,jk->ij", p["U"], p["V"]), UV, "z = U V^T"),
    "einsum, transposed": (lambda p: jnp.einsum("ik,jk->ji", p["U"], p["V"]), UV, "z = V U^T"),
    "einsum of three": (lambda p: jnp.einsum("ij,jk,kl->il", p["A"], p["B"], p["C"]), CHAIN, "z = A B C"),
    "multi_dot": (lambda p: jnp.linalg.multi_dot([p["A"], p["B"], p["C"]]), CHAIN, "z = A B C"),
    "matmul and tensordot": (
        lambda p: jnp.tensordot(jnp.matmul(p["A"], p["B"]), p["C"], 1).T,
        CHAIN,
        "z = C^T B^T A^T",
    ),
    "sum of products": (lambda p: jnp.sum(p["U"][:, None, :] * p["V"][None], -1), UV, "z = U V^T"),
    "half and identity": (
        lambda p: p["U"] @ p["U"].T / 2 + jnp.eye(4),
        {"U": (4, 3)},
        "z = 1/2 U U^T + constant",
    ),
    "low rank": (lambda p: OFFSET + 2 * p["B"] @ p["A"], {"B": (4, 2), "A": (2, 3)}, "z = 2 B A + constant"),
    "residual blocks": (
        lambda p: (jnp.eye(3) + p["U2"] @ p["V2"].T) @ (jnp.eye(3) + p["U1"] @ p["V1"].T),
        TWO,
        "z = U2 V2^T U1 V1^T + U1 V1^T + U2 V2^T + constant",
    ),
    "stack": (
        lambda p: jnp.stack([p["Q"] @ p["K"].T, p["V"] @ p["O"].T]),
        ATTENTION,
        "z block 1 = Q K^T\nz block 2 = V O^T",
    ),
    "concatenated vectors": (
        lambda p: jnp.concatenate([(p["Q"] @ p["K"].T).ravel(), (p["V"] @ p["O"].T).reshape(-1)]),
        ATTENTION,
        "z block 1 = Q K^T\nz block 2 = V O^T",
    ),
    "heads": (
        lambda p: jax.vmap(lambda q, k: q @ k.T)(p["Q"], p["K"]),
        HEADS,
        "z block 1 = Q[0] K[0]^T\nz block 2 = Q[1] K[1]^T",
    ),
    "heads added up": (
        lambda p: jax.vmap(lambda q, k: q @ k.T)(p["Q"], p["K"]).sum(0),
        HEADS,
        "z = Q[0] K[0]^T + Q[1] K[1]^T",
    ),
    "heads in the middle": (
        lambda p: jnp.einsum("nhk,mhk->nm", p["Q"], p["K"]),
        {"Q": (3, 2, 4), "K": (3, 2, 4)},
        "z = Q[:,0,:] K[:,0,:]^T + Q[:,1,:] K[:,1,:]^T",
    ),
    "outer": (lambda p: jnp.outer(p["u"], p["v"]), {"u": (3,), "v": (2,)}, "z = u v^T"),
    "kron of vectors": (lambda p: jnp.kron(p["u"], p["v"]), {"u": (3,), "v": (2,)}, "z = u v^T"),
    "row vector": (lambda p: p["w"] @ p["U"], {"w": (4,), "U": (4, 5)}, "z = U^T w"),
    "number": (lambda p: jnp.dot(p["u"], p["v"]), {"u": (3,), "v": (3,)}, "z = u^T v"),
    "kron with the identity": (
        lambda p: jnp.kron(jnp.eye(2), p["U"] @ p["V"].T),
        UV,
        "z block 1 = U V^T\nz block 2 = U V^T",
    ),
    "concatenated factors": (
        lambda p: jnp.concatenate([p["A"], p["B"]], 1) @ jnp.concatenate([p["C"], p["D"]]),
        {"A": (2, 4), "B": (2, 1), "C": (4, 2), "D": (1, 2)},
        "z = A C + B D",
    ),
    "on samples": (
        lambda p: p["W2"] @ p["W1"] @ SAMPLES,
        {"W2": (2, 5), "W1": (5, 3)},
        "z = W2 W1 C1",
    ),
    "columns one by one": (
        lambda p: jax.vmap(lambda x: p["V"].T @ (p["W"] @ x), out_axes=1)(jnp.eye(4)),
        {"W": (5, 4), "V": (5, 3)},
        "z = V^T W",
    ),
    "power": (lambda p: jnp.linalg.matrix_power(p["X"], 3), {"X": (3, 3)}, "z = X X X"),
    "loop": (
        lambda p: jax.lax.fori_loop(0, 3, lambda i, z: p["X"] @ z, jnp.eye(3)),
        {"X": (3, 3)},
        "z = X X X",
    ),
    "symmetrised": (lambda p: p["X"] @ p["X"] + p["X"].T - p["X"], {"X": (3, 3)}, "z = X X + X^T - X"),
    "block matrix": (
        lambda p: jnp.block([[p["A"] @ p["B"], jnp.zeros((2, 2))], [jnp.ones((3, 3)), p["C"]]]),
        {"A": (2, 4), "B": (4, 3), "C": (3, 2)},
        "z block 1 = A B\nz block 2 = C",
    ),
}


@pytest.mark.parametrize("case", READABLE)
def test_words_are_read_and_equal_phi(case):
    phi, shapes, text = READABLE[case]
    form = read_words(phi, shapes)
    assert isinstance(form, WordForm)
    assert _sorted(str(form)) == _sorted(text)
    rng = np.random.default_rng(1)
    params = {name: rng.integers(-3, 4, shape).astype(float) for name, shape in shapes.items()}
    # Small integers and dyadic constants: floats are exact.
    np.testing.assert_array_equal(form.evaluate(params), np.asarray(phi(params)))


def _sorted(text: str) -> list[str]:
    """The order of the summands is not part of the contract."""
    return [
        " ".join(sorted(line.split("=")[1].replace(" - ", " + -").split(" + "))) for line in text.splitlines()
    ]


REASONS = {
    "entrywise": (lambda p: p["u"] * p["v"], {"u": (3,), "v": (3,)}, "only part of u v"),
    "kron": (lambda p: jnp.kron(p["U"], p["V"]), {"U": (3, 2), "V": (2, 2)}, "entrywise product"),
    "scalar": (lambda p: p["a"] * p["W"], {"a": (), "W": (2, 2)}, "a scalar"),
    "four axes": (lambda p: p["T"][0, 0], {"T": (1, 1, 2, 2)}, "4 axes"),
    "slice": (lambda p: (p["U"] @ p["V"].T)[:2], UV, "only part of U V"),
    "part of a factor": (lambda p: p["U"][:, :3] @ p["V"][:, :3].T, UV, "only parts of U and V"),
    "activation": (lambda p: (p["W"].T * p["a"][None]) @ p["W"], {"W": (3, 2), "a": (3,)}, "entrywise"),
    "division": (lambda p: p["u"] / jnp.sum(p["u"] ** 2), {"u": (3,)}, "divides"),
    "trace": (lambda p: jnp.trace(p["X"]), {"X": (3, 3)}, "only part of X"),
    "mask": (lambda p: p["X"] * np.arange(25.0).reshape(5, 5), {"X": (5, 5)}, "constant matrix"),
}


@pytest.mark.parametrize("case", REASONS)
def test_reason_where_there_are_no_words(case):
    phi, shapes, words = REASONS[case]
    found = read_words(phi, shapes)
    assert isinstance(found, NoWords)
    assert words in found.reason
    assert words in str(found)


def test_blocks_say_where_they_stand():
    form = read_words(lambda p: jnp.concatenate([p["A"].T, p["B"]]), {"A": (2, 3), "B": (1, 2)})
    assert isinstance(form, WordForm)
    first, second = form.blocks
    assert (first.shape, second.shape) == ((3, 2), (1, 2))
    np.testing.assert_array_equal(first.positions, np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(second.positions, [[6, 7]])
    assert first.terms == {(("A", True),): 1}
    assert form.words == ((("A", True),), (("B", False),))
    np.testing.assert_array_equal(second.gradient(np.arange(8.0)), [[6.0, 7.0]])
    assert form.shape_of((("A", True),)) == (3, 2)
    assert not form.has_constant


def test_constant_matrices_become_letters_once():
    form = read_words(lambda p: SAMPLES.T @ p["W"] @ SAMPLES, {"W": (3, 3)})
    assert isinstance(form, WordForm)
    assert [name for name, source in form.letters.items() if source.factor is None] == ["C1"]
    (block,) = form.blocks
    ((word, coefficient),) = block.terms.items()
    assert coefficient == 1
    assert [name for name, _ in word] == ["C1", "W", "C1"]
    named = read_words(lambda p: SAMPLES.T @ p["C1"], {"C1": (3, 2)})
    assert isinstance(named, WordForm)
    assert set(named.letters) == {"C1", "C2"}


def test_names_of_words():
    word = (("W2", True), ("Q[0]", False), ("Q[:,1,:]", False), ("lambda", False), ("w_in", True))
    assert word_text(word) == "W2^T Q[0] Q[:,1,:] lambda w_in^T"
    assert word_text(()) == "1"
    assert word_latex(word) == (r"W_{2}^{\top} Q_{[0]} Q_{[\cdot,1,\cdot]} \lambda \mathrm{w\_in}^{\top}")
    assert word_latex(()) == "I"
    assert canonical((("V", False), ("U", True))) == (("U", False), ("V", True))


def test_hidden_width_does_not_slow_the_reading():
    form = read_words(lambda p: p["W2"] @ p["W1"], {"W2": (10, 400), "W1": (400, 60)})
    assert isinstance(form, WordForm)
    assert len(form.words) == 1
