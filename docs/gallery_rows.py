"""The architectures of `docs/gallery.md`, as their users write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dlntheory as dln
from dlntheory import families as catalogue

FROZEN = ((1.0, 0.0, -1.0), (0.5, 2.0, 0.0))
INPUTS = ((1.0, 0.0, 2.0), (0.0, 1.0, -1.0))


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of the gallery.

    Attributes:
        title: what readers call the network.
        formula: φ in LaTeX.
        build: makes the architecture.
        options: arguments of `find_closure`.
        start: a start that meets the assumptions of the closure; by default Gaussian.
        scale: standard deviation of the Gaussian start.
        quick: the row is checked whenever the tests run.
    """

    title: str
    formula: str
    build: Callable[[], dln.Architecture]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    start: Callable[[dln.Architecture], dict[str, Any]] | None = None
    scale: float = 0.7
    quick: bool = False


def _made(phi: Callable[[dict[str, Any]], Any], **shapes: tuple[int, ...]) -> Callable[[], dln.Architecture]:
    return lambda: dln.Architecture(phi, shapes, name="φ")


def _eye(array: Any) -> Any:
    return jnp.eye(len(array))


def _residual(p):
    return (_eye(p["U2"]) + p["U2"] @ p["V2"].T) @ (_eye(p["U1"]) + p["U1"] @ p["V1"].T)


def _recurrent(p):
    return jnp.concatenate(
        [p["C"] @ p["B"], p["C"] @ p["A"] @ p["B"], p["C"] @ p["A"] @ p["A"] @ p["B"]], axis=1
    )


def _scalar_second_law(arch: dln.Architecture) -> dict[str, Any]:
    """W3^T W3 - W2 W2^T = 0.5 I, the other law arbitrary."""
    rng = np.random.default_rng(1)
    theta = {name: 0.7 * rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    u, s, _ = np.linalg.svd(theta["W2"])
    q, _ = np.linalg.qr(rng.standard_normal((arch.shapes["W3"][0],) * 2))
    return {**theta, "W3": q[:, : len(s)] @ np.diag(np.sqrt(s**2 + 0.5)) @ u.T}


def _balanced(arch: dln.Architecture) -> dict[str, Any]:
    return dict(dln.balanced(arch, jax.random.key(0), scale=0.8))


def _gated() -> dln.Architecture:
    shapes = {"A": (1, 2), "B": (1, 2), "W": (1, 1)}
    return dln.from_model(lambda p, x: p["W"] @ ((p["A"] @ x) * (p["B"] @ x)), shapes, (2,), name="φ")


#: The architectures whose closures are known by hand.
KNOWN = (
    Entry("two layers", "W_2W_1", lambda: dln.linear_network((2, 3, 2)), quick=True),
    Entry("two layers, 50 hidden", "W_2W_1", lambda: dln.linear_network((3, 50, 4)), scale=0.2),
    Entry("adapter (LoRA)", "W + BA", lambda: catalogue.low_rank_adapter((3, 2), 1, frozen=[FROZEN])),
    Entry(
        "residual block",
        r"I + UV^\top",
        _made(lambda p: _eye(p["U"]) + p["U"] @ p["V"].T, U=(2, 3), V=(2, 3)),
    ),
    Entry("tied factors", r"UU^\top", _made(lambda p: p["U"] @ p["U"].T, U=(2, 3)), quick=True),
    Entry(
        "attention, scores and values",
        r"(QK^\top, VO^\top)",
        _made(lambda p: jnp.stack([p["Q"] @ p["K"].T, p["V"] @ p["O"].T]), **dict.fromkeys("QKVO", (2, 2))),
    ),
    Entry(
        "shared query",
        r"(QK^\top, QV^\top)",
        _made(lambda p: jnp.stack([p["Q"] @ p["K"].T, p["Q"] @ p["V"].T]), **dict.fromkeys("QKV", (2, 2))),
    ),
    Entry("diagonal", r"u \odot v", _made(lambda p: p["u"] * p["v"], u=(3,), v=(3,))),
    Entry("ReLU neuron", r"uv^\top", _made(lambda p: jnp.outer(p["u"], p["v"]), u=(2,), v=(2,))),
    Entry("scalar chain", "abc", _made(lambda p: p["a"] * p["b"] * p["c"], a=(), b=(), c=())),
    Entry("three layers", "W_3W_2W_1", lambda: dln.linear_network((2, 3, 3, 2)), quick=True),
    Entry("three layers, 1-2-2-1", "W_3W_2W_1", lambda: dln.linear_network((1, 2, 2, 1))),
    Entry(
        "three layers, second law scalar",
        r"W_3W_2W_1,\ D_2 = \tfrac12 I",
        lambda: dln.linear_network((2, 3, 3, 4)),
        {"balanced": {2: 0.5}},
        _scalar_second_law,
    ),
    Entry(
        "four layers, balanced",
        r"W_4W_3W_2W_1,\ D_l = 0",
        lambda: dln.linear_network((2, 3, 3, 3, 3)),
        {"balanced": 0.0},
        _balanced,
    ),
    Entry(
        "two residual blocks",
        r"(I + U_2V_2^\top)(I + U_1V_1^\top)",
        _made(_residual, **dict.fromkeys(("U2", "V2", "U1", "V1"), (2, 1))),
    ),
    Entry("cube", "U^3", _made(lambda p: p["U"] @ p["U"] @ p["U"], U=(2, 2)), scale=0.5),
)

#: What else the catalogue and users bring.
FURTHER = (
    Entry(
        "linear attention, two heads",
        r"\sum_h Q_h K_h^\top \otimes V_h O_h",
        lambda: catalogue.linear_attention(2, 1, 2),
    ),
    Entry(
        "two heads in one array",
        r"(Q_h K_h^\top)_h",
        _made(lambda p: jnp.einsum("hik,hjk->hij", p["Q"], p["K"]), Q=(2, 3, 2), K=(2, 3, 2)),
    ),
    Entry(
        "adapters on two layers",
        "(W + B_2A_2)(W' + B_1A_1)",
        lambda: catalogue.low_rank_adapter((2, 3, 2), 1, frozen=[np.array(FROZEN).T, FROZEN]),
    ),
    Entry(
        "residual blocks, width 3", "(I + B_2A_2)(I + B_1A_1)", lambda: catalogue.residual_blocks(3, [1, 1])
    ),
    Entry("residual network", "(I + W_2)(I + W_1)", lambda: catalogue.residual_network(2, 2)),
    Entry("bottleneck with skip", "W_2W_1 + W_3", lambda: catalogue.shortcut_network(3, 1, 2)),
    Entry("tensor train, ranks 1", "G_1 G_2 G_3", lambda: catalogue.tensor_train((2, 2, 2), [1, 1])),
    Entry("tensor train, ranks 2", "G_1 G_2 G_3", lambda: catalogue.tensor_train((2, 2, 2), [2, 2])),
    Entry("CP tensor, rank 1", r"a \otimes b \otimes c", lambda: catalogue.cp_decomposition((2, 2, 2), 1)),
    Entry("tied encoder and decoder", r"W^\top W", lambda: catalogue.gram_factorisation(3, 4)),
    Entry("difference of Gram matrices", r"UU^\top - VV^\top", lambda: catalogue.difference_of_grams(2, 2)),
    Entry("difference of squares", r"u^2 - v^2", lambda: catalogue.difference_of_squares(2)),
    Entry("gated linear unit (a model)", r"W(Ax \odot Bx)", _gated),
    Entry("quadratic activation, one unit", r"a\,(w^\top x)^2", lambda: catalogue.quadratic_activation(2, 1)),
    Entry(
        "quadratic activation, two units",
        r"\sum_h a_h (w_h^\top x)^2",
        lambda: catalogue.quadratic_activation(2, 2),
    ),
    Entry("convolution", r"w_2 * w_1", lambda: catalogue.convolutional_network([2, 2])),
    Entry("convolution, two channels", r"W_2 * W_1", lambda: catalogue.multichannel_network([1, 2, 1], 2)),
    Entry("unrolled recurrent network", "(CB, CAB, CA^2B)", _made(_recurrent, A=(2, 2), B=(2, 1), C=(1, 2))),
    Entry("square by a shared weight", "W^2", lambda: catalogue.tied_network(2, 2)),
    Entry("shared middle layers", "W_3 W W W_1", lambda: catalogue.sandwich(2, 2, 2)),
    Entry(
        "two layers on two samples", "W_2W_1X", lambda: dln.linear_network((3, 2, 2)).restricted_to(INPUTS)
    ),
    Entry(
        "two layers with biases", "(W_2W_1, W_2b_1 + b_2)", lambda: dln.linear_network((2, 3, 2), bias=True)
    ),
    Entry("ReLU network (path lifting)", r"u_h v_{hi}", lambda: dln.relu_network((2, 2, 1))),
    Entry(
        "Kronecker product",
        r"A \otimes B",
        _made(lambda p: jnp.kron(p["A"], p["B"]), A=(2, 1), B=(1, 2)),
    ),
)

#: The headings of the page, and the architectures below each by their titles.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Products of matrices": (
        "two layers",
        "two layers, 50 hidden",
        "two layers with biases",
        "two layers on two samples",
        "three layers",
        "three layers, second law scalar",
        "three layers, 1-2-2-1",
        "four layers, balanced",
        "scalar chain",
        "Kronecker product",
    ),
    "Residual networks and adapters": (
        "residual block",
        "two residual blocks",
        "residual blocks, width 3",
        "residual network",
        "bottleneck with skip",
        "adapter (LoRA)",
        "adapters on two layers",
    ),
    "Attention": (
        "attention, scores and values",
        "shared query",
        "two heads in one array",
        "linear attention, two heads",
    ),
    "Tied and shared weights": (
        "tied factors",
        "tied encoder and decoder",
        "difference of Gram matrices",
        "square by a shared weight",
        "cube",
        "shared middle layers",
        "unrolled recurrent network",
    ),
    "Diagonal networks, neurons, activations": (
        "diagonal",
        "difference of squares",
        "ReLU neuron",
        "ReLU network (path lifting)",
        "quadratic activation, one unit",
        "quadratic activation, two units",
        "gated linear unit (a model)",
    ),
    "Convolutions": ("convolution", "convolution, two channels"),
    "Tensors": ("CP tensor, rank 1", "tensor train, ranks 1", "tensor train, ranks 2"),
}
_BY_TITLE = {entry.title: entry for entry in (*KNOWN, *FURTHER)}

ENTRIES = tuple(_BY_TITLE[title] for titles in GROUPS.values() for title in titles)
