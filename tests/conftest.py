"""No compiled program is kept in memory beyond the file of tests that used it; settings are in `conftest.py` above."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs():
    yield
    jax.clear_caches()
