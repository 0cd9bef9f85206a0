"""Every public callable and every argument against bad values: an error that names it, or a value without NaN.

A row is a callable with arguments that are right; each of them is replaced in turn by each bad value. What comes out
must be a `ValueError` that names the argument, or a value in which no NaN stands. A raw `TypeError` of `float()`, an
`AttributeError` or a silent NaN fails. Nothing here is meant to compile: bad values are refused before that.
"""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

import dlntheory as dln
from dlntheory import data, families, initial, laws, losses, solutions, training
from dlntheory.theory import alignment, geometry, landscape, mean_field, saddles

KEY = jax.random.key(0)
ROOT = object()

#: The bad values. Some are right for some arguments: then they must give a value.
BAD: dict[str, Any] = {
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "1e308": 1e308,
    "1e-320": 1e-320,
    "-1": -1,
    "0": 0,
    "none": None,
    "text": "1",
    "complex": 1.0 + 2.0j,
    "masked": np.ma.array([1.0, 2.0], mask=[True, False]),
    "empty": np.zeros(0),
    "object": ROOT,
    "objects": np.array([None, ROOT], dtype=object),
    "rank": np.ones((1, 2, 1, 2)),
    "nans": np.full((2, 2), np.nan),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A callable with right arguments.

    Attributes:
        call: what is called, with keyword arguments.
        right: right values by argument.
        nan: the docstring says for which values the result is NaN: a formula under `jax.jit` cannot refuse them.
        named: another name of an argument in messages: that of a quantity which is derived from it.
    """

    call: Callable[..., Any]
    right: Mapping[str, Any]
    named: Mapping[str, str] = dataclasses.field(default_factory=dict)
    nan: bool = False


ARCH = families.linear_network((2, 2, 2))
MIXED = families.linear_network((1, 3, 1))
THETA = {"W1": np.eye(2), "W2": np.eye(2)}
X = np.array([[1.0, 0.0], [0.5, 2.0], [1.0, 1.0]])
Y = np.array([[1.0], [0.0], [2.0]])

ROWS: dict[str, Row] = {
    # --- families ---
    "linear_network": Row(families.linear_network, {"widths": (2, 2)}),
    "relu_network": Row(families.relu_network, {"widths": (2, 2)}),
    "residual_network": Row(families.residual_network, {"width": 2, "depth": 2}),
    "residual_blocks": Row(families.residual_blocks, {"width": 2, "hidden": (1, 2)}),
    "shortcut_network": Row(families.shortcut_network, {"inputs": 2, "hidden": 1, "outputs": 2}),
    "tied_network": Row(families.tied_network, {"width": 2, "power": 2}),
    "sandwich": Row(families.sandwich, {"inputs": 2, "width": 2, "outputs": 1}),
    "recurrent_network": Row(families.recurrent_network, {"inputs": 1, "state": 2, "outputs": 1, "steps": 2}),
    "gram_factorisation": Row(families.gram_factorisation, {"rank": 1, "size": 2}),
    "difference_of_grams": Row(families.difference_of_grams, {"size": 2, "rank": 1}),
    "quadratic_activation": Row(families.quadratic_activation, {"inputs": 2, "hidden": 1}),
    "weight_normalised": Row(families.weight_normalised, {"inputs": 2, "neurons": 1}),
    "scale_invariant": Row(families.scale_invariant, {"size": 2}),
    "diagonal_network": Row(families.diagonal_network, {"width": 2, "depth": 2}),
    "difference_of_squares": Row(families.difference_of_squares, {"width": 2}),
    "power_network": Row(families.power_network, {"width": 2, "power": 2}),
    "convolutional_network": Row(families.convolutional_network, {"filters": (2, 2), "length": 3}),
    "multichannel_network": Row(families.multichannel_network, {"channels": (1, 2), "taps": 2}),
    "low_rank_adapter": Row(
        families.low_rank_adapter, {"widths": (2, 2), "rank": 1, "frozen": [np.eye(2)], "seed": 0}
    ),
    "attention": Row(families.attention, {"dimension": 2, "head": 1, "heads": 1}),
    "linear_attention": Row(families.linear_attention, {"dimension": 2, "head": 1, "heads": 1}),
    "merged_attention": Row(families.merged_attention, {"dimension": 2, "heads": 1}),
    "cp_decomposition": Row(families.cp_decomposition, {"shape": (2, 2), "rank": 1}),
    "tucker_decomposition": Row(families.tucker_decomposition, {"shape": (2, 2), "ranks": (1, 1)}),
    "tensor_train": Row(families.tensor_train, {"shape": (2, 2), "ranks": (1,)}),
    "softmax_output": Row(families.softmax_output, {"widths": (2, 2)}),
    "nonnegative_factorisation": Row(
        families.nonnegative_factorisation, {"rows": 2, "rank": 1, "columns": 2}
    ),
    "input_convex": Row(families.input_convex, {"outputs": 1, "hidden": 2, "inputs": 2}),
    # --- models ---
    "from_model": Row(
        dln.from_model,
        {"model": lambda p, x: p["a"] @ x, "shapes": {"a": (2,)}, "input_shape": 2},
    ),
    # --- data ---
    "Dataset": Row(data.Dataset, {"inputs": X, "targets": Y, "teacher": np.ones((1, 2))}),
    "Dataset.subset": Row(data.Dataset(X, Y).subset, {"selection": 2}),
    "linear_teacher": Row(
        data.linear_teacher,
        {"key": KEY, "samples": 3, "inputs": 2, "outputs": 2, "rank": 1, "noise": 0.1},
    ),
    "low_rank_target": Row(data.low_rank_target, {"key": KEY, "shape": (2, 2), "singular_values": [1.0]}),
    "whitened_gaussian": Row(data.whitened_gaussian, {"key": KEY, "samples": 3, "dimension": 2}),
    "power_law": Row(
        data.power_law,
        {"key": KEY, "samples": 3, "dimension": 2, "exponent": 1.0, "source": 1.0, "noise": 0.0},
    ),
    "simplex_margin": Row(data.simplex_margin, {"key": KEY, "samples": 4, "dimension": 2, "margin": 0.3}),
    "blobs": Row(data.blobs, {"key": KEY, "samples": 4, "dimension": 2, "separation": 6.0}),
    "digits": Row(data.digits, {"classes": (3, 8)}),
    "digit_pair": Row(
        data.digit_pair, {"first": 3, "second": 8}, named=dict.fromkeys(("first", "second"), "classes")
    ),
    # --- losses ---
    "SquaredLoss": Row(losses.SquaredLoss, {"inputs": X, "targets": Y, "reduction": "mean"}),
    "SquaredLoss.from_target": Row(losses.SquaredLoss.from_target, {"target": np.eye(2)}),
    "LogisticLoss": Row(losses.LogisticLoss, {"inputs": X, "labels": [1, -1, 1], "reduction": "mean"}),
    "ExponentialLoss": Row(losses.ExponentialLoss, {"inputs": X, "labels": [1, -1, 1], "reduction": "mean"}),
    "CrossEntropyLoss": Row(
        losses.CrossEntropyLoss,
        {"inputs": X, "labels": [0, 1, 0], "classes": 2, "reduction": "mean"},
    ),
    "SampleLoss": Row(losses.SampleLoss, {"inputs": X, "targets": Y, "sample_loss": None}),
    "MatrixCompletionLoss": Row(
        losses.MatrixCompletionLoss,
        {"target": np.eye(2), "mask": np.eye(2) == 1, "reduction": "sum"},
    ),
    # --- starts ---
    "gaussian": Row(initial.gaussian, {"arch": ARCH, "key": KEY, "scale": 1.0}),
    "orthogonal": Row(initial.orthogonal, {"arch": ARCH, "key": KEY, "scale": 1.0}),
    "balanced": Row(initial.balanced, {"arch": ARCH, "key": KEY, "scale": 1.0}),
    "balanced, product": Row(initial.balanced, {"arch": ARCH, "key": KEY, "product": np.eye(2)}),
    "lambda_balanced": Row(initial.lambda_balanced, {"arch": ARCH, "key": KEY, "lam": 0.5, "scale": 1.0}),
    "mixed_balanced": Row(
        initial.mixed_balanced,
        {"arch": MIXED, "key": KEY, "lam": 0.5, "mu": 0.5, "scale": 1.0},
    ),
    "project_to_relaxed_balanced": Row(
        initial.project_to_relaxed_balanced, {"arch": ARCH, "theta0": THETA, "lambdas": 0.5}
    ),
    "near_identity": Row(initial.near_identity, {"arch": ARCH, "generator": lambda s: np.eye(2)}),
    "near_identity_balanced": Row(
        initial.near_identity_balanced,
        {"arch": ARCH, "symmetric": np.eye(2), "rotation": np.zeros((2, 2)), "lam": 0.1},
    ),
    "near_identity_product": Row(
        initial.near_identity_product,
        {"symmetric": np.eye(2), "rotation": np.zeros((2, 2)), "lam": 0.1},
    ),
    # --- laws ---
    "conservation_laws": Row(
        laws.conservation_laws,
        {
            "arch": ARCH,
            "momentum": None,
            "metric": None,
            "degree": 1,
            "laws": (),
            "time_limit": 10.0,
            "max_depth": 2,
            "seed": 0,
        },
    ),
    "balance": Row(laws.balance, {"arch": ARCH, "params": THETA, "rates": {}}),
    "balance, rate": Row(
        lambda rate: laws.balance(ARCH, THETA, {"W1": rate}), {"rate": 1.0}, named={"rate": "rates"}
    ),
    "imbalances": Row(laws.imbalances, {"arch": ARCH, "params": THETA, "rates": {}}),
}

LOSS = losses.SquaredLoss.from_target(np.eye(2))
SETTINGS = {"weight_decay": 0.0, "rates": None}
FLOW = training.GradientFlow(ARCH, LOSS)
DESCENT = training.GradientDescent(ARCH, LOSS, 0.1)
CHAIN = {"arch": ARCH, "loss": LOSS}
STEP = {**CHAIN, "learning_rate": 0.1}
LABELLED = np.array([[1.0, 0.0], [0.5, 1.0], [1.0, 1.0]])

#: Rows of the packages after the laws: nothing in them is integrated with right arguments, only refused.
ROWS |= {
    # --- training ---
    "Training": Row(training.Training, {"loss": LOSS, **SETTINGS}),
    "GradientFlow": Row(training.GradientFlow, {**CHAIN, **SETTINGS}),
    "MomentumFlow": Row(training.MomentumFlow, {**CHAIN, "friction": 0.5}),
    "MirrorFlow": Row(training.MirrorFlow, {**CHAIN, "metric": {"W1": "theta"}}),
    "ModifiedFlow": Row(training.ModifiedFlow, STEP),
    "GradientDescent": Row(training.GradientDescent, STEP),
    "HeavyBall": Row(training.HeavyBall, {**STEP, "momentum": 0.5}),
    "Nesterov": Row(training.Nesterov, {**STEP, "momentum": 0.5}),
    "ImplicitMidpoint": Row(training.ImplicitMidpoint, STEP),
    "CayleyDescent": Row(training.CayleyDescent, STEP),
    "log_times": Row(training.log_times, {"t1": 10.0, "count": 5, "decades": 3.0, "t0": 0.0}),
    "LossBelow": Row(training.LossBelow, {"level": 0.1}),
    "SteadyState": Row(training.SteadyState, {"rtol": 1e-8, "atol": 0.0}),
    # Any other end than the right one is refused before anything is compiled; the right one is run once.
    "solve": Row(
        training.solve,
        {"dynamics": FLOW, "theta0": THETA, "t1": 1.0, "t0": 0.0, "ts": 3, "rtol": 1e-6, "max_steps": 1000},
    ),
    "iterate": Row(training.iterate, {"iteration": DESCENT, "theta0": THETA, "steps": 3, "ts": 3}),
    # --- solutions ---
    "balanced_mode": Row(solutions.balanced_mode, {"t": 1.0, "sigma": 1.0, "s0": 0.1}, nan=True),
    "balanced_mode_time": Row(solutions.balanced_mode_time, {"s": 0.5, "sigma": 1.0, "s0": 0.1}, nan=True),
    "depth_mode": Row(solutions.depth_mode, {"t": 1.0, "sigma": 1.0, "s0": 0.1, "depth": 3}),
    "depth_mode_time": Row(solutions.depth_mode_time, {"s": 0.5, "sigma": 1.0, "s0": 0.1, "depth": 3}),
    "learning_time": Row(solutions.learning_time, {"sigma": 1.0, "s0": 0.1, "depth": 3}),
    "next_mode": Row(
        solutions.next_mode, {"sigma1": 2.0, "sigma2": 1.0, "s0": 0.01, "depth": 2}, {"sigma1": "sigma"}
    ),
    "infinite_depth_mode": Row(
        solutions.infinite_depth_mode, {"tau": 1.0, "sigma": 2.0, "s0": 1.0}, nan=True
    ),
    "unbalanced_mode": Row(
        solutions.unbalanced_mode, {"t": 1.0, "sigma": 1.0, "a0": 1.0, "b0": 0.5}, nan=True
    ),
    "scalar_network": Row(
        solutions.scalar_network, {"t": 1.0, "sigma": 1.0, "product0": 0.1, "norms0": 1.0}, nan=True
    ),
    "neuron_branch": Row(solutions.neuron_branch, {"target": [1.0, 0.0], "first": [1.0, 0.5], "second": 1.0}),
    "wide_product": Row(
        solutions.wide_product, {"t": 1.0, "target": np.eye(2), "first": 1.0, "second": 1.0}, nan=True
    ),
    "hyperbolic_potential": Row(solutions.hyperbolic_potential, {"beta": [1.0, 2.0], "alpha": 0.1}, nan=True),
    "squares_from_dual": Row(solutions.squares_from_dual, {"theta": [1.0, 2.0], "alpha": 0.1}, nan=True),
    "powers_from_dual": Row(
        solutions.powers_from_dual, {"theta": [0.1, 0.2], "alpha": 0.5, "depth": 3}, nan=True
    ),
    "interpolation_limit": Row(
        solutions.interpolation_limit, {"inputs": [[1.0, 0.5]], "targets": [1.0], "alpha": 0.1}
    ),
    "largest_commutator": Row(
        solutions.largest_commutator, {"measurements": np.stack([np.eye(2), np.eye(2)])}
    ),
    # --- theory ---
    "bottleneck_law": Row(saddles.bottleneck_law, {"small": 2, "eps": 0.01}),
    "bottleneck_time": Row(saddles.bottleneck_time, {"depth": 3, "small": 1, "eps": 0.01, "level": 0.5}),
    "second_constant": Row(saddles.second_constant, {"s1": 1.0, "depth": 3}),
    "approach_exponent": Row(saddles.approach_exponent, {"depth": 3, "s_k": 2.0, "s_next": 1.0}),
    "leading_pair": Row(saddles.leading_pair, {"gradient": np.diag([2.0, 1.0])}),
    "distances": Row(saddles.distances, {"weights": THETA, "target": np.eye(2)}),
    "predicted_minimum": Row(
        saddles.predicted_minimum, {"target": np.eye(2), "depth": 3, "gamma": 0.8, "start": 0.0}
    ),
    "predicted_saddle": Row(saddles.predicted_saddle, {"target": np.eye(2), "depth": 3, "gamma": 1.5}),
    "completion_problem": Row(
        saddles.completion_problem, {"side": 4, "rank": 1, "observed": 0.8, "norm": 4.0, "seed": 0}
    ),
    "SeparableProblem": Row(alignment.SeparableProblem, {"inputs": LABELLED, "labels": [1, 1, 1]}),
    "max_margin": Row(alignment.max_margin, {"rows": LABELLED}),
    "predicted_exponents": Row(alignment.predicted_exponents, {"depth": 2}),
    "risk_smoothness": Row(alignment.risk_smoothness, {"radius": 1.0, "depth": 2}),
    "critical_points": Row(landscape.critical_points, {"target": np.diag([2.0, 1.0]), "hidden": 1}),
    "decay_thresholds": Row(landscape.decay_thresholds, {"sigma": 1.0, "depth": 3}),
    "decayed_mode": Row(landscape.decayed_mode, {"sigma": [1.0], "weight_decay": 0.1, "depth": 2}),
    "hessian_spectrum": Row(
        landscape.hessian_spectrum,
        {"s": [1.0], "sigma": [2.0], "outputs": 1, "inputs": 1, "hidden": 1},
    ),
    "least_weight_norm": Row(landscape.least_weight_norm, {"product": np.eye(2), "depth": 2}),
    "ntk_spectrum": Row(
        landscape.ntk_spectrum, {"singular_values": [1.0], "outputs": 1, "inputs": 1, "depth": 2}
    ),
    "sharpness": Row(landscape.sharpness, {"target": np.eye(2), "depth": 2}),
    "entropy": Row(geometry.entropy, {"product": np.diag([2.0, 1.0]), "depth": 2}),
    "entropy_gradient": Row(geometry.entropy_gradient, {"product": np.diag([2.0, 1.0]), "depth": 2}),
    "log_fibre_volume": Row(geometry.log_fibre_volume, {"product": np.diag([2.0, 1.0]), "depth": 2}),
    "log_metric_density": Row(geometry.log_metric_density, {"product": np.diag([2.0, 1.0]), "depth": 2}),
    "log_orthogonal_volume": Row(geometry.log_orthogonal_volume, {"size": 2}),
    "mean_curvature": Row(geometry.mean_curvature, {"product": np.diag([2.0, 1.0]), "depth": 2}),
    "metric_operator": Row(geometry.metric_operator, {"product": np.diag([2.0, 1.0]), "depth": 2}),
    "MeanFieldConfig": Row(
        mean_field.MeanFieldConfig,
        {
            "T": 3,
            "L": 1,
            "eta": 0.1,
            "gamma0": 1.0,
            "nu": 1.0,
            "alpha": 2.0,
            "sigma": 0.1,
            "data": "fixed",
            "batch_fraction": 1.0,
            "momentum": 0.0,
        },
        {"nu": "gamma0"},
    ),
    "infinite_one_layer": Row(mean_field.infinite_one_layer, {"T": 3, "eta": 0.1, "gamma0": 1.0}),
    "lazy_exponent": Row(mean_field.lazy_exponent, {"source": 0.5}),
    "rich_exponent": Row(mean_field.rich_exponent, {"source": 0.5, "L": 2}),
    "lazy_finite_width": Row(mean_field.lazy_finite_width, {"T": 3, "eta": 0.1, "nu": 2.0}, {"nu": "ratio"}),
    "lazy_finite_data": Row(
        mean_field.lazy_finite_data,
        {"T": 3, "L": 1, "eta": 0.1, "alpha": 2.0, "sigma": 0.1},
        {"alpha": "ratio"},
    ),
    "marchenko_pastur": Row(mean_field.marchenko_pastur, {"ratio": 0.5}),
    "gamma0_from": Row(
        mean_field.gamma0_from, {"gamma": 1.0, "convention": "ntk", "nu": 1.0, "input_dim": 4}
    ),
}


def numbers(value, depth=0):
    """All arrays in a result: leaves of pytrees, fields of dataclasses and plain objects."""
    if (
        isinstance(value, (jax.Array, np.ndarray))
        and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
    ) or isinstance(value, (float, complex)):
        yield np.asarray(value)
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from numbers(entry, depth)
    elif isinstance(value, (tuple, list)):
        for entry in value:
            yield from numbers(entry, depth)
    elif isinstance(value, eqx.Module):
        yield from (np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(value) if eqx.is_array(leaf))
    elif dataclasses.is_dataclass(value) and depth < 2:
        for field in dataclasses.fields(value):
            yield from numbers(getattr(value, field.name), depth + 1)


def outcome(row, argument, bad):
    """`None` if the call did what it should, else what is wrong."""
    arguments = {**row.right, argument: BAD[bad]}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = row.call(**arguments)
    except (dln.NotApplicableError, dln.IntegrationError):
        return None
    except ValueError as error:
        names, text = (argument, row.named.get(argument, argument)), str(error)
        is_named = any(f"`{name}" in text for name in names)
        return None if is_named else f"ValueError without `{argument}`: {text[:200]}"
    except MemoryError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    if not row.nan and any(array.dtype.kind in "fc" and np.isnan(array).any() for array in numbers(result)):
        return f"NaN in {str(result)[:100]!r}"
    return None


@pytest.mark.parametrize("name", ROWS)
def test_bad_input(name):
    row = ROWS[name]
    # Otherwise the refusals would be those of the row.
    row.call(**row.right)
    problems = {f"{argument}, {bad}": outcome(row, argument, bad) for argument in row.right for bad in BAD}
    problems = {case: problem for case, problem in problems.items() if problem is not None}
    assert not problems, "\n".join(f"{case}: {problem}" for case, problem in problems.items())


def test_the_table_is_large():
    assert len(BAD) * sum(len(row.right) for row in ROWS.values()) >= 2500
