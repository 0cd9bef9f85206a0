"""The walkthroughs of CONTRIBUTING: their files, as written there, do what the page promises; mutated ones do not."""

import contextlib
import doctest
import importlib
import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from dlntheory import claims, families, reductions
from dlntheory.claims import intrinsic
from dlntheory.cli import main
from dlntheory.reductions import base
from dlntheory.training import rules

ROOT = Path(__file__).resolve().parents[1]
#: A block whose first line names its file, below a line that shows the name to readers.
FENCE = re.compile(r'^`([^`\n]+)`:\n\n```python title="\1"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
FAMILY = "dlntheory/families/crossed.py"
REDUCTION = "dlntheory/reductions/equal_factors.py"
RULE = "dlntheory/training/rules/normalised_descent.py"
RULE_TEST = "tests/training/test_normalised_descent.py"
CLAIM = "dlntheory/claims/intrinsic/equal_factors.py"
ID = "equal-factors-in-z-alone"
#: The packages into which the walkthroughs put a file, and the modules that hold its name afterwards.
PACKAGES = {FAMILY: families, REDUCTION: reductions, RULE: rules, CLAIM: intrinsic}


def fences():
    """The titled blocks of the page: file name -> text."""
    found = FENCE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(found) == len(dict(found)), "a file occurs twice"
    return dict(found)


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Write a new file of the page beside the package, not into it; returns the module.

    A mutation is a pair of texts: the first one, which must occur once, is replaced by the second.
    """

    def make(title, mutation=None):
        text = fences()[title]
        if mutation is not None:
            old, new = mutation
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        assert not (ROOT / title).exists()
        file = tmp_path / title
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        package = PACKAGES.get(title)
        if package is None:
            return file
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
        importlib.invalidate_caches()
        module = importlib.import_module(f"{package.__name__}.{file.stem}")
        assert Path(module.__file__) == file
        return module

    yield make
    for title, package in PACKAGES.items():
        name = Path(title).stem
        if sys.modules.pop(f"{package.__name__}.{name}", None) is not None:
            delattr(package, name)
    families.FAMILIES.pop("crossed", None)
    base._CLASSES.pop("dlntheory.reductions.equal_factors.EqualFactorsFlow", None)
    # A compiled function must not be found again for the next version of a file.
    jax.clear_caches()


@contextlib.contextmanager
def executed(line, namespace):
    """A line of the page run in the namespace of the module into which it belongs; undone afterwards."""
    before = dict(namespace)
    exec(compile(line, "CONTRIBUTING.md", "exec"), namespace)
    try:
        yield
    finally:
        for name in set(namespace) - set(before):
            del namespace[name]
        namespace.update(before)


def passed_docstrings(module):
    return doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


# --- the page ---


def test_titles_are_the_files_that_the_walkthroughs_add_or_change():
    new = {FAMILY, REDUCTION, RULE, CLAIM, RULE_TEST, "tests/reductions/test_equal_factors.py"}
    assert {title for title in fences() if not (ROOT / title).exists()} == new
    assert len(fences()) == 6


# --- a new architecture family ---


def check_family(module):
    """What the tests of the families do with a member, and the example of the docstring."""
    tables = importlib.import_module("families.test_families")
    assert families.crossed_factors is module.crossed_factors
    tables.test_registry("crossed")
    tables.test_example_reads_exactly_as_in_floats_and_has_its_laws("crossed")
    assert passed_docstrings(module)


def test_family(put, capsys):
    module = put(FAMILY)
    check_family(module)
    assert main(["laws", "crossed", "3", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["laws"], found["status"]) == (4, "complete")
    with pytest.raises(ValueError, match="`rank` must be a positive integer"):
        module.crossed_factors(3, 0)


@pytest.mark.parametrize(
    "mutation",
    [
        ('p["U"] @ p["V"].T + ', 'p["U"] @ p["V"].T - '),
        ('p["U"] @ p["V"].T + p["V"] @ p["U"].T', '2.0 * p["U"] @ p["V"].T'),
        ('"V": (n, k)}', '"V": (n, k + 1)}'),
    ],
    ids=["sign", "one term", "shape"],
)
def test_a_wrong_family_is_noticed(put, mutation):
    with pytest.raises((AssertionError, TypeError, ValueError)):
        check_family(put(FAMILY, mutation))


# --- a new reduction ---


def check_reduction(put, mutation=None):
    """The test file of the page: `reduce` finds the new flow without any other edit."""
    put(FAMILY)
    module = put(REDUCTION, mutation)
    file = put("tests/reductions/test_equal_factors.py")
    page = {"__name__": "test_equal_factors"}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), page)
    tests = [value for name, value in page.items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()
    return module


def test_reduction(put):
    module = check_reduction(put)
    assert passed_docstrings(module)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutation",
    [
        ("-(both @ state", "(both @ state"),
        ('state["z"] @ both)', 'state["z"].T @ gradient)'),
        ("- 2 * training.weight_decay", "- training.weight_decay"),
        ("np.linalg.norm(u - v)", "np.linalg.norm(u + v)"),
        ("tolerance=TOLERANCE * scale", "tolerance=1.0"),
        ("if training.rates:", "if not training.rates:"),
        ("u @ v.T + v @ u.T, rtol", "value, rtol"),
    ],
    ids=["sign", "term", "decay", "measure", "tolerance", "rates", "form"],
)
def test_a_wrong_reduction_is_noticed(put, mutation):
    # pytest's own failure of `raises` is no AssertionError.
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        check_reduction(put, mutation)


# --- a new training rule ---


def check_rule(put, mutation=None):
    """The test file of the page, with the rule beside the package."""
    module = put(RULE, mutation)
    page = {"__name__": "test_normalised_descent"}
    exec(compile(put(RULE_TEST).read_text(encoding="utf-8"), RULE_TEST, "exec"), page)
    tests = [value for name, value in page.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()
    return module


def test_rule(put):
    assert passed_docstrings(check_rule(put))


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutation",
    [
        ("theta[name] - eta", "theta[name] + 2 * eta"),
        ("g / jnp.linalg.norm(g))", "g)"),
        (", direction=lambda h, theta, g: g / jnp.linalg.norm(g)", ""),
    ],
    ids=["length", "direction", "no direction"],
)
def test_a_wrong_rule_is_noticed(put, mutation):
    with pytest.raises(AssertionError):
        check_rule(put, mutation)


# --- a new theorem ---


def verified(put, mutation=None):
    """The result of the claim as `verify` finds it."""
    module = put(CLAIM, mutation)
    assert module.equal_factors_in_z_alone in claims.claims("intrinsic"), "the file alone is enough"
    (result,) = claims.verify("intrinsic", ID).results
    return result


def test_theorem(put):
    result = verified(put)
    assert result.verdict == "passed"
    assert result.control.error > 1e6 * result.claim.tolerance
    np.testing.assert_allclose(result.evidence.measured, result.evidence.predicted, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutation", "verdict"),
    [
        (("predicted = -(both", "predicted = (both"), "failed"),
        (("gradient + gradient.T", "2 * gradient"), "failed"),
        (("gradient = loss.gradient(z)", "gradient = 2 * loss.gradient(z)"), "failed"),
        (('control_arguments={"gap": 0.1}', 'control_arguments={"gap": 1e-16}'), "vacuous"),
    ],
    ids=["sign", "transpose", "factor", "control"],
)
def test_a_wrong_theorem_is_noticed(put, mutation, verdict):
    assert verified(put, mutation).verdict == verdict


def test_nothing_is_left_behind():
    """What the tests above put beside the packages is gone: the page adds nothing to the tree."""
    for title in (FAMILY, REDUCTION, RULE, CLAIM):
        assert not (ROOT / title).exists()
        assert title.removesuffix(".py").replace("/", ".") not in sys.modules
    assert "crossed" not in families.FAMILIES
    assert not hasattr(families, "crossed_factors")
