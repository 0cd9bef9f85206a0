"""A reduced flow integrated by SciPy's DOP853: only its velocity is compiled, and the solver is not ours."""

import jax
import numpy as np
from scipy.integrate import solve_ivp


def scipy_run(flow, theta0, ts, *, rtol=1e-11, check=True):
    """z (time, out, inp) along a reduction whose state is z alone, or z beside entries that z does not depend on."""
    state = flow.initial(flow.check_start(theta0) if check else flow.architecture.check(theta0))
    velocity = jax.jit(lambda z: flow.velocity(0.0, {**state, "z": z})["z"])
    shape = np.asarray(state["z"]).shape

    def field(t, y):
        return np.asarray(velocity(y.reshape(shape))).ravel()

    start = np.asarray(state["z"]).ravel()
    solution = solve_ivp(field, (ts[0], ts[-1]), start, method="DOP853", t_eval=ts, rtol=rtol, atol=1e-13)
    assert solution.success, solution.message
    return solution.y.T.reshape(-1, *shape)
