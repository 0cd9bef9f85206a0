"""ReLU networks written out path by path in NumPy: an oracle that shares no code with the package."""

import itertools

import numpy as np
from scipy.integrate import solve_ivp


class PathNetwork:
    """All paths as lists of indices into the flat parameters (factors in the order W1 … WL, b1 …).

    Paths to one output are ordered by (last hidden neuron, then what enters it: units below in order, bias last),
    recursively.
    """

    def __init__(self, widths, bias):
        self.widths, depth = widths, len(widths) - 1
        sizes = [widths[i + 1] * widths[i] for i in range(depth)]
        sizes += [widths[i + 1] for i in range(depth - 1)] if bias else []
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self.size = int(starts[-1])
        self.names = [f"W{i + 1}" for i in range(depth)]
        self.names += [f"b{i + 1}" for i in range(depth - 1)] if bias else []
        self.starts = starts

        def weight(layer, head, tail):
            return int(starts[layer]) + head * widths[layer] + tail

        def into(level, neuron):
            """Paths that end at a neuron of hidden level 1 … depth - 1."""
            below = [[]] * widths[0] if level == 1 else None
            found = []
            for tail in range(widths[level - 1]):
                heads = [below[tail]] if below else into(level - 1, tail)
                found += [[*path, weight(level - 1, neuron, tail)] for path in heads]
            if bias:
                found.append([int(starts[depth + level - 1]) + neuron])
            return found

        last = [into(depth - 1, neuron) for neuron in range(widths[-2])]
        self.paths = [
            [[*path, weight(depth - 1, out, neuron)] for neuron in range(widths[-2]) for path in last[neuron]]
            for out in range(widths[-1])
        ]

    def ravel(self, theta):
        return np.concatenate([np.asarray(theta[name]).ravel() for name in self.names])

    def products(self, flat):
        return np.array([[np.prod(flat[path]) for path in row] for row in self.paths])

    def pullback(self, flat, gradient):
        """The transposed Jacobian of the path products, applied."""
        out = np.zeros(self.size)
        for row, weights in zip(self.paths, gradient, strict=True):
            for path, weight in zip(row, weights, strict=True):
                for i, edge in enumerate(path):
                    out[edge] += weight * np.prod(flat[path[:i] + path[i + 1 :]])
        return out

    def flow(self, theta0, gradient, ts, rtol=1e-12, atol=1e-14):
        """Full gradient flow by SciPy: path products (time, out, paths) and flat weights (time, parameters)."""
        width = max(len(path) for row in self.paths for path in row)
        # Short paths are filled up with a constant parameter of value 1.
        index = np.array([[path + [self.size] * (width - len(path)) for path in row] for row in self.paths])

        def field(t, flat):
            factors = np.append(flat, 1.0)[index]
            g = gradient(np.prod(factors, axis=2))
            out = np.zeros(self.size + 1)
            for i in range(width):
                others = np.prod(np.delete(factors, i, axis=2), axis=2)
                np.add.at(out, index[:, :, i], g * others)
            return -out[:-1]

        solution = solve_ivp(
            field,
            (ts[0], ts[-1]),
            self.ravel(theta0),
            method="DOP853",
            t_eval=ts,
            rtol=rtol,
            atol=atol,
        )
        assert solution.success, solution.message
        return np.stack([self.products(flat) for flat in solution.y.T]), solution.y.T


def two_layer_relu_flow(weights, inputs, targets, t1, rtol=1e-11):
    """Training of the true ReLU net x -> W2 max(W1 x, 0), half the mean squared error, with located activation flips.

    `weights` = (W1 with biases as last column, W2); `inputs` with a column of ones if there are biases.
    Between flips the activations are held fixed, and a flip ends the piece. Returns the final weights and the flips.
    """
    first, second = (np.array(w, dtype=float) for w in weights)
    cut = first.size
    flips, t = 0, 0.0
    active = first @ inputs.T > 0

    def field(t, y):
        w1, w2 = y[:cut].reshape(first.shape), y[cut:].reshape(second.shape)
        hidden = active * (w1 @ inputs.T)
        residual = (w2 @ hidden - targets.T) / len(inputs)
        return -np.concatenate(
            [((active * (w2.T @ residual)) @ inputs).ravel(), (residual @ hidden.T).ravel()]
        )

    def crossing(i, j):
        def event(t, y):
            return y[:cut].reshape(first.shape)[i] @ inputs[j]

        event.terminal, event.direction = True, -1.0 if active[i, j] else 1.0
        return event

    y = np.concatenate([first.ravel(), second.ravel()])
    while t < t1:
        pairs = list(itertools.product(range(first.shape[0]), range(len(inputs))))
        run = solve_ivp(
            field,
            (t, t1),
            y,
            method="DOP853",
            rtol=rtol,
            atol=1e-13,
            events=[crossing(i, j) for i, j in pairs],
        )
        assert run.success, run.message
        t, y = run.t[-1], run.y[:, -1]
        if run.status == 1:
            hit = next(pair for pair, times in zip(pairs, run.t_events, strict=True) if len(times))
            active[hit] = ~active[hit]
            flips += 1
            assert flips < 50, "the flow slides along a kink, where activations have no value"
    return y[:cut].reshape(first.shape), y[cut:].reshape(second.shape), flips
