"""Bad input to the verbs on intrinsic dynamics: float32, starts and losses that do not fit, each refused at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.reductions import fibre_companions
from dlntheory.reductions.mirror import symmetry_defect

ARCH = dln.linear_network((2, 2, 2))
START = {"W1": np.eye(2), "W2": np.eye(2)}
BROKEN = {"W1": np.eye(2), "W2": np.full((2, 2), np.nan)}
LAWS = dln.conservation_laws(ARCH)

VERBS = {
    "intrinsic": lambda theta0: dln.intrinsic(ARCH, theta0),
    "ImplicitFlow": lambda theta0: dln.ImplicitFlow(ARCH, theta0, laws=LAWS),
    "fibre_companions": lambda theta0: fibre_companions(ARCH, theta0, laws=LAWS),
    "mirror_potential": lambda theta0: dln.mirror_potential(ARCH, theta0),
    "symmetry_defect": lambda theta0: symmetry_defect(ARCH, theta0),
    "eliminate_parameters": lambda theta0: dln.eliminate_parameters(ARCH, theta0),
}
ALSO_CLOSED_FORMS = {
    **VERBS,
    "reduce": lambda theta0: dln.reduce(ARCH, theta0),
    "relaxed": lambda theta0: dln.RelaxedBalancedFlow.from_start(ARCH, theta0),
    "mixed": lambda theta0: dln.MixedBalancedFlow.from_start(ARCH, theta0),
    "projection": lambda theta0: dln.project_to_relaxed_balanced(ARCH, theta0, 0.5),
}


@pytest.mark.parametrize("name", VERBS)
def test_float32_is_refused(name):
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(dln.PrecisionError, match=f"`{name}` needs float64"):
            VERBS[name](START)
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("name", ALSO_CLOSED_FORMS)
def test_starts_that_are_not_finite_are_refused(name):
    with pytest.raises(ValueError, match=r"`theta0\[.W2.\]` must be finite, but 4 of 4 entries"):
        ALSO_CLOSED_FORMS[name](BROKEN)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda z: z, r"^Argument `loss` must map z of shape \(2, 2\) to a scalar"),
        (lambda z: jnp.sum((z - jnp.zeros((3, 2))) ** 2), "shape"),
    ],
)
@pytest.mark.parametrize(
    "build",
    [
        lambda loss: dln.ImplicitFlow(ARCH, START, loss, laws=LAWS),
        lambda loss: dln.RelaxedBalancedFlow(ARCH, loss, lambdas=0.5),
        lambda loss: dln.MixedBalancedFlow(ARCH, loss, kappa=0.5),
        lambda loss: dln.InfiniteDepthFlow(ARCH, loss),
        lambda loss: dln.reduce(ARCH, START, loss),
    ],
)
def test_a_loss_that_does_not_fit_z_is_refused(build, loss, message):
    with pytest.raises((TypeError, ValueError), match=message):
        build(loss)
