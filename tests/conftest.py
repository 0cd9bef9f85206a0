"""Neither compiled programs nor reductions outlive the tests that made them; settings are in `conftest.py` above."""

import jax
import pytest

from dlntheory.reductions import base


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs():
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _forget_own_reductions():
    """Drop the reductions that a test has defined: those outside the package."""
    yield
    for name in [name for name in base._CLASSES if not name.startswith("dlntheory.")]:
        del base._CLASSES[name]
