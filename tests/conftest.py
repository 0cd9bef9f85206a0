"""Strict numerics for every test: float64, no implicit promotion, no unused compiled programs kept in memory."""

import os

# Nearly all the time of the tests is compilation of small programs: let XLA optimise less. Set before JAX starts.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs():
    yield
    jax.clear_caches()
