"""The two-layer Riccati solution as its formula is written, in ball arithmetic of 4000 bits (1200 digits).

M(t) = e^{Ft} Q0 [I + Q0^T (int_0^t e^{2Fs} ds) Q0]^{-1} Q0^T e^{Ft}; the integral is the upper right block of the
exponential of [[2F, I], [0, 0]] t. No eigenvectors, no pivoting, nothing in common with the package.
"""

import flint
import numpy as np


def exact_gram(t, target, stacked, lam):
    """M(t) rounded to float64; raises if the balls are not smaller than that."""
    before = flint.ctx.prec
    flint.ctx.prec = 4000
    try:
        return _exact_gram(t, target, stacked, lam)
    finally:
        flint.ctx.prec = before


def _exact_gram(t, target, stacked, lam):
    outputs, inputs = target.shape
    size, width = outputs + inputs, stacked.shape[1]
    generator = np.zeros((size, size))
    generator[inputs:, :inputs], generator[:inputs, inputs:] = target, target.T
    diagonal = np.r_[np.full(inputs, -lam / 2), np.full(outputs, lam / 2)]
    generator += np.diag(diagonal)  # exact: halving and adding to 0 round nothing
    ball = lambda matrix: flint.arb_mat([[flint.arb(float(x)) for x in row] for row in matrix])
    time, f, start = flint.arb(float(t)), ball(generator), ball(stacked)
    block = np.block([[2 * generator, np.eye(size)], [np.zeros((size, 2 * size))]])
    grown = (ball(block) * time).exp()
    integral = flint.arb_mat([[grown[i, size + j] for j in range(size)] for i in range(size)])
    moved = (f * time).exp() * start
    inner = ball(np.eye(width)) + start.transpose() * integral * start
    gram = moved * inner.solve(moved.transpose())
    assert all(float(gram[i, j].rad()) < 1e-100 for i in range(size) for j in range(size))
    return np.array([[float(gram[i, j].mid()) for j in range(size)] for i in range(size)])
