"""An independent integrator: SciPy's DOP853 on right-hand sides written by hand in NumPy, no automatic derivatives."""

import numpy as np
from scipy.integrate import solve_ivp


def chain_flow(weights, gradient, ts, *, decay=0.0, rates=None, rtol=1e-12, atol=1e-14):
    """Full gradient flow of W_L ... W_1; `weights` first layer first, `gradient(z)` = df/dz.

    Returns the products z (time, out, inp) and the list of final weights.
    """
    shapes = [w.shape for w in weights]
    cuts = np.cumsum([w.size for w in weights])[:-1]
    rates = rates or [1.0] * len(weights)

    def split(y):
        return [part.reshape(shape) for part, shape in zip(np.split(y, cuts), shapes, strict=True)]

    def product(layers, size):
        out = np.eye(size)
        for w in layers:
            out = w @ out
        return out

    def field(t, y):
        layers = split(y)
        g = gradient(product(layers, shapes[0][1]))
        parts = []
        for i, w in enumerate(layers):
            below = product(layers[:i], shapes[0][1])
            above = product(layers[i + 1 :], w.shape[0])
            parts.append(-rates[i] * (above.T @ g @ below.T + decay * w))
        return np.concatenate([p.ravel() for p in parts])

    y0 = np.concatenate([np.asarray(w).ravel() for w in weights])
    solution = solve_ivp(field, (ts[0], ts[-1]), y0, method="DOP853", t_eval=ts, rtol=rtol, atol=atol)
    assert solution.success, solution.message
    zs = np.stack([product(split(y), shapes[0][1]) for y in solution.y.T])
    return zs, split(solution.y[:, -1])


def log_cosh(target):
    """Loss sum log cosh(z - S) as a JAX function, and its gradient tanh(z - S) in NumPy."""
    import jax.numpy as jnp

    def loss(z):
        return jnp.sum(jnp.logaddexp(z - target, target - z) - jnp.log(2.0))

    return loss, lambda z: np.tanh(z - target)
