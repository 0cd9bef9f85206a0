"""Strict numerics for every test; and every Python block of the README and the manual runs, page by page.

A page's blocks share one namespace, in order, in an empty folder: they are a user's, who may write files there. Blocks
of other languages are not run, nor are those with a title, which are files: `tests/test_extending.py` takes them.
"""

import contextlib
import os
import tempfile
from pathlib import Path

# Nearly all the time of the tests is compilation of small programs: let XLA optimise less. Set before JAX starts.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import jax
import matplotlib
import matplotlib.pyplot as plt
import pytest
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

ROOT = Path(__file__).resolve().parent
#: Pages above three seconds.
SLOW_PAGES = frozenset(
    ROOT / page
    for page in (
        "README.md",
        "docs/gallery.md",
        "docs/index.md",
        "docs/concepts/balancedness.md",
        "docs/concepts/conventions.md",
        "docs/concepts/dynamics.md",
        "docs/concepts/laws.md",
        "docs/concepts/reductions.md",
        "docs/how-to/figures.md",
        "docs/how-to/long-runs.md",
        "docs/theory/alignment.md",
        "docs/theory/closure.md",
        "docs/theory/exact-solutions.md",
        "docs/theory/intrinsic.md",
        "docs/theory/mean-field.md",
        "docs/theory/parsimony.md",
        "docs/theory/saddles.md",
    )
)


def enter_page(namespace):
    """A folder of the page's own, and figures that open no window."""
    surroundings = contextlib.ExitStack()
    folder = surroundings.enter_context(tempfile.TemporaryDirectory())
    surroundings.enter_context(contextlib.chdir(folder))
    matplotlib.use("Agg")
    namespace["__name__"] = "page"
    _SURROUNDINGS.append(surroundings)


def leave_page(namespace):
    from dlntheory.reductions import base

    plt.close("all")
    for name in [name for name in base._CLASSES if name.startswith("page.")]:
        del base._CLASSES[name]
    _SURROUNDINGS.pop().close()
    jax.clear_caches()


#: What the page that is running must leave: one at most.
_SURROUNDINGS: list[contextlib.ExitStack] = []

PAGES = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "docs/**/*.md"],
    setup=enter_page,
    teardown=leave_page,
)
pytest_collect_file = PAGES.pytest()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, SybilItem) and item.path in SLOW_PAGES:
            item.add_marker(pytest.mark.slow)
