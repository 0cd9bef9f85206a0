"""Bad numbers in functions of theory and parsimony beyond the table of pairs: an error that names the argument."""

import jax
import numpy as np
import pytest

from dlntheory.reductions import parsimony as pa
from dlntheory.theory import (
    alignment as al,
    collapse as co,
    geometry as ge,
    landscape as la,
    mean_field as mf,
    saddles as sa,
)

jax.config.update("jax_enable_x64", True)
P = al.SeparableProblem([[0.5, 0.5], [0.5, -0.75]], [1, 1])
key = jax.random.key(0)
arch = P.network(2, 3)
W = {"W1": np.eye(3, 2), "W2": np.array([[1.0, 0.2, 0.1]])}
L2 = {"W1": np.eye(2), "W2": np.eye(2)}
G = np.diag([3.0, 1.0])
BASE = {
    al.admissible_start: dict(problem=P, arch=arch, key=key, scale=0.3),
    al.admissible: dict(problem=P, weights=W),
    al.is_admissible: dict(problem=P, weights=W),
    ge.FreeEnergy: dict(loss=lambda w: 0.0, depth=2, beta=1.0),
    ge.log_density_factor: dict(singular_values=[2.0, 1.0], depth=2, reference="metric"),
    ge.equilibrium_measures: dict(singular_values=[2.0, 1.0], depth=2),
    ge.scalar_langevin: dict(sigma=1.0, depth=2, beta=4.0, chains=100, step=0.1, time=1.0),
    ge.matrix_langevin: dict(sigma=(1.0, 0.5), beta=4.0, chains=100, step=0.1, time=1.0),
    la.ntk_spectrum: dict(singular_values=[4.0], outputs=1, inputs=2, depth=2),
    la.hessian_spectrum: dict(s=[2.0], sigma=[2.0], outputs=1, inputs=1, hidden=1),
    mf.gamma0_from: dict(gamma=1.0, convention="ntk", nu=1.0, input_dim=4),
    mf.MeanFieldConfig: dict(
        T=3,
        L=2,
        eta=0.1,
        gamma0=1.0,
        nu=1.0,
        alpha=2.0,
        sigma=0.1,
        batch_fraction=1.0,
        momentum=0.0,
        weight_decay=0.0,
        lam=(1.0,),
        p=(1.0,),
        teacher2=(1.0,),
        init_std=(1.0, 1.0, 1.0),
        residual=1.0,
    ),
    mf.lazy_finite_data: dict(T=3, L=1, eta=0.1, alpha=2.0, sigma=0.1),
    mf.least_squares_floor: dict(alpha=2.0, sigma=0.1),
    mf.power_law_modes: dict(decay=1.5, source=0.5),
    mf.log_slope: dict(times=np.arange(1.0, 50.0), values=np.arange(1.0, 50.0) ** -0.5, start=2.0, stop=40.0),
    mf.rank_one_flow: dict(
        modes={"lam": [1.0], "p": [1.0], "teacher2": [1.0]}, L=1, times=[1.0, 2.0], start=1e-2, rtol=1e-6
    ),
    sa.closest_approach_of_modes: dict(sigma1=3.0, sigma2=1.0, scales=[1e-3]),
    sa.predicted_minimum: dict(target=G, depth=2, gamma=2.0),
    sa.project_fibre: dict(weights=L2, target=G),
    sa.nearest_saddle: dict(weights=L2, target=G),
    sa.escape_time: dict(gradient=G, theta0=L2, alpha=1e-4),
    sa.completion_problem: dict(side=4, rank=1, observed=0.5, norm=4.0, seed=0),
    sa.DiscriminantCost: dict(between=np.eye(2), within=np.eye(2)),
    sa.balanced_entries: dict(w=[1.0, 0.5], depth=2),
    co.collapse_at_inputs: dict(classes=2, per_class=3),
    co.collapse_slope: dict(scale=0.5, per_class=10, depth=4),
    pa.rho_flow: dict(t=1.0, scale=0.5, depth=3, weight_decay=0.1, variance=1.0),
    pa.rho_descent: dict(scales=[0.5, 0.5], learning_rate=0.1, steps=2, weight_decay=0.1, variance=1.0),
    pa.ObservedEntries: dict(rows=[0, 1], columns=[0, 1], values=[1.0, 2.0], shape=(2, 2)),
    pa.active_subspaces: dict(
        weights=[np.eye(4), np.eye(4)], target=np.outer(np.arange(4.0), np.ones(4)), variance=1.0, rank=1
    ),
}

BAD = {
    "nan": np.nan,
    "inf": np.inf,
    "-inf": -np.inf,
    "1e308": 1e308,
    "1e-320": 1e-320,
    "-1": -1,
    "0": 0,
    "None": None,
    "text": "1",
    "complex": 1 + 1j,
    "masked": np.ma.masked_array([1.0, 2.0], [False, True]),
    "empty": [],
    "object": np.array([None, {}], dtype=object),
    "rank 3": np.ones((2, 2, 2)),
    "nan inside": np.array([[np.nan, 1.0], [1.0, 1.0]]),
}
#: Never a number: no function may return a result for them.
NO_NUMBERS = ("nan", "None", "text", "complex", "masked", "object", "nan inside")
NOT_TRIED = {"problem", "loss", "cost", "arch", "key", "reference"}
#: `None` is a documented default; one argument of `gamma0_from` is read for one convention only.
ALLOWED = {(mf.MeanFieldConfig, name, "None") for name in ("p", "teacher2", "init_std", "residual")}
ALLOWED |= {(mf.gamma0_from, "input_dim", name) for name in NO_NUMBERS} | {
    (pa.active_subspaces, "rank", "None")
}
#: Steps without end, of which the caller is the judge.
LONG = {"time", "step", "times", "rtol", "start"}


def has_nan(result):
    if isinstance(result, dict):
        return any(map(has_nan, result.values()))
    if isinstance(result, (tuple, list)):
        return any(map(has_nan, result))
    array = np.asarray(result)
    return array.dtype.kind in "fc" and bool(np.isnan(array).any())


@pytest.mark.parametrize("function", BASE, ids=lambda function: function.__name__)
def test_bad_numbers(function):
    good = BASE[function]
    for argument in good.keys() - NOT_TRIED:
        for name, value in BAD.items():
            if (function, argument, name) in ALLOWED or (argument in LONG and name in ("1e308", "1e-320")):
                continue
            where = f"{function.__name__}({argument}={name})"
            result, message = None, None
            try:
                with np.errstate(all="ignore"):
                    result = function(**(good | {argument: value}))
            except ValueError as error:
                message = str(error)
            if message is None:
                assert name not in NO_NUMBERS, (where, result)
                assert not has_nan(result), (where, result)
            else:
                assert "rgument" in message or argument in message, (where, message)
