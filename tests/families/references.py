"""One row a family: an architecture, φ in NumPy written independently of it, and the published number of laws."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlntheory import families as c


@dataclass(frozen=True)
class Row:
    """A member of a family, φ by entries, the number of laws N, and the metric for which it is stated."""

    arch: Any
    reference: Any
    laws: int
    metric: Any = None


def product(*matrices):
    """The product of matrices by sums over indices, without `@`."""
    first, *rest = matrices
    for second in rest:
        first = np.array([[sum(a * b for a, b in zip(x, y, strict=True)) for y in second.T] for x in first])
    return first


def chain(p, names):
    return product(*(p[name] for name in names))


def affine(p):
    """The matrix of x -> W2 (W1 x + b1) + b2, from its values at the origin and at the unit vectors."""
    outputs = [p["W2"] @ (p["W1"] @ x + p["b1"]) + p["b2"] for x in np.vstack([np.zeros(3), np.eye(3)])]
    return np.array([outputs[i] - outputs[0] for i in (1, 2, 3)] + [outputs[0]]).T


def residual(p):
    eye = np.eye(3)
    return product(p["W3"] + eye, p["W2"] + eye, p["W1"] + eye)


def blocks(p):
    """Column by column as a network with skip connections."""
    columns = []
    for x in np.eye(2):
        x = x + p["B1"] @ (p["A1"] @ x)
        columns.append(x + p["B2"] @ (p["A2"] @ x))
    return np.array(columns).T


def recurrent(p):
    """The response of the recursion to a unit impulse at time zero."""
    response = np.zeros((4, 1, 2))
    for j in range(2):
        state = p["B"][:, j]
        for k in range(4):
            response[k, :, j] = p["C"] @ state
            state = p["A"] @ state
    return response


def convolution(filters, length):
    """By the definition: every choice of one tap a layer contributes at the sum of their positions."""
    z = np.zeros(length)
    for places in itertools.product(*(range(len(w)) for w in filters)):
        z[sum(places) % length] += np.prod([w[i] for w, i in zip(filters, places, strict=True)])
    return z


def multichannel(p):
    z = np.zeros((2, 2, 4))
    for a, b, d, s, t in itertools.product(range(2), range(3), range(2), range(2), range(3)):
        z[a, d, s + t] += p["w2"][a, b, s] * p["w1"][b, d, t]
    return z


FROZEN = [[[1, 2], [0, 1], [-1, 3]], [[0, 1, 2], [1, 0, -1]]]


def adapters(p):
    first = np.array(FROZEN[0]) + product(p["B1"], p["A1"])
    return product(np.array(FROZEN[1]) + product(p["B2"], p["A2"]), first)


def scores_and_values(p):
    return np.array(
        [
            [product(p[f"Q{g}"], p[f"K{g}"].T), product(p[f"V{g}"], p[f"O{g}"])]
            for g in range(1, len(p) // 4 + 1)
        ]
    )


def linear_attention(p):
    return sum(np.multiply.outer(a, b) for a, b in scores_and_values(p))


def cp(p):
    z = np.zeros((2, 3, 2))
    for i, j, k, r in itertools.product(range(2), range(3), range(2), range(2)):
        z[i, j, k] += p["A1"][i, r] * p["A2"][j, r] * p["A3"][k, r]
    return z


def tucker(p):
    z = np.zeros((2, 3, 2))
    for i, j, k, a, b, d in itertools.product(range(2), range(3), range(2), range(2), range(2), range(2)):
        z[i, j, k] += p["G"][a, b, d] * p["U1"][i, a] * p["U2"][j, b] * p["U3"][k, d]
    return z


def train(p):
    z = np.zeros((2, 3, 2))
    for i, j, k in np.ndindex(2, 3, 2):
        z[i, j, k] = p["G1"][i] @ p["G2"][:, j] @ p["G3"][:, k]
    return z


def paths(p, weights, biases):
    """For each output a list of path products, by walking back from it; inputs before the bias at each node."""

    def ending_at(layer, node):
        if layer == 0:
            return [1.0]
        found = []
        for origin, weight in enumerate(p[weights[layer - 1]][node]):
            found += [weight * x for x in ending_at(layer - 1, origin)]
        if biases and layer < len(weights):
            found.append(p[biases[layer - 1]][node])
        return found

    last = len(weights)
    return np.array([ending_at(last, node) for node in range(len(p[weights[-1]]))])


def normalised(v):
    """The projection onto a line, by entries."""
    return np.array([[a * b / sum(x * x for x in v) for b in v] for a in v])


ROWS = {
    "linear": Row(c.linear_network((2, 3, 2, 2)), lambda p: chain(p, ("W3", "W2", "W1")), 9),
    "linear with biases": Row(c.linear_network((3, 2, 2), bias=True), affine, 3),
    "residual": Row(c.residual_network(3, 3), residual, 12),
    "residual, scalar": Row(
        c.residual_network(1, 3), lambda p: np.prod([1 + w for w in p.values()], axis=0), 2
    ),
    "residual blocks": Row(c.residual_blocks(2, (3, 1)), blocks, 7),
    "shortcut": Row(c.shortcut_network(2, 3, 2), lambda p: product(p["W2"], p["W1"]) + p["W3"], 6),
    "tied": Row(c.tied_network(2, 3), lambda p: product(p["W"], p["W"], p["W"]), 0),
    "sandwich": Row(c.sandwich(2, 2, 3), lambda p: chain(p, ("W3", "W", "W", "W1")), 4),
    "recurrent": Row(c.recurrent_network(2, 2, 1), recurrent, 3),
    "gram": Row(c.gram_factorisation(2, 3), lambda p: product(p["W"].T, p["W"]), 0),
    "gram, tall": Row(c.gram_factorisation(3, 2), lambda p: product(p["W"].T, p["W"]), 2),
    "difference of grams": Row(
        c.difference_of_grams(3, 2), lambda p: product(p["U"], p["U"].T) - product(p["V"], p["V"].T), 4
    ),
    "quadratic activation": Row(
        c.quadratic_activation(3, 2),
        lambda p: sum(a * np.outer(w, w) for a, w in zip(p["a"], p["W"], strict=True)),
        2,
    ),
    "diagonal": Row(c.diagonal_network(2, 3), lambda p: np.prod(list(p.values()), axis=0), 4),
    "difference of squares": Row(
        c.difference_of_squares(3), lambda p: (p["u"] + p["v"]) * (p["u"] - p["v"]), 3
    ),
    "power": Row(c.power_network(3, 4), lambda p: np.prod([p["u"]] * 4, axis=0), 0),
    "convolution": Row(
        c.convolutional_network((3, 2, 2)), lambda p: np.convolve(np.convolve(p["w1"], p["w2"]), p["w3"]), 2
    ),
    "convolution, circular": Row(
        c.convolutional_network((4, 4), length=4), lambda p: convolution(list(p.values()), 4), 3
    ),
    "convolution, two full and one short": Row(
        c.convolutional_network((4, 2, 4), length=4), lambda p: convolution(list(p.values()), 4), 4
    ),
    "multichannel": Row(c.multichannel_network((2, 3, 2), (3, 2)), multichannel, 6),
    "adapters": Row(c.low_rank_adapter((2, 3, 2), 2, frozen=FROZEN), adapters, 6),
    "attention": Row(c.attention(3, 2, heads=2), scores_and_values, 12),
    "linear attention": Row(c.linear_attention(2, 1, heads=2), linear_attention, 6),
    "merged attention": Row(
        c.merged_attention(2, heads=2),
        lambda p: sum(np.multiply.outer(p[f"A{g}"], p[f"B{g}"]) for g in (1, 2)),
        3,
    ),
    "CP": Row(c.cp_decomposition((2, 3, 2), 2), cp, 4),
    "Tucker": Row(c.tucker_decomposition((2, 3, 2), (2, 2, 2)), tucker, 9),
    "tensor train": Row(c.tensor_train((2, 3, 2), (2, 2)), train, 6),
    "weight normalised": Row(
        c.weight_normalised(3, 2),
        lambda p: np.array(
            [
                [[g * g * a * b / sum(x * x for x in v) for b in v] for a in v]
                for g, v in zip(p["g"], p["V"], strict=True)
            ]
        ),
        2,
    ),
    "scale invariant": Row(c.scale_invariant(3), lambda p: normalised(p["v"]), 1),
    "softmax": Row(c.softmax_output((2, 3)), lambda p: p["W1"][:2] - p["W1"][2], 2),
    "softmax, two layers": Row(
        c.softmax_output((2, 2, 3)), lambda p: product(p["W2"], p["W1"])[:2] - product(p["W2"], p["W1"])[2], 5
    ),
    "ReLU": Row(c.relu_network((2, 3, 2, 1)), lambda p: paths(p, ("W1", "W2", "W3"), ()), 5),
    "ReLU with biases": Row(
        c.relu_network((2, 3, 2, 1), bias=True), lambda p: paths(p, ("W1", "W2", "W3"), ("b1", "b2")), 5
    ),
    "non-negative": Row(
        c.nonnegative_factorisation(3, 2, 2),
        lambda p: product(p["U"], p["V"]),
        2,
        {"U": "theta", "V": "theta"},
    ),
    "input-convex": Row(
        c.input_convex(2, 3, 2, bias=True), lambda p: paths(p, ("V", "U"), ("b",)), 3, {"U": "theta"}
    ),
}
