"""Full gradient flows of small networks with gradients written by hand in NumPy, by SciPy's DOP853."""

import numpy as np
from scipy.integrate import solve_ivp

#: name -> (z of the stacked weights (roles, n), partial derivatives (roles, n) of z).
ENTRYWISE = {
    "diagonal": (lambda w: w[0] * w[1], lambda w: np.stack([w[1], w[0]])),
    "squares": (lambda w: w[0] ** 2 - w[1] ** 2, lambda w: np.stack([2 * w[0], -2 * w[1]])),
    "cubes": (lambda w: w[0] ** 3 - w[1] ** 3, lambda w: np.stack([3 * w[0] ** 2, -3 * w[1] ** 2])),
    "fourth powers": (lambda w: w[0] ** 4 - w[1] ** 4, lambda w: np.stack([4 * w[0] ** 3, -4 * w[1] ** 3])),
    "chain": (
        lambda w: np.prod(w, axis=0),
        lambda w: np.stack([np.prod(np.delete(w, l, axis=0), axis=0) for l in range(len(w))]),
    ),
}


def entrywise_flow(name, weights, gradient, ts, *, scale=1.0, offset=0.0, rtol=1e-12, atol=1e-14):
    """z (time, n) of the full flow of z = offset + scale * form(weights), weights (roles, n), and the final weights."""
    form, slopes = ENTRYWISE[name]

    def field(t, y):
        w = y.reshape(weights.shape)
        return -(slopes(w) * scale * gradient(offset + scale * form(w))).ravel()

    solution = solve_ivp(
        field, (ts[0], ts[-1]), weights.ravel(), method="DOP853", t_eval=ts, rtol=rtol, atol=atol
    )
    assert solution.success, solution.message
    zs = np.stack([offset + scale * form(y.reshape(weights.shape)) for y in solution.y.T])
    return zs, solution.y[:, -1].reshape(weights.shape)


def neuron_flow(u, v, gradient, ts, *, scale=1.0, offset=0.0, rtol=1e-12, atol=1e-14):
    """z (time, n, m) of the full flow of z = offset + scale * u v^T, and the final u and v."""

    def field(t, y):
        a, b = y[: len(u)], y[len(u) :]
        g = scale * gradient(offset + scale * np.outer(a, b))
        return np.concatenate([-g @ b, -g.T @ a])

    start = np.concatenate([u, v])
    solution = solve_ivp(field, (ts[0], ts[-1]), start, method="DOP853", t_eval=ts, rtol=rtol, atol=atol)
    assert solution.success, solution.message
    zs = np.stack([offset + scale * np.outer(y[: len(u)], y[len(u) :]) for y in solution.y.T])
    return zs, solution.y[: len(u), -1], solution.y[len(u) :, -1]
