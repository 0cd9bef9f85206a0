"""Deep linear networks in plain NumPy, and starts for the tests of saddle-to-saddle dynamics."""

import numpy as np

MODES = (3.0, 1.8, 1.0)


def target(modes=MODES):
    """A 3 x 3 map with these singular values, in random bases; its best rank-k maps."""
    rng = np.random.default_rng(5)
    left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    return (left * np.array(modes)) @ right.T


def start(depth, *, width=4, sides=(3, 3), size=0.4, seed=0):
    """Gaussian weights by name."""
    rng = np.random.default_rng(seed)
    widths = (sides[0], *[width] * (depth - 1), sides[1])
    return {f"W{i}": size * rng.standard_normal((widths[i], widths[i - 1])) for i in range(1, depth + 1)}


def product(weights):
    out = np.eye(weights["W1"].shape[1])
    for number in range(1, len(weights) + 1):
        out = weights[f"W{number}"] @ out
    return out


def half_time(weights, goal, *, rtol=1e-12):
    """When u_1^T A v_1 reaches s_1/2, by SciPy's DOP853 with an event on a right-hand side written by hand."""
    from scipy.integrate import solve_ivp

    names = list(weights)
    cuts = np.cumsum([weights[name].size for name in names])[:-1]
    left, s, right = np.linalg.svd(goal)

    def split(y):
        parts = np.split(y, cuts)
        return {name: part.reshape(weights[name].shape) for name, part in zip(names, parts, strict=True)}

    def field(t, y):
        layers = split(y)
        rest = goal - product(layers)
        parts = []
        for number in range(1, len(names) + 1):
            below, above = np.eye(goal.shape[1]), np.eye(goal.shape[0])
            for k in range(1, number):
                below = layers[f"W{k}"] @ below
            for k in range(len(names), number, -1):
                above = above @ layers[f"W{k}"]
            parts.append((above.T @ rest @ below.T).ravel())
        return np.concatenate(parts)

    def event(t, y):
        return left[:, 0] @ product(split(y)) @ right[0] - 0.5 * s[0]

    event.terminal = True
    y0 = np.concatenate([weights[name].ravel() for name in names])
    solution = solve_ivp(field, (0.0, 1e6), y0, method="DOP853", rtol=rtol, atol=1e-15, events=event)
    return float(solution.t_events[0][0])
