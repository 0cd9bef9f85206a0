"""Full gradient flows of products of two factors, with gradients written by hand in NumPy, by SciPy's DOP853.

Each system is a pair of functions: z of the weights, and the gradient of f by every weight from G = df/dz.
"""

import numpy as np
from scipy.integrate import solve_ivp

FROZEN = np.arange(12.0).reshape(4, 3) / 10 - 0.5


def attention_output(w):
    return np.stack([w["Q1"] @ w["K1"].T, w["V1"] @ w["O1"]])[None]


def attention_slopes(w, g):
    scores, values = g[0]
    return {
        "Q1": scores @ w["K1"],
        "K1": scores.T @ w["Q1"],
        "V1": values @ w["O1"].T,
        "O1": w["V1"].T @ values,
    }


def shared_output(w):
    return np.concatenate([w["Q"] @ w["K"].T, w["Q"] @ w["V"].T], axis=1)


def shared_slopes(w, g):
    left, right = np.split(g, [w["K"].shape[0]], axis=1)
    return {"Q": left @ w["K"] + right @ w["V"], "K": left.T @ w["Q"], "V": right.T @ w["Q"]}


def tied_output(w):
    return -2 * w["U"] @ w["U"].T


def tied_slopes(w, g):
    return {"U": -2 * (g + g.T) @ w["U"]}


def adapter_output(w):
    return FROZEN + w["B"] @ w["A"]


def adapter_slopes(w, g):
    return {"A": w["B"].T @ g, "B": g @ w["A"].T}


def shortcut_output(w):
    return w["B"] @ w["A"] + w["C"]


def shortcut_slopes(w, g):
    return {**adapter_slopes(w, g), "C": g}


def full_flow(output, slopes, weights, gradient, ts, *, decay=0.0, rates=None, rtol=1e-12, atol=1e-14):
    """z (time, …) and the final weights."""
    rates = rates or {}

    def split(y):
        parts, start = {}, 0
        for name, value in weights.items():
            parts[name] = y[start : start + value.size].reshape(value.shape)
            start += value.size
        return parts

    def field(t, y):
        w = split(y)
        change = slopes(w, gradient(output(w)))
        return np.concatenate([-rates.get(n, 1.0) * (change[n] + decay * w[n]).ravel() for n in w])

    y0 = np.concatenate([value.ravel() for value in weights.values()])
    solution = solve_ivp(field, (ts[0], ts[-1]), y0, method="DOP853", t_eval=ts, rtol=rtol, atol=atol)
    assert solution.success, solution.message
    return np.stack([output(split(y)) for y in solution.y.T]), split(solution.y[:, -1])
