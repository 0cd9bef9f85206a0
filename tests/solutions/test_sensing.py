"""Commuting matrix sensing against the flow of U, its limit, and refusals."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dlntheory import ConditionError
from dlntheory.solutions.commuting_sensing import CommutingSensing, largest_commutator

RNG = np.random.default_rng(5)
BASIS = np.linalg.qr(RNG.standard_normal((4, 4)))[0]
A = np.stack([(BASIS * d) @ BASIS.T for d in RNG.standard_normal((2, 4))])
Y = np.einsum("mij,ij->m", A, np.diag([1.0, 0.5, 0.2, 0.1]))


def flow(measurements, alpha, times):
    def field(t, u):
        u = u.reshape(4, 4)
        residual = np.einsum("mij,ij->m", measurements, u @ u.T) - Y
        return -2 * (np.einsum("m,mij->ij", residual, measurements) @ u).ravel()

    start = np.sqrt(alpha) * np.eye(4).ravel()
    run = solve_ivp(field, (0, times[-1]), start, t_eval=times, method="DOP853", rtol=1e-12, atol=1e-14).y.T
    return np.stack([u.reshape(4, 4) @ u.reshape(4, 4).T for u in run])


def test_curve_and_limit_follow_the_flow():
    sensing = CommutingSensing(A, Y, 0.3)
    times = np.array([0.0, 0.5, 2.0, 60.0])
    full = flow(A, 0.3, times)
    np.testing.assert_allclose(sensing.curve(times), full, atol=2e-11)
    np.testing.assert_allclose(sensing.limit(), full[-1], atol=1e-10)
    # The loss of the formula is the loss of the flow, ½ included.
    z = full[1]
    slope = np.einsum("m,mij->ij", np.einsum("mij,ij->m", A, z) - Y, A)
    np.testing.assert_allclose(jax.grad(sensing.loss)(z), slope, atol=1e-13)


def test_limit_is_finite_from_tiny_starts():
    for alpha in (1e-8, 1e-40, 1e-80):
        limit = CommutingSensing(A, Y, alpha).limit()
        np.testing.assert_allclose(np.einsum("mij,ij->m", A, limit), Y, atol=1e-12)
        assert np.linalg.eigvalsh(limit)[0] > -1e-14


def test_refusals():
    crossed = np.stack([A[0], np.diag([1.0, 2.0, 3.0, 4.0])])
    with pytest.raises(ConditionError, match=r"must commute .* max \|\[A_i, A_j\]\| = ") as caught:
        CommutingSensing(crossed, Y, 0.3)
    assert caught.value.measured == largest_commutator(crossed) > 0.1
    with pytest.raises(ValueError, match="symmetric"):
        CommutingSensing(np.triu(A), Y, 0.3)
    with pytest.raises(ValueError, match="`alpha` must be a finite positive number"):
        CommutingSensing(A, Y, 0.0)
    with pytest.raises(ValueError, match="linearly independent"):
        CommutingSensing(np.stack([A[0], 2 * A[0]]), Y, 0.3)
    with pytest.raises(ValueError, match="must have shapes"):
        CommutingSensing(A, Y[:1], 0.3)
    with pytest.raises(ValueError, match="increasing times"):
        CommutingSensing(A, Y, 0.3).curve([1.0, 0.5])


def test_repeated_joint_eigenvalues_are_no_obstacle():
    identity = CommutingSensing(np.eye(3)[None], [6.0], 1e-3)
    np.testing.assert_allclose(identity.limit(), 2 * np.eye(3), atol=1e-12)
