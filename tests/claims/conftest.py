"""Claims about nothing, one for each thing that can become of a claim."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from dlntheory.claims import PAPERS, Evidence, claim

FIELDS = {
    "paper": "basics",
    "statement": r"The distance to one is zero: $\lVert x - 1 \rVert = 0$.",
    "source": "Peano 1889, Axiom 1",
    "tolerance": 1e-9,
    "arguments": {"x": 1.0},
    "control_arguments": {"x": 2.0},
    "control": "the number is two",
    "tier": "quick",
}


def distance_to_one(x):
    return Evidence(predicted=1.0, measured=x)


def always_agrees(x):
    return Evidence(predicted=1.0, measured=1.0)


def raises(x):
    raise ZeroDivisionError(f"no inverse at {x}")


def raises_off_one(x):
    return distance_to_one(x) if x == 1.0 else raises(x)


def interrupts(x):
    raise KeyboardInterrupt


def interrupts_off_one(x):
    return distance_to_one(x) if x == 1.0 else interrupts(x)


def returns_a_bool(x):
    return True


def make(id, check=distance_to_one, summary="The number is one.", **fields):
    check.__doc__ = summary
    return claim(id=id, **{**FIELDS, **fields})(check)


NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="session")
def toys():
    return SimpleNamespace(
        make=make,
        passing=make("toy-passing"),
        failing=make("toy-failing", arguments={"x": 1.5}),
        failing_twice=make("toy-failing-twice", arguments={"x": 1.5}, control_arguments={"x": 1.0}),
        vacuous=make("toy-vacuous", always_agrees),
        raising=make("toy-raising", raises),
        raising_control=make("toy-raising-control", raises_off_one),
        wrong_type=make("toy-wrong-type", returns_a_bool),
        nan=make("toy-nan", arguments={"x": NAN}),
        nan_control=make("toy-nan-control", control_arguments={"x": NAN}),
        infinite=make("toy-infinite", arguments={"x": INF}),
        infinite_control=make("toy-infinite-control", control_arguments={"x": INF}),
        slow=make("toy-slow", tier="full", paper="closure"),
        interrupting=make("toy-interrupting", interrupts),
        interrupting_control=make("toy-interrupting-control", interrupts_off_one),
    )


@pytest.fixture
def set_papers(monkeypatch):
    """Replaces the claims of the package: `set_papers(basics=[...])`; the others then have no module."""

    def set_papers(**claims):
        for paper in PAPERS.values():
            key = paper.key.replace("-", "_")
            module = None
            if key in claims:
                module = ModuleType(paper.module)
                module.__spec__ = ModuleSpec(paper.module, loader=None)
                vars(module).update({f"claim_{number}": one for number, one in enumerate(claims[key])})
            monkeypatch.setitem(sys.modules, paper.module, module)

    return set_papers
