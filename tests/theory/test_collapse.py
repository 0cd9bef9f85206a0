"""Collapse metrics: against their definition, at orthonormal inputs, and their slope after full training."""

import numpy as np
import pytest

import dlntheory as dln
from dlntheory.claims.parsimony import runs
from dlntheory.claims.parsimony.training import collapse_line
from dlntheory.theory.collapse import collapse_at_inputs, collapse_metrics, collapse_slope


def by_definition(features, labels):
    classes = np.unique(labels)
    means = np.stack([features[labels == c].mean(axis=0) for c in classes])
    within = sum(
        np.outer(x - means[i], x - means[i]) for i, c in enumerate(classes) for x in features[labels == c]
    )
    centred = means - means.mean(axis=0)
    return np.trace(within) / len(features) / (np.trace(centred.T @ centred) / len(classes))


def test_metrics_are_their_definition():
    rng = np.random.default_rng(0)
    arch = dln.linear_network((6, 5, 4))
    params = {"W1": rng.standard_normal((5, 6)), "W2": rng.standard_normal((4, 5))}
    inputs, labels = rng.standard_normal((11, 6)), np.array([7, 3, 3, 7, 7, 3, 1, 1, 1, 1, 7])
    found = collapse_metrics(arch, params, inputs, labels)
    for value, features in zip(
        found, [inputs, inputs @ params["W1"].T, inputs @ params["W1"].T @ params["W2"].T], strict=True
    ):
        assert value == pytest.approx(by_definition(features, labels), rel=1e-13)


@pytest.mark.parametrize(("classes", "each"), [(5, 10), (3, 2), (2, 7)])
def test_orthonormal_inputs(classes, each):
    size = classes * each
    inputs = runs.semi_orthogonal(np.random.default_rng(0), size, size)
    found = collapse_metrics(
        dln.linear_network((size, size)), {"W1": np.eye(size)}, inputs, np.repeat(np.arange(classes), each)
    )
    np.testing.assert_allclose(found, collapse_at_inputs(classes, each), rtol=1e-13)
    assert collapse_at_inputs(classes, each) == pytest.approx((size - classes) / (classes - 1))


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "depth"), [(0.25, 4), (0.125, 4)])
def test_slope_after_training(scale, depth):
    logs = np.log(collapse_line(scale, depth))
    np.testing.assert_allclose(np.diff(logs), collapse_slope(scale, 10, depth), rtol=0.01)


@pytest.mark.slow
def test_slope_after_full_training():
    # The same through the full network by hand: no compression involved.
    classes, each, depth, scale = 4, 6, 4, 0.25
    size = classes * each
    inputs = runs.semi_orthogonal(np.random.default_rng(0), size, size)
    labels = np.repeat(np.arange(classes), each)
    layers = runs.start_layers((*[size] * depth, classes), "orthogonal", (scale,) * depth)
    trained = runs.train(layers, np.eye(classes)[labels].T @ inputs, rate=0.03, steps=4000)
    found = collapse_metrics(
        dln.linear_network((*[size] * depth, classes)), runs.named(trained), inputs, labels
    )
    np.testing.assert_allclose(np.diff(np.log(found[:-1])), collapse_slope(scale, each, depth), rtol=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(4)}, r"must name two or more classes, but names \[0\.0\]"),
        ({"inputs": np.eye(3)}, r"must have shapes \(n, 4\) and \(n,\), but have \(3, 3\) and \(4,\)"),
        ({"params": {"W1": np.zeros((4, 4))}}, "after 1 layers all 2 coincide"),
        ({"arch": dln.Architecture(lambda p: p["A"] * 2.0, {"A": (4, 4)})}, "must be a chain of matrices"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {
        "arch": dln.linear_network((4, 4)),
        "params": {"W1": np.eye(4)},
        "inputs": np.eye(4),
        "labels": np.array([0, 0, 1, 1]),
    }
    with pytest.raises(ValueError, match=message):
        collapse_metrics(**{**arguments, **change})
