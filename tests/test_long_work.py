"""Long work: what each verb shows meanwhile, and that what it calls stays silent."""

import inspect
import io
import sys
from types import SimpleNamespace

import pytest
from systems.long_work import (
    CONFIG,
    LAWS,
    NETWORK,
    PRODUCT,
    RESIDUAL,
    SQUARED,
    START,
    TARGET,
    claim,
    entries,
    problem,
    random_layers,
    relaxed_gap,
)

import dlntheory as dln
from dlntheory.claims import Evidence
from dlntheory.claims.runner import run_claims
from dlntheory.display import progress as _progress
from dlntheory.laws.systems import GradientSystem
from dlntheory.reductions import fibre_companions
from dlntheory.reductions.parsimony import complete
from dlntheory.theory import geometry, mean_field, saddles

VERBS = {
    "conservation_laws": (lambda **o: dln.conservation_laws(PRODUCT, **o), ["searching the laws of uv"]),
    "check": (
        lambda **o: dln.laws.check(LAWS.certificate, GradientSystem(PRODUCT), **o),
        ["checking the laws of uv"],
    ),
    "close": (lambda **o: dln.find_closure(PRODUCT, **o), ["closing the dynamics of uv"]),
    "intrinsic": (lambda **o: dln.intrinsic(PRODUCT, **o), ["deciding about uv"]),
    "eliminate": (
        lambda **o: dln.eliminate_parameters(PRODUCT, START, method="groebner", **o),
        ["eliminating the parameters of uv"],
    ),
    "survey": (
        lambda **o: dln.try_reductions(PRODUCT, START, everything=True, **o),
        ["looking for a reduction of uv"],
    ),
    "reduce": (lambda **o: dln.reduce(PRODUCT, START, **o), ["looking for a reduction of uv"]),
    "mirror_potential": (
        lambda **o: dln.mirror_potential(PRODUCT, START, **o),
        ["looking for a potential of uv"],
    ),
    "fibre_companions": (
        lambda **o: fibre_companions(PRODUCT, START, **o),
        ["looking for companions in uv"],
    ),
    "fibre_divergence": (relaxed_gap, ["looking for companions in linear 1-2-3", "companions"]),
    "complete": (
        lambda **o: complete(entries(), 1, learning_rate=0.1, discrepant_rate=0.1, steps=3, **o),
        ["completing"],
    ),
    "mean_field.solve": (lambda **o: mean_field.solve(CONFIG, **o), ["mean field"]),
    "mean_field.simulate": (lambda **o: mean_field.simulate(CONFIG, 8, 2, **o), ["networks"]),
    "width_sweep": (lambda **o: mean_field.width_sweep(CONFIG, (1.0, 2.0), **o), ["width"]),
    "data_sweep": (lambda **o: mean_field.data_sweep(CONFIG, (1.0, 2.0), **o), ["amount of data"]),
    "data_modes": (
        lambda **o: mean_field.data_modes(CONFIG, 0.5, (1.0,), **o),
        ["online against repeated data"],
    ),
    "depth_sweep": (lambda **o: mean_field.depth_sweep(RESIDUAL, (1, 2), **o), ["residual depth"]),
    "best_rate": (lambda **o: mean_field.best_rate(CONFIG, 0.01, 1.0, factor=2.0, **o), ["learning rates"]),
    "width_transfer": (
        lambda **o: mean_field.width_transfer(CONFIG, (1.0,), factor=2.0, **o),
        ["best rates"],
    ),
    "depth_transfer": (
        lambda **o: mean_field.depth_transfer(RESIDUAL, (1,), factor=2.0, **o),
        ["best rates"],
    ),
    "scalar_langevin": (
        lambda **o: geometry.scalar_langevin(1.0, 2, chains=100, step=0.1, time=0.5, **o),
        ["Langevin motion"],
    ),
    "matrix_langevin": (
        lambda **o: geometry.matrix_langevin((1.0, 0.5), chains=100, step=0.1, time=0.5, **o),
        ["Langevin motion"],
    ),
    "distances": (
        lambda **o: saddles.distances(NETWORK, TARGET, **o),
        ["looking for the nearest minimum and saddle"],
    ),
    "phase_transition": (lambda **o: saddles.phase_transition(TARGET, 2, 0.8, (4,), **o), ["distances"]),
    "greedy_low_rank": (
        lambda **o: saddles.greedy_low_rank(SQUARED, (2, 2), 2, k_max=1, eps=0.1, **o),
        ["greedy low rank"],
    ),
    "completion_study": (
        lambda **o: saddles.completion_study(problem(), random_layers(3), (0.1,), time=1.0, **o),
        ["greedy low rank", "completion"],
    ),
    "verify": (lambda **o: run_claims([claim(lambda x: Evidence(1.0, x, abs(x - 1)))], **o), ["verify"]),
}


@pytest.fixture
def shown(monkeypatch):
    """Descriptions of all bars and lines that a terminal would have shown, in order."""
    seen = []

    class Line(_progress._Line):
        def __init__(self, description, stream):
            super().__init__(description, stream)
            seen.append(description)

    draw = _progress.ProgressBar._draw

    def drawn(self):
        seen.append(self._arguments["desc"])
        draw(self)

    monkeypatch.setattr(_progress, "_Line", Line)
    monkeypatch.setattr(_progress.ProgressBar, "_draw", drawn)
    monkeypatch.setattr(_progress, "DELAY", 0.0)
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    # Not `sys.stderr` itself: pytest changes it between the fixtures and the test.
    monkeypatch.setattr(_progress, "sys", SimpleNamespace(stderr=terminal, modules=sys.modules))
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return seen


SLOW = ("fibre_divergence", "completion_study", "eliminate", "survey")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in VERBS]
)
def test_what_is_shown(shown, name):
    verb, descriptions = VERBS[name]
    verb(progress=False)
    assert shown == []
    verb()
    assert shown == descriptions


def test_nothing_is_shown_where_nobody_looks(capsys):
    for name in ("mean_field.solve", "phase_transition", "conservation_laws"):
        VERBS[name][0]()
    assert capsys.readouterr() == ("", "")


def test_every_verb_has_one_way_to_ask():
    """`progress=None`: shown on a terminal and in a notebook; the same name and default everywhere."""
    verbs = [
        dln.conservation_laws,
        dln.intrinsic,
        dln.find_closure,
        dln.eliminate_parameters,
        dln.try_reductions,
        dln.reduce,
        dln.verify,
    ]
    verbs += [dln.mirror_potential, dln.fibre_divergence, complete, fibre_companions, dln.laws.check]
    verbs += [mean_field.solve, mean_field.simulate, mean_field.best_rate, mean_field.width_transfer]
    verbs += [saddles.distances, saddles.phase_transition, saddles.greedy_low_rank, saddles.follow_path]
    for verb in verbs:
        parameter = inspect.signature(verb).parameters["progress"]
        assert (parameter.default, parameter.kind) == (None, inspect.Parameter.KEYWORD_ONLY), verb
