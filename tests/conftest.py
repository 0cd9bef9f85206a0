"""Strict numerics for every test: float64, no implicit promotion, no unused compiled programs kept in memory."""

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs():
    yield
    jax.clear_caches()
