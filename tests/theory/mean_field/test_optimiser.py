"""The memory kernel against the optimiser itself, run on random gradients."""

import numpy as np
import pytest

from dlntheory.theory.mean_field import MeanFieldConfig, memory

T = 9


def run(config, start, gradients):
    """Weights at every time by the optimiser's own recursion, one step after the other."""
    weight, velocity, path = start, 0.0, []
    for rate, gradient in zip(config.rates, gradients, strict=True):
        path.append(weight)
        velocity = config.momentum * velocity + rate * gradient
        weight = (1 - rate * config.weight_decay) * weight + velocity
    return np.array(path)


@pytest.mark.parametrize("schedule", [0.1, tuple(np.linspace(0.3, 0.0, T))])
@pytest.mark.parametrize("settings", [{}, {"momentum": 0.7}, {"momentum": 0.999}, {"weight_decay": 0.8}])
def test_kernel_is_the_optimiser_unrolled(schedule, settings):
    config = MeanFieldConfig(T=T, L=1, eta=schedule, **settings)
    gradients = np.random.default_rng(0).standard_normal(T)
    kernel, shrinkage = memory(config)
    assert np.allclose(
        shrinkage * 1.3 + kernel @ gradients, run(config, 1.3, gradients), rtol=1e-14, atol=1e-14
    )
    assert np.all(np.triu(kernel) == 0)


def test_weight_decay_near_its_limit():
    """The product of the factors underflows; the kernel must not."""
    config = MeanFieldConfig(T=60, L=1, eta=0.1, weight_decay=10 * (1 - 1e-9))
    kernel, shrinkage = memory(config)
    assert shrinkage[-1] == 0.0
    assert np.all(np.isfinite(kernel))
    assert kernel[59, 58] == 0.1
