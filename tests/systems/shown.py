"""One small result of every type that shows itself, made with given names and without solving anything twice."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import sympy

import dlntheory as dln
from dlntheory import mean_field, solutions
from dlntheory.claims.base import Claim, Evidence
from dlntheory.claims.results import ClaimStatus, Report, Result
from dlntheory.claims.showcase import MainJob
from dlntheory.data import Dataset
from dlntheory.exact.rings.polynomials import SparsePolynomial
from dlntheory.exact.words.reading import read_words
from dlntheory.reductions.intrinsicity.fibre_divergence import FibreDivergence
from dlntheory.reductions.intrinsicity.level_set_tests import LevelSetTest
from dlntheory.reductions.intrinsicity.parameter_elimination import Relation
from dlntheory.reductions.intrinsicity.two_layer_classification import two_layer_level_set, two_layer_table
from dlntheory.reductions.mirror.commuting_fields import BracketTest
from dlntheory.reductions.mirror.kkt_condition import BiasReport
from dlntheory.reductions.mirror.mirror_potentials import EntropyScalars, MirrorPotential
from dlntheory.reductions.mirror.potential_search import NoPotential
from dlntheory.reductions.parsimony.matrix_completion import Completion
from dlntheory.reductions.select import ReductionAttempt, ReductionReport
from dlntheory.solutions.limit_points import LimitPoint
from dlntheory.theory import alignment, landscape, saddles
from dlntheory.theory.alignment.report import AlignmentReport, Finding, Outcome
from dlntheory.theory.geometry.langevin import LangevinReport
from dlntheory.theory.geometry.measures import REFERENCES, MeasureReport
from dlntheory.theory.mean_field.comparison import Deviation, MeanFieldComparison
from dlntheory.theory.mean_field.rate_transfer import BestRate, RateTransfer
from dlntheory.theory.mean_field.simulation import Simulation
from dlntheory.theory.mean_field.sweeps import Sweep
from dlntheory.theory.saddles.greedy_path import GreedyPoint
from dlntheory.theory.saddles.plateaus import Plateau
from dlntheory.training.stats import Stats

TIMES = np.linspace(0.0, 1.0, 4)
FALL = np.exp(-TIMES)


def everything(name: str, factors: tuple[str, str] = ("W1", "W2")) -> dict[str, object]:
    """Results by a short name; `name` stands wherever a user may put a text, `factors` are the matrices' names."""
    return (
        _networks(name, factors)
        | _runs(name)
        | _reductions(name, factors)
        | _claims(name)
        | _theory(name)
        | _mean_field(name)
        | _saddles(name)
    )


def _chain(name, factors):
    first, second = factors
    return dln.Architecture(
        lambda p: p[second] @ p[first],
        {first: (2, 2), second: (2, 2)},
        name=name,
        chain=factors,
        try_out=False,
    )


def _training(name):
    return dln.Training(_NamedLoss(name), weight_decay=0.1, rates={name: 2.0})


class _NamedLoss:
    """A loss of the user's own, with words that end up beside results."""

    def __init__(self, conventions):
        self.conventions = conventions

    def __call__(self, z):
        return jnp.sum(z**2)


def _networks(name, factors):
    chain = _chain(name, factors)
    first, second = factors
    tied = dln.Architecture(lambda p: p[first] @ p[first].T, {first: (3, 2)}, name=name, try_out=False)
    pair = dln.Architecture(
        lambda p: p[first] * p[second], {first: (2,), second: (2,)}, name=name, try_out=False
    )
    laws = dln.conservation_laws(chain)
    theta = {first: np.eye(2), second: np.eye(2)}
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), name=name, description=name)
    return {
        "architecture": chain,
        "architecture without a chain": pair,
        "symbols": chain.symbolic(),
        "words": read_words(chain, chain.shapes),
        "laws": laws,
        "entrywise laws": dln.conservation_laws(pair),
        "law": laws.laws[0],
        "certificate": laws.certificate,
        "Lie rank": laws.certificate.lie,
        "law change": laws.laws[0].change(dln.GradientDescent(chain, _NamedLoss(name), 0.1)),
        "balance": dln.balance(chain, theta),
        "closure": dln.find_closure(chain),
        "closure in z": dln.find_closure(tied),
        "closure in entries": dln.find_closure(pair),
        "verdict": dln.intrinsic(tied),
        "verdict with level sets": dataclasses.replace(
            dln.intrinsic(tied), level_sets=_level_sets(name), reason=name, where=(name,)
        ),
        "data": data,
        "loss": data.loss(),
        "logistic loss": dln.LogisticLoss(data.inputs, np.array([1.0, -1.0, 1.0, 1.0, -1.0])),
        "completion loss": dln.MatrixCompletionLoss(np.eye(2), np.eye(2, dtype=bool)),
        "training": _training(name),
        "flow": dln.GradientFlow(chain, _NamedLoss(name)),
        "descent": dln.GradientDescent(chain, _NamedLoss(name), 0.1),
    }


def _level_sets(name):
    return (LevelSetTest(name, "holds", 1e-12, 1, 1e-9, 1e-9, (0.1,), name),)


def trajectory(name):
    """A run with every optional entry, put together by hand."""
    stats = Stats(name, 1e-8, 1e-10, {"steps accepted": 7}, 0.1, True, name, False, name)
    zeros = np.zeros((4, 2, 2))
    return dln.Trajectory(
        label=name,
        architecture=name,
        conventions=name,
        clock="t",
        ts=TIMES,
        z=zeros,
        loss=FALL,
        states=None,
        final={name: np.zeros((2, 2))},
        drift={name: np.full(4, 1e-9)},
        monitors={name: FALL},
        stats=stats,
    )


def _runs(name):
    run = trajectory(name)
    both = dln.Comparison(run, run, np.full(4, 1e-9), np.full(4, 1e-9), r"\dot z = -z", name)
    return {"trajectory": run, "comparison": both, "main job": MainJob(both, both, {100: (1e-3, 2e-3)})}


def _reductions(name, factors):
    chain = _chain(name, factors)
    first, second = factors
    broken = dln.Condition(name, 1.0, 1e-8, explanation=name, expected_error=0.1, remedy=name)
    free = dln.BalancedFlow(chain)
    pair = dln.Architecture(
        lambda p: p[first] * p[second], {first: (2,), second: (2,)}, name=name, try_out=False
    )
    target = np.diag([2.0, 1.0])
    white = dln.SquaredLoss(np.sqrt(2) * np.eye(2), np.sqrt(2) * target, whitened=True)
    survey = ReductionReport(
        chain, (ReductionAttempt(name, name, None, name), ReductionAttempt(name, name, free, name))
    )
    run = Completion(
        left=np.eye(2),
        core=np.eye(2),
        right=np.eye(2),
        iterations=np.arange(4),
        loss=FALL,
        test_error=FALL,
        converged=True,
        kernel=name,
        seconds=0.1,
    )
    return {
        "condition": broken,
        "condition that holds": dln.Condition(name, 0.0, 1e-8),
        "reduction": free,
        "bound reduction": free.bind(dln.Training(_NamedLoss(name))),
        "Gram flow": dln.GramFlow(chain),
        "closed flow": dln.find_closure(chain).dynamics(),
        "survey": survey,
        "companions": FibreDivergence(name, (0.1,), (1e-3,), (1e-2,)),
        "relation": _relation(name),
        "potential": MirrorPotential(
            pair, np.ones(2), EntropyScalars(np.ones(2), 0.5), np.ones(2), np.zeros(2), name
        ),
        "no potential": NoPotential(name, name, BracketTest(False, 3, ((0,), (1,)), name, name), None),
        "brackets": BracketTest(False, 3, ((0,), (1,)), name, name),
        "bias": BiasReport(1e-9, 1e-6, 1e-5, 2, 0.5),
        "active subspaces": dln.active_subspaces([np.eye(4), np.eye(4)], np.diag([1.0, 0.0, 0.0, 0.0])),
        "completion": run,
        "two-layer level set": dataclasses.replace(two_layer_level_set(2, 2, 2, [1.0, -1.0]), reason=name),
        "level set with a metric": two_layer_level_set(2, 2, 2, [0.0, 0.0]),
        "two-layer table": two_layer_table(1),
        "solution": _Solution(chain, dln.Training(_NamedLoss(name)), {}, name),
        "limit point": LimitPoint(np.eye(2), (0.5,), 1e-9, (1, -1), 10.0),
        "sensing": solutions.CommutingSensing(np.eye(2)[None], np.ones(1), 0.1),
        "interpolation limit": solutions.InterpolationLimit(np.ones(2), np.ones(1), 1e-3, 1e-9, 5),
        "whitened problem": solutions.WhitenedProblem.of(chain, dln.Training(white)),
        "landscape": landscape.WhitenedLandscape(
            dataclasses.replace(solutions.WhitenedProblem.of(chain, dln.Training(white)), conventions=name),
            (2, 2, 2),
        ),
    }


def _relation(name):
    k, z = sympy.symbols("k z")
    polynomial = SparsePolynomial({(0, 0): 1, (1, 1): -4})
    return Relation(
        network=name,
        status="found",
        reason="",
        method=name,
        entry=(0, 0),
        polynomial=k**2 - 4 * z**2,
        outputs=(z,),
        places=(0,),
        constants=(sympy.Symbol("c1"),),
        definitions=(name,),
        values=(1.0,),
        start=(1.0,),
        metric=2.0,
        branch=(2, 2),
        seconds=0.1,
        time_limit=1.0,
        _sparse=polynomial,
    )


class _Solution(solutions.AbstractSolution):
    """A closed form of the user's own."""

    words: str

    label = property(lambda self: self.words)
    statement = property(lambda self: r"z(t) = e^{-t} z_0 \text{ if } t < 1")
    source = property(lambda self: self.words)
    exactness = property(lambda self: self.words)
    condition = property(lambda self: dln.Condition(self.words, 0.0, 1e-8, explanation=self.words))

    def z(self, ts):
        return ts


def _claims(name):
    claim = Claim(
        id="a-claim",
        paper="basics",
        statement=f"{name} $x \\geq 1$" if "$" not in name else rf"{name.split('$')[0]} and $x < 1$",
        summary=name,
        source=name,
        tolerance=1e-6,
        tier="quick",
        check=_check,
        arguments={"text": name},
        control_arguments={"text": name + "!"},
        control=name,
    )
    good = Evidence(predicted=1.0, measured=1.0, detail=name)
    bad = Evidence(predicted=1.0, measured=2.0, detail=name)
    result = Result(claim, ClaimStatus.FAILED, good, bad, 0.1, name)
    report = Report((result,), 0.1, "2026-01-01T00:00:00+00:00", {}, False)
    return {"claim": claim, "evidence": bad, "result": result, "report": report}


def _check(text: str) -> Evidence:
    return Evidence(predicted=1.0, measured=1.0)


def _theory(name):
    inputs = np.array([[1.0, 0.2], [0.8, -0.3], [-1.0, 0.1]])
    problem = alignment.SeparableProblem(inputs, [1, 1, -1], name=name)
    run = trajectory(name)
    weights = (np.tile(np.eye(2), (4, 1, 1)), np.tile(np.ones((1, 2)), (4, 1, 1)))
    flow = alignment.AlignmentRun(problem, run, TIMES, weights, True)
    two = np.array([0.5, 0.7])
    rate = alignment.Rate(name, 1.0, 1.1, 0.2)
    return {
        "separable problem": problem,
        "margin": problem.margin,
        "alignment run": flow,
        "descent run": alignment.DescentRun(problem, name, np.arange(4), TIMES, -TIMES, weights, -1e-3, run),
        "bounds": alignment.alignment_bounds(flow),
        "rates": alignment.Rates(2, (1.0, 10.0), {"norm": rate}, 1.0, 1.0),
        "alignment report": AlignmentReport(name, {"norm": Finding(name, next(iter(Outcome)), name, name)}),
        "Langevin": LangevinReport(
            name, (name, name), two, two, two, two, two, 4, 0.1, 1.0, two, two, np.zeros((2, 2)), two, two
        ),
        "measures": MeasureReport(
            2, (1.0, 0.5), dict.fromkeys(REFERENCES, 1.0), dict.fromkeys(REFERENCES, 1.0)
        ),
        "decay": landscape.decay_thresholds(1.0, 3),
    }


def _mean_field(name):
    config = mean_field.MeanFieldConfig(T=6, L=1, eta=0.1, nu=1.0)
    theory = mean_field.solve(config, progress=False)
    curves = np.tile(np.asarray(theory.gen), (2, 1))
    layered = np.ones((2, 1, 6))
    simulation = Simulation(config, 8, 8, 8, curves, curves, layered, layered, curves, layered, curves)
    both = MeanFieldComparison(theory, simulation, {name: Deviation(name, FALL, FALL + 0.01, FALL)})
    best = BestRate(0.1, 0.2, ((0.1, 0.2),))
    return {
        "mean field": theory,
        "simulation": simulation,
        "mean-field comparison": both,
        "sweep": Sweep(name, name, (name, "b"), (0.0, 1.0), (theory, theory)),
        "transfer": RateTransfer(name, (1.0, 2.0), {name: (best, None)}),
        "rank-one run": mean_field.RankOneRun(TIMES, FALL, FALL, FALL),
    }


def _saddles(name):
    weights = {"W1": np.diag([1.0, 0.1]), "W2": np.diag([1.0, 0.2])}
    run = trajectory(name)
    two = np.array([0.5, 0.7])
    point = GreedyPoint(1, {}, np.eye(2), 0.5, 1.0, None)
    greedy = saddles.GreedyPath((point,), 2, 1e-2, name)
    table = np.ones((2, 2))
    return {
        "distances": saddles.distances(weights, np.diag([1.0, 0.5])),
        "escape": saddles.EscapeTime(3, 1.0, 2.0, 0.5, 1e-2, 20.0),
        "plateaus": saddles.Plateaus((Plateau(0, 1.0, 0.5, 1e-3, 1),)),
        "no plateaus": saddles.Plateaus(()),
        "phase transition": saddles.PhaseTransition(2, 0.8, np.array([8, 16]), two, two, two, two, 3),
        "path": saddles.PathRun(run, 0.1, 2, FALL, 1e3),
        "greedy path": greedy,
        "approach": saddles.ApproachStudy(2, np.array([0.1, 0.01]), np.array([[0.1], [0.01]]), np.ones(1)),
        "completion study": saddles.CompletionStudy(2, two, table, two, greedy, two),
        "discriminant": saddles.DiscriminantRun(run, 2, 1e-9, 1e-9, 0.1, True, 1.0, 1.0),
    }
