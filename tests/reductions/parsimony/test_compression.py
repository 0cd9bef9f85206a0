"""Compressed training equals full training: rules, weight decay, rates, covariances, shapes; what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.reference import chain_flow

import dlntheory as dln
from dlntheory.claims.parsimony import runs
from dlntheory.reductions.parsimony import aligned_orthogonal, compress, descent
from dlntheory.reductions.parsimony.compressed_factors import projected_loss

# widths, kind of covariance: scalars alone, spare directions, none at all, several classes, a narrow level inside.
CASES = [
    ((14, 14, 14, 14), "white"),
    ((14, 14, 14, 4), "white"),
    ((14, 14, 14), "projection"),
    ((14, 14, 14, 6), "projection"),
    pytest.param((14, 9, 9, 14), "white", marks=pytest.mark.slow),
    pytest.param((12, 15, 15, 12), "white", marks=pytest.mark.slow),
    pytest.param((14, 14, 14), "spiked", marks=pytest.mark.slow),
    pytest.param((14, 14), "white", marks=pytest.mark.slow),
]


def problem(widths, kind, rank=2, seed=0):
    """Architecture, sum loss, start, second moment and correlation."""
    rng = np.random.default_rng(seed)
    inputs, outputs = widths[0], widths[-1]
    target = runs.low_rank(outputs, inputs, rank, seed)
    layers = runs.start_layers(widths, "orthogonal", (0.6, 0.8, 0.5), seed)
    arch = dln.linear_network(widths)
    if kind == "white":
        return arch, dln.SquaredLoss.from_target(target), layers, None, target
    if kind == "spiked":
        frame = runs.semi_orthogonal(rng, inputs, 2)
        x = np.eye(inputs) + frame @ np.diag([0.6, 0.2]) @ frame.T
    else:
        x = runs.semi_orthogonal(rng, inputs, inputs - 3).T
    y = x @ target.T
    return arch, dln.SquaredLoss(x, y, reduction="sum"), layers, x.T @ x, y.T @ x


def arrays(state):
    return {name: jnp.asarray(value) for name, value in state.items()}


@pytest.mark.parametrize(("widths", "kind"), CASES, ids=lambda case: str(case))
def test_descent_equals_the_full_network_layer_by_layer(widths, kind):
    arch, loss, layers, covariance, target = problem(widths, kind)
    flow = compress(arch, loss, runs.named(layers), weight_decay=0.03)
    rule, momentum = ("nesterov", 0.5) if len(widths) == 4 else ("gradient descent", 0.0)
    rule_run = descent(flow, 0.05, rule=rule, momentum=momentum)
    run = dln.iterate(rule_run, runs.named(layers), 150, ts=2)
    full = runs.train(
        layers, target, rate=0.05, steps=150, decay=0.03, covariance=covariance, rule=rule, momentum=momentum
    )
    state = arrays(run.final)
    found = flow.layers(state)
    for index, weight in enumerate(full, start=1):
        np.testing.assert_allclose(found[f"W{index}"], weight, atol=2e-14)
    np.testing.assert_allclose(run.z[-1], runs.product(full), atol=1e-14)
    # The loss without any large matrix, and the loss of z.
    assert float(flow.loss(state)) == pytest.approx(float(loss(jnp.asarray(runs.product(full)))), rel=1e-12)
    assert flow.subspaces.dims < arch.widths


def test_small_scale_is_exact_and_the_naive_error_predicted():
    arch, loss, layers, _, target = problem((14, 14, 14, 14), "white")
    layers = [0.1 * layer / np.linalg.norm(layer, 2) for layer in layers]
    flow = compress(arch, loss, runs.named(layers))
    state = runs.compressed_descent(flow, layers, 0.05, 400)
    z = runs.product(runs.train(layers, target, rate=0.05, steps=400))
    assert np.linalg.norm(flow.output(state) - z) <= 1e-13 * np.linalg.norm(z)
    naive = np.linalg.norm(np.asarray(flow.without_rho(state)) - z)
    assert naive == pytest.approx(float(flow.error_without_rho(state)), rel=1e-9)
    assert naive == pytest.approx(np.sqrt(10) * float(jnp.prod(state["rho"])), rel=1e-9)


@pytest.fixture(scope="module")
def flows():
    """One flow with decay and rates, one with neither, and their trajectories."""
    arch, loss, layers, _, target = problem((14, 14, 14, 4), "white")
    found = []
    for decay, rates in ((0.0, {}), (0.04, {"W1": 1.5, "W3": 0.5})):
        flow = compress(arch, loss, runs.named(layers), weight_decay=decay, rates=rates)
        options = {"method": "dopri8", "rtol": 1e-10, "step_to_ts": True, "ts": 5}
        run = dln.solve(flow, runs.named(layers), 8.0, **options)
        reference = chain_flow(
            layers, lambda z: z - target, run.ts, decay=decay, rates=[rates.get(n, 1.0) for n in arch.chain]
        )
        found.append((flow, run, reference))
    return found


@pytest.mark.slow
def test_flow_equals_the_full_one_by_scipy(flows):
    for flow, run, (zs, final) in flows:
        assert np.max(np.abs(run.z - zs)) < 20e-10 * np.max(np.abs(zs))
        layers = flow.layers(arrays(run.final))
        for index, weight in enumerate(final, start=1):
            np.testing.assert_allclose(layers[f"W{index}"], weight, atol=1e-9)
    plain, decaying = flows[0][1], flows[1][1]
    assert plain.max_drift < 1e-10
    assert set(plain.drift) == {"D_1", "D_2"}  # no direction passes all layers here
    assert decaying.drift == {}


@pytest.mark.slow
def test_scalars_of_the_flow_are_conserved_and_closed_in_form():
    from dlntheory.reductions.parsimony import rho_flow

    arch, loss, layers, _, _ = problem((14, 14, 14, 14), "white")
    equal = [0.6 * layer / np.linalg.norm(layer, 2) for layer in layers]
    flow = compress(arch, loss, runs.named(layers))
    options = {"method": "dopri8", "rtol": 1e-10, "step_to_ts": True, "ts": 4}
    run = dln.solve(flow, runs.named(layers), 8.0, **options)
    assert run.drift["differences of rho^2"].max() < 1e-10
    assert run.monitors["largest product of rho"][0] == pytest.approx(0.6 * 0.8 * 0.5)
    same = dln.solve(flow.bind(flow.training), runs.named(layers), 8.0, **options)
    np.testing.assert_allclose(same.z, run.z, atol=1e-12)
    run = dln.solve(compress(arch, loss, runs.named(equal)), runs.named(equal), 8.0, **options)
    np.testing.assert_allclose(run.states["rho"][:, 0, 1], rho_flow(run.ts, 0.6, 3), rtol=1e-9)


@pytest.mark.slow
def test_the_core_is_a_network_of_its_own():
    arch, loss, layers, _, _ = problem((14, 14, 14, 14), "white")
    flow = compress(arch, loss, runs.named(layers), weight_decay=0.03)
    cores = {name: flow.initial(runs.named(layers))[name] for name in arch.chain}
    training = flow.core_training
    alone = dln.GradientFlow(flow.core.architecture, training.loss, weight_decay=0.03)
    velocity = alone.velocity(0.0, cores)
    together = flow.velocity(0.0, flow.initial(runs.named(layers)))
    for name in arch.chain:
        np.testing.assert_array_equal(velocity[name], together[name])
    assert flow.core.architecture.widths == (4, 4, 4, 4)


def test_projected_loss_is_the_loss_on_the_subspaces():
    rng = np.random.default_rng(0)
    loss = dln.SquaredLoss(rng.standard_normal((9, 5)), rng.standard_normal((9, 4)))
    first, last = runs.semi_orthogonal(rng, 5, 3), runs.semi_orthogonal(rng, 4, 2)
    small = projected_loss(loss, first, last)
    for _ in range(3):
        core = rng.standard_normal((2, 3))
        assert float(small(core)) == pytest.approx(float(loss(last @ core @ first.T)), rel=1e-13)
    np.testing.assert_allclose(small.correlation, last.T @ loss.correlation @ first, atol=1e-13)
    np.testing.assert_allclose(small.input_covariance, first.T @ loss.input_covariance @ first, atol=1e-13)


@pytest.mark.slow
def test_compare_through_the_public_door():
    arch, loss, layers, _, _ = problem((14, 14, 14, 14), "white")
    full = dln.GradientFlow(arch, loss)
    both = dln.compare(
        full, compress(arch, loss, runs.named(layers)), runs.named(layers), 4.0, ts=4, timing=False
    )
    assert both.max_error < 2e-10
    assert "compressed flow: 54 variables" in str(both)
    with pytest.raises(ValueError, match="must train with the loss, weight decay and rates of `full`"):
        decaying = compress(arch, loss, runs.named(layers), weight_decay=0.1)
        dln.compare(full, decaying, runs.named(layers), 4.0)


def test_seeds_run_together_under_vmap():
    arch, loss, _, _, target = problem((14, 14, 14), "white")
    starts = [runs.start_layers((14, 14, 14), "orthogonal", (0.6, 0.8), seed) for seed in (0, 1)]
    flows = [compress(arch, loss, runs.named(layers)) for layers in starts]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *flows)
    states = jax.tree.map(
        lambda *leaves: jnp.stack(leaves),
        *[flow.initial(runs.named(layers)) for flow, layers in zip(flows, starts, strict=True)],
    )

    def train(flow, state):
        def step(_, y):
            velocity = flow.velocity(0.0, y)
            return {name: y[name] + 0.05 * velocity[name] for name in y}

        return flow.output(jax.lax.fori_loop(0, 50, step, state))

    for z, layers in zip(jax.jit(jax.vmap(train))(stacked, states), starts, strict=True):
        np.testing.assert_allclose(
            z, runs.product(runs.train(layers, target, rate=0.05, steps=50)), atol=1e-14
        )


def test_velocity_is_the_projection_of_the_full_velocity_and_differentiable():
    arch, loss, layers, covariance, target = problem((14, 14, 14), "projection")
    flow = compress(arch, loss, runs.named(layers), weight_decay=0.1, rates={"W2": 0.7})
    state = flow.initial(runs.named(layers))
    velocity = flow.velocity(0.0, state)
    pulls = runs.gradients(layers, target, covariance, 0.1)
    full = {name: -rate * pull for name, rate, pull in zip(arch.chain, (1.0, 0.7), pulls, strict=True)}
    # d/dt of the layers rebuilt from the state, by the derivative of `layers` itself.
    _, moved = jax.jvp(flow.layers, (state,), (velocity,))
    for name in arch.chain:
        np.testing.assert_allclose(moved[name], full[name], atol=1e-14)


@pytest.mark.slow
def test_aligned_starts_keep_wide_networks_small():
    arch = dln.linear_network((12, 16, 16, 12))
    loss = dln.SquaredLoss.from_target(runs.low_rank(12, 12, 1))
    key = jax.random.key(0)
    assert compress(arch, loss, aligned_orthogonal(arch, key, scale=0.4)).subspaces.dims == (2, 2, 2, 2)
    assert compress(arch, loss, dln.orthogonal(arch, key, scale=0.4)).subspaces.dims == (6, 10, 10, 6)
    with pytest.raises(
        ValueError, match=r"do not decrease before the last layer, but has the widths \(12, 8, 9, 12\)"
    ):
        aligned_orthogonal(dln.linear_network((12, 8, 9, 12)), key)


def test_non_white_data_are_refused_with_delta():
    arch, loss, layers, _, _ = problem((14, 14, 14), "spiked")
    flow = compress(arch, loss, runs.named(layers), assume_white=True)
    assert flow.subspaces.dims == (4, 4, 4)
    covariance = np.asarray(loss.input_covariance)
    delta = np.linalg.norm(covariance / (np.trace(covariance) / 14) - np.eye(14), 2)
    with pytest.raises(
        dln.ConditionError, match="(?s)multiple of the identity.*Leave out `assume_white`.*delta = "
    ) as caught:
        flow.check_start(runs.named(layers))
    assert caught.value.measured == pytest.approx(delta, rel=1e-12)
    assert caught.value.expected_error > 0
    assert "first order" in flow.exactness
    with pytest.raises(dln.ConditionError, match="multiple of the identity"):
        dln.iterate(descent(flow, 0.05), runs.named(layers), 5)


def test_another_start_is_refused_and_a_scaled_one_admitted():
    arch, loss, layers, _, _ = problem((14, 14, 14), "white")
    flow = compress(arch, loss, runs.named(layers))
    assert flow.condition(runs.named(layers)).measured < 1e-14
    other = runs.named(runs.start_layers((14, 14, 14), "orthogonal", (0.6, 0.8), seed=5))
    for run in (lambda: dln.solve(flow, other, 1.0), lambda: dln.iterate(descent(flow, 0.05), other, 5)):
        with pytest.raises(dln.ConditionError, match="Compress this start"):
            run()
    flipped = runs.named([-layers[0], layers[1]])
    assert not flow.condition(flipped).holds
    # Twice the first layer lies in the same subspaces, and is trained exactly.
    scaled = [2.0 * layers[0], layers[1]]
    assert flow.condition(runs.named(scaled)).holds
    state = runs.compressed_descent(flow, scaled, 0.05, 60)
    z = runs.product(runs.train(scaled, np.asarray(loss.correlation), rate=0.05, steps=60))
    np.testing.assert_allclose(flow.output(state), z, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "Adam"}, "equivariant under rotations of the weights, but is 'Adam'.*10 to 30 %"),
        ({"rule": "RMSprop"}, "equivariant under rotations of the weights, but is 'RMSprop'"),
        ({"rule": "sign"}, "equivariant under rotations of the weights, but is 'sign'"),
        (
            {"rule": "newton"},
            r"must be one of \['gradient descent', 'heavy ball', 'nesterov'\], but is 'newton'",
        ),
        ({"learning_rate": 0.0}, "`learning_rate` must be a finite positive number, but is 0.0"),
        ({"rule": "nesterov", "momentum": 1.0}, r"`momentum` must be .* below 1, but is 1.0"),
        ({"momentum": 0.5}, "`momentum` must be 0 for gradient descent, but is 0.5"),
    ],
)
def test_rules_that_do_not_compress_are_refused(options, message):
    arch, loss, layers, _, _ = problem((14, 14, 14), "white")
    flow = compress(arch, loss, runs.named(layers))
    with pytest.raises(ValueError, match=message):
        descent(flow, **{"learning_rate": 0.1, **options})


def test_what_compress_refuses():
    arch, loss, layers, _, _ = problem((14, 14, 14), "white")
    theta0 = runs.named(layers)
    with pytest.raises(ValueError, match="must be a SquaredLoss for compression, but is function"):
        compress(arch, lambda z: jnp.sum(z**4), theta0)
    with pytest.raises(ValueError, match="must be a chain of matrices for compression"):
        matrix = dln.Architecture(lambda p: p["U"] @ p["V"].T, {"U": (4, 2), "V": (3, 2)})
        compress(matrix, loss, {"U": np.ones((4, 2)), "V": np.ones((3, 2))})
    with pytest.raises(ValueError, match=r"must not hold a layer that is 0, but layer 1 is \(scale 0\)"):
        compress(arch, loss, {**theta0, "W1": np.zeros((14, 14))})
    with pytest.raises(ValueError, match="must hold exactly the factors"):
        compress(arch, loss, {"W1": theta0["W1"]})
    flow = compress(arch, loss, theta0)
    with pytest.raises(ValueError, match=r"`name` must be one of \['W1', 'W2'\], but is 'W3'"):
        flow.layer(flow.initial(theta0), "W3")


def test_noise_with_a_prescribed_rank_costs_what_it_discards():
    arch, _, layers, _, target = problem((14, 14, 14), "white")
    noise = np.random.default_rng(3).standard_normal((14, 14))
    noisy = target + 1e-6 * noise / np.linalg.norm(noise)
    loss = dln.SquaredLoss.from_target(noisy)
    flow = compress(arch, loss, runs.named(layers), rank=2)
    assert flow.subspaces.dims == (4, 4, 4)
    assert "discarded part of the target" in flow.exactness
    state = runs.compressed_descent(flow, layers, 0.05, 200)
    error = np.linalg.norm(flow.output(state) - runs.product(runs.train(layers, noisy, rate=0.05, steps=200)))
    assert 1e-8 < error < 1e-6


@pytest.mark.slow
def test_digits_are_compressed_exactly_once_whitened():
    inputs, targets = runs.white_digits()
    arch = dln.linear_network((61, 61, 61, 10))
    layers = runs.start_layers(arch.widths, "orthogonal", (0.1, 0.1, 0.1))
    loss = dln.SquaredLoss(inputs, targets)
    flow = compress(arch, loss, runs.named(layers))
    assert flow.subspaces.rank == 10
    assert flow.subspaces.dims == (20, 20, 20, 10)
    state = runs.compressed_descent(flow, layers, 0.2, 400)
    z = runs.product(runs.train(layers, np.asarray(loss.correlation), rate=0.2, steps=400))
    assert np.linalg.norm(flow.output(state) - z) < 1e-12 * np.linalg.norm(z)
    assert float(flow.loss(state)) == pytest.approx(float(loss(jnp.asarray(z))), rel=1e-12)


def test_names_of_the_layers_are_those_of_the_architecture():
    arch = dln.Architecture(
        lambda p: p["B"] @ p["A"], {"A": (14, 14), "B": (14, 14)}, name="named", chain=("A", "B")
    )
    _, loss, layers, _, _ = problem((14, 14, 14), "white")
    theta0 = {"A": layers[0], "B": layers[1]}
    flow = compress(arch, loss, theta0)
    state = flow.initial(theta0)
    assert list(state) == ["A", "B", "rho", "untrained"]
    np.testing.assert_allclose(flow.output(state), runs.product(layers), atol=1e-14)
    np.testing.assert_allclose(flow.layer(state, "B"), layers[1], atol=1e-14)


def test_it_prints_its_equation_and_source():
    arch, loss, layers, _, _ = problem((14, 14, 14), "white")
    flow = compress(arch, loss, runs.named(layers))
    text = str(flow)
    for word in (r"\dot\rho_l", "Yaras, Wang, Hu, Zhu", "exact for squared loss", "target S as given"):
        assert word in text
    assert repr(descent(flow, 0.1)) == "CompressedDescent(linear 14-14-14)"
    assert descent(flow, 0.1).label == "compressed gradient descent"
