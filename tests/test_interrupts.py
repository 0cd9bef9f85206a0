"""Ctrl-C in long work: what is done is returned, equal to the same part of a whole run, or it goes through."""

import dataclasses
import sys
from contextlib import contextmanager

import jax
import numpy as np
import pytest
from systems.long_work import (
    CONFIG,
    HALF,
    LAWS,
    NETWORK,
    PRODUCT,
    RELAXED,
    RESIDUAL,
    SEPARABLE,
    SQUARED,
    START,
    TARGET,
    THREE,
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
from dlntheory.display.progress import whole_runs
from dlntheory.laws import conservation
from dlntheory.laws.conservation import laws_to_build_on
from dlntheory.laws.proof import certificate, lie_rank
from dlntheory.laws.systems import GradientSystem
from dlntheory.reductions import fibre_companions
from dlntheory.reductions.closure import closure_search as find
from dlntheory.reductions.closure.scalars.scalar_search import EntrySearch
from dlntheory.reductions.closure.scalars.scalar_system import EntrySystem
from dlntheory.reductions.intrinsicity import (
    fibre_divergence as companions,
    implicit_flow,
    intrinsic_decision as decision,
    parameter_elimination as elimination,
)
from dlntheory.reductions.parsimony import complete, matrix_completion as completion
from dlntheory.theory import alignment, mean_field, saddles
from dlntheory.theory.alignment import (
    risk_time as risk_clock,
    separable_descent as alignment_descent,
)
from dlntheory.theory.mean_field import rate_transfer as rates, simulation as simulator, solver as solving
from dlntheory.theory.mean_field.time_stepping import TimeStepping
from dlntheory.theory.saddles import (
    completion as saddle_completion,
    discriminant,
    escape,
    greedy_path as greedy,
    path_integration as integration,
)
from dlntheory.training.stats import INTERRUPTED

# The packages have functions of the names of these modules.
alignment_flow = sys.modules[alignment.AlignmentRun.__module__]
regimes = sys.modules[saddles.PhaseTransition.__module__]


@contextmanager
def interrupt(owner, name, call=1):
    """Ctrl-C at a call of a function, counted from 1."""
    original, calls = getattr(owner, name), []

    def interrupted(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        yield
    assert len(calls) >= call


def assert_goes_through(verb):
    """Inside `whole_runs` the interrupt is not turned into a result."""
    with whole_runs(), pytest.raises(KeyboardInterrupt):
        verb()


class TestSearches:
    def test_laws(self):
        arch = dln.linear_network((1, 2, 2, 1))
        search = lambda: conservation.conservation_laws(arch)
        with interrupt(lie_rank._Run, "_strings", 2):
            found = search()
        assert found.interrupted
        assert found.status == "open"
        assert found.certificate.lie.status == "interrupted"
        assert "interrupted" in repr(found)
        assert "interrupted" in str(found)
        whole = search()
        assert not whole.interrupted
        assert found.lower <= whole.lower <= whole.upper <= found.upper
        assert found.certificate.lie.ranks == whole.certificate.lie.ranks[:1]
        with interrupt(lie_rank._Run, "_strings", 2):
            assert_goes_through(search)
        with interrupt(lie_rank._Run, "_strings", 2), pytest.raises(KeyboardInterrupt):
            laws_to_build_on(arch)

    def test_laws_while_the_rank_at_a_point_is_sought(self):
        system = GradientSystem(PRODUCT)
        with interrupt(lie_rank._Run, "_strings", 1), pytest.raises(KeyboardInterrupt):
            lie_rank.lie_rank(system, at=[1, 2])

    def test_a_check_of_a_certificate_that_is_cut_short_says_nothing(self):
        with interrupt(lie_rank._Run, "_strings"), pytest.raises(KeyboardInterrupt):
            certificate.check(LAWS.certificate, GradientSystem(PRODUCT))

    def test_closure_among_entries(self):
        search = lambda: dln.find_closure(THREE, level="entries")
        whole = search()
        with interrupt(EntrySearch, "_closed", 2):
            found = search()
        assert (found.status, found.interrupted, whole.interrupted) == ("open", True, False)
        assert found.attempts[-1].reason == "interrupted"
        collected = found.attempts[-1].collected
        assert 0 < len(collected) < len(whole.observables)
        assert isinstance(whole.system, EntrySystem)
        pieces = [str(generator.polynomial) for generator in whole.system.closure.generators]
        assert list(collected) == pieces[: len(collected)]
        assert "interrupted" in repr(found)
        assert "interrupted" in str(found)
        with interrupt(EntrySearch, "_closed", 2):
            assert_goes_through(search)

    def test_closure_among_words(self):
        with interrupt(find, "close_words"):
            found = dln.find_closure(THREE)
        assert [(one.level, one.reason) for one in found.attempts] == [("words", "interrupted")]
        assert found.interrupted
        with interrupt(find, "close_words"):
            assert_goes_through(lambda: dln.find_closure(THREE))

    def test_verdict(self):
        arch = dln.linear_network((2, 2, 3))
        decide = lambda: dln.intrinsic(arch, level_sets=(0.7,))
        whole = decide()
        with interrupt(decision, "special_level_sets"):
            found = decide()
        assert (found.answer, found.reason, found.interrupted) == ("undecided", "interrupted", True)
        assert (found.kernel, found.lie) == (whole.kernel, whole.lie)
        assert found.laws is not None
        assert whole.laws is not None
        assert found.laws.count == whole.laws.count
        assert (found.level_sets, whole.interrupted) == ((), False)
        assert repr(found) == "IntrinsicityResult(linear 2-2-3: undecided, interrupted)"
        assert "interrupted" in str(found)
        with interrupt(decision, "special_level_sets"):
            assert_goes_through(decide)

    def test_verdict_while_laws_are_sought(self):
        arch = dln.linear_network((1, 2, 2, 1))
        with interrupt(lie_rank._Run, "_strings", 2):
            found = dln.intrinsic(arch)
        assert (found.answer, found.interrupted, found.kernel) == ("undecided", True, ())
        # Laws that somebody else's search left behind are taken as they are.
        assert not dln.intrinsic(arch, laws=found.laws, level_sets=()).interrupted

    def test_elimination(self):
        with interrupt(elimination, "run_job"):
            found = dln.eliminate_parameters(PRODUCT, START)
        assert (found.status, found.reason, found.interrupted) == ("open", "interrupted", True)
        assert found.metric == dln.eliminate_parameters(PRODUCT, START).metric
        assert "interrupted" in repr(found)
        assert "interrupted" in str(found)
        with interrupt(elimination, "run_job"):
            assert_goes_through(lambda: dln.eliminate_parameters(PRODUCT, START))

    def test_survey(self):
        arch = dln.Architecture(
            lambda p: p["C"] @ p["B"] @ p["A"], {"A": (2, 2), "B": (2, 2), "C": (1, 2)}, name="three"
        )
        values = dln.gaussian(dln.linear_network((2, 2, 2, 1)), jax.random.key(0)).values()
        theta0 = dict(zip("ABC", values, strict=True))
        look = lambda: dln.try_reductions(arch, theta0, time_limit=2.0)
        whole = look()
        with interrupt(find, "close_words"):
            found = look()
        done = len(found.attempts) - 1
        assert done > 1
        answers = lambda survey: [(one.name, one.answer) for one in survey.attempts[:done]]
        assert answers(found) == answers(whole)
        assert (found.attempts[-1].name, found.attempts[-1].answer) == ("closed system", "interrupted")
        assert (found.interrupted, whole.interrupted, found.best) == (True, False, None)
        assert repr(found) == "ReductionReport(three: no reduction, interrupted)"
        assert "interrupted" in str(found)
        with interrupt(implicit_flow, "conservation_laws"):
            assert look().attempts[-1].name == "implicit reduced flow"
        with interrupt(find, "close_words"):
            assert_goes_through(look)
        with interrupt(find, "close_words"), pytest.raises(KeyboardInterrupt):
            dln.reduce(arch, theta0)


class TestStudies:
    def test_completion_of_a_matrix(self):
        run = lambda steps: complete(
            entries(),
            1,
            learning_rate=0.1,
            discrepant_rate=0.1,
            scale=0.1,
            steps=steps,
            save_every=10,
            reference=np.ones((12, 12)),
        )
        whole, part = run(50), run(20)
        with interrupt(completion, "_advance", 3):
            found = run(50)
        assert (found.interrupted, whole.interrupted, found.converged) == (True, False, False)
        assert found.iterations.tolist() == [0, 10, 20]
        np.testing.assert_array_equal(found.loss, whole.loss[:3])
        assert whole.test_error is not None
        np.testing.assert_array_equal(found.test_error, whole.test_error[:3])
        np.testing.assert_array_equal(found.matrix(), part.matrix())
        seen = entries()
        error = found.entries(seen.rows, seen.columns) - seen.values
        np.testing.assert_allclose(0.5 * np.sum(error**2), found.loss[-1], rtol=1e-12)
        assert "20 iterations" in repr(found)
        assert "interrupted" in repr(found)
        assert "20, interrupted" in str(found)
        with interrupt(completion, "_advance", 3):
            assert_goes_through(lambda: run(50))
        with interrupt(completion, "_error", 3):
            assert run(50).iterations.tolist() == [0, 10]

    def test_finite_networks(self, monkeypatch):
        monkeypatch.setattr(simulator, "CHUNK_ENTRIES", 1)
        run = lambda: mean_field.simulate(CONFIG, 8, 3)
        with interrupt(simulator, "_train", 3):
            found = run()
        assert (found.seeds, found.interrupted) == (2, True)
        whole = run()
        assert not whole.interrupted
        np.testing.assert_array_equal(found.gen, whole.gen[:2])
        assert repr(found).endswith("2 seeds, interrupted)")
        for call in (1, 3):
            with interrupt(simulator, "_train", call):
                assert_goes_through(run)
        with interrupt(simulator, "_train"), pytest.raises(KeyboardInterrupt):
            run()

    def test_sweep_over_widths(self):
        run = lambda: mean_field.width_sweep(CONFIG, (0.5, 1.0, 2.0))
        # The second row of the third solution: the first two are whole.
        with interrupt(TimeStepping, "advance", 2 * CONFIG.T + 2):
            found = run()
        assert (found.values, found.labels, found.interrupted) == ((0.5, 1.0), ("0.5", "1"), True)
        whole = run()
        assert not whole.interrupted
        np.testing.assert_array_equal(found.curves(), whole.curves()[:2])
        assert repr(found) == "Sweep(width: 0.5, 1; interrupted)"
        assert "(interrupted)" in str(found)
        with interrupt(TimeStepping, "advance", 2 * CONFIG.T + 2):
            assert_goes_through(run)
        with interrupt(TimeStepping, "advance", 2), pytest.raises(KeyboardInterrupt):
            run()

    def test_one_solution(self):
        with interrupt(TimeStepping, "advance", 4):
            assert_goes_through(lambda: solving.solve(CONFIG))

    @pytest.mark.parametrize(
        ("run", "ways"),
        [
            (lambda: mean_field.width_transfer(CONFIG, (0.5, 1.0), factor=1.5), 2),
            (lambda: mean_field.depth_transfer(RESIDUAL, (1, 2), factor=1.5), 3),
        ],
    )
    def test_transfer_of_rates(self, run, ways):
        with interrupt(rates, "best_rate", ways + 2):
            found = run()
        whole = run()
        assert (len(found.values), found.interrupted, whole.interrupted) == (1, True, False)
        assert found.values == whole.values[:1]
        assert {name: row[0] for name, row in found.rates.items()} == {
            name: row[0] for name, row in whole.rates.items()
        }
        assert "(interrupted)" in str(found)
        assert repr(found).endswith("; interrupted)")
        with interrupt(rates, "best_rate", ways + 2):
            assert_goes_through(run)
        with interrupt(rates, "best_rate", 2), pytest.raises(KeyboardInterrupt):
            run()

    def test_a_best_rate_needs_its_whole_grid(self):
        with interrupt(TimeStepping, "advance", 3 * CONFIG.T + 2), pytest.raises(KeyboardInterrupt):
            mean_field.best_rate(CONFIG)

    def test_phase_transition(self):
        run = lambda: saddles.phase_transition(TARGET, 2, 0.8, (4, 8, 16), seeds=2)
        with interrupt(regimes, "_one", 6):
            found = run()
        whole = run()
        assert (found.widths.tolist(), found.interrupted, whole.interrupted) == ([4, 8], True, False)
        for name in ("minimum", "saddle", "predicted_minimum", "predicted_saddle"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[:2])
        assert "interrupted" in repr(found)
        assert "interrupted" in str(found)
        with interrupt(regimes, "_one", 6):
            assert_goes_through(run)
        with interrupt(regimes, "_one", 2), pytest.raises(KeyboardInterrupt):
            run()

    def test_greedy_path(self):
        run = lambda: saddles.greedy_low_rank(SQUARED, (2, 2), 2, eps=0.05)
        with interrupt(greedy, "_stationary", 2):
            found = run()
        whole = run()
        assert (found.stopped_by, found.interrupted, whole.interrupted) == ("interrupted", True, False)
        np.testing.assert_array_equal(found.z, whole.z[:2])
        assert "interrupted" in repr(found)
        assert "interrupted" in str(found)
        with interrupt(greedy, "_stationary", 2):
            assert_goes_through(run)

    def test_completion_study(self):
        path = saddles.greedy_low_rank(problem().loss, (3, 3), 2, k_max=1, eps=0.1)
        layers = random_layers(3)
        run = lambda: saddles.completion_study(problem(), layers, (0.3, 0.2, 0.1), greedy=path, time=1.0)
        with interrupt(saddle_completion, "follow_path", 3):
            found = run()
        whole = run()
        assert (found.alphas.tolist(), found.interrupted, whole.interrupted) == ([0.3, 0.2], True, False)
        np.testing.assert_array_equal(found.distances, whole.distances[:2])
        np.testing.assert_array_equal(found.recovery, whole.recovery[:2])
        assert repr(found) == "CompletionStudy(L = 2, 2 scales, interrupted)"
        assert "(interrupted)" in str(found)
        with interrupt(saddle_completion, "follow_path", 3):
            assert_goes_through(run)
        with interrupt(saddle_completion, "follow_path"), pytest.raises(KeyboardInterrupt):
            run()

    @pytest.mark.slow
    def test_companions(self, monkeypatch):
        theta0 = dln.lambda_balanced(RELAXED, jax.random.key(0), 0.7)
        both = fibre_companions(RELAXED, theta0, count=2)
        monkeypatch.setattr(companions, "fibre_companions", lambda *arguments, count, **options: both[:count])
        with interrupt(companions, "solve", 3):
            found = relaxed_gap(count=2)
        whole = relaxed_gap(count=2)
        assert (found.interrupted, whole.interrupted) == (True, False)
        assert (found.gaps, found.distances, found.spreads) == (
            whole.gaps[:1],
            whole.distances[:1],
            whole.spreads[:1],
        )
        assert "interrupted" in str(found)
        with interrupt(companions, "solve", 3):
            assert_goes_through(lambda: relaxed_gap(count=2))
        with interrupt(companions, "solve", 2), pytest.raises(KeyboardInterrupt):
            relaxed_gap()


class TestRuns:
    """What rests on `solve` and `iterate` passes on what they return, unless it needs the end of the run."""

    @pytest.fixture
    def stopped(self, monkeypatch):
        """A run that says that it was interrupted where the second save is."""

        def stop(owner, name, call=1):
            original, calls = getattr(owner, name), []

            def run(*arguments, **options):
                found = original(*arguments, **options)
                calls.append(name)
                if len(calls) < call:
                    return found
                if not _progress.keeps_partial():
                    raise KeyboardInterrupt
                cut = {key: getattr(found, key)[:2] for key in ("ts", "z", "loss")}
                stats = dataclasses.replace(found.stats, stopped_by=INTERRUPTED)
                states = {key: value[:2] for key, value in found.states.items()}
                return dataclasses.replace(found, **cut, states=states, stats=stats)

            monkeypatch.setattr(owner, name, run)

        return stop

    @pytest.mark.slow
    def test_alignment_flow(self, stopped):
        run = lambda **o: alignment.log_time_flow(SEPARABLE, HALF, 20.0, ts=5, method="tsit5", rtol=1e-5, **o)
        whole = run()
        stopped(alignment_flow, "solve")
        found = run()
        assert (found.interrupted, whole.interrupted) == (True, False)
        np.testing.assert_array_equal(found.predictors, whole.predictors[:2])
        assert "interrupted" in repr(found)
        assert "interrupted" in str(found)
        assert "interrupted" not in str(whole)
        stopped(risk_clock, "solve")
        with pytest.raises(KeyboardInterrupt):
            alignment.log_time_flow(SEPARABLE, HALF, 20.0, clock="risk", rtol=1e-5)

    def test_alignment_descent(self, stopped):
        run = lambda: alignment.gradient_descent(SEPARABLE, HALF, "sharper", 20, ts=5)
        whole = run()
        stopped(alignment_descent, "iterate")
        found = run()
        assert (found.interrupted, whole.interrupted) == (True, False)
        np.testing.assert_array_equal(found.log_risk, whole.log_risk[:2])
        assert "interrupted" in repr(found)
        assert "interrupted" in str(found)

    def test_path(self, stopped):
        run = lambda **o: saddles.follow_path(SQUARED, NETWORK, 0.1, 20.0, rtol=1e-4, **o)
        whole = run(ts=4)
        stopped(integration, "solve")
        found = run(ts=4)
        assert (found.interrupted, whole.interrupted) == (True, False)
        np.testing.assert_array_equal(found.z, whole.z[:2])
        assert "interrupted" in repr(found)
        assert "interrupted" in str(found)

    def test_path_while_its_times_are_placed(self, stopped, monkeypatch):
        monkeypatch.setattr(integration, "EXPLICIT_SAVES", 20)
        run = lambda: saddles.follow_path(SQUARED, NETWORK, 0.1, 20.0, rtol=1e-4, method="dopri8")
        stopped(integration, "solve", 2)
        found = run()
        assert found.interrupted
        assert (len(found.ts), found.ts[-1]) == (20, 20.0)

    @pytest.mark.slow
    def test_what_needs_the_end_of_its_runs(self, stopped):
        stopped(escape, "solve")
        with pytest.raises(KeyboardInterrupt):
            saddles.measured_half_time(TARGET, NETWORK, 0.1, rtol=1e-6)
        with pytest.raises(KeyboardInterrupt):
            saddles.escape_direction(TARGET, NETWORK)
        stopped(greedy, "solve", 2)
        found = saddles.greedy_low_rank(SQUARED, (2, 2), 2, eps=0.05)
        assert (found.interrupted, len(found.points)) == (True, 2)
        stopped(discriminant, "solve")
        with pytest.raises(KeyboardInterrupt):
            cost = saddles.DiscriminantCost(np.diag([1.0, 3.0]), np.eye(2))
            saddles.discriminant_flow(cost, saddles.balanced_entries([1.0, 0.5], 2), 1.0, rtol=1e-5)


def test_a_claim_is_not_judged_by_a_search_that_was_cut_short():
    """`solve` would return the rows that are done, and the check would compare those."""
    short = claim(lambda x: Evidence(1.0, 1.0 if len(mean_field.solve(CONFIG).gen) < CONFIG.T else x))
    with interrupt(TimeStepping, "advance", 3):
        report = run_claims([short, short])
    assert report.interrupted
    assert [str(result.verdict) for result in report.results] == ["skipped", "skipped"]
    assert run_claims([short]).passed == 1
