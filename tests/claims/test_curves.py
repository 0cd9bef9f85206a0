import json
from types import SimpleNamespace

import numpy as np
import pytest

from dlntheory.claims import Curves, Evidence, claims, run_claims
from dlntheory.claims.curves import MAX_POINTS, error_over_time, power_law
from dlntheory.claims.showcase import MainJob
from dlntheory.display.text import json_text

LINE = {"measured": ([0.0, 1.0], [2.0, 3.0])}


class TestCurves:
    def test_series_are_plain_and_fixed(self):
        curves = Curves("x", "y", {"measured": (np.arange(2), np.array([2.0, 3.0], dtype=np.float32))})
        assert curves.series["measured"] == ((0.0, 1.0), (2.0, 3.0))
        assert {type(value) for values in curves.series["measured"] for value in values} == {float}
        with pytest.raises(TypeError):
            curves.series["other"] = ((), ())  # pyright: ignore[reportIndexIssue]

    def test_long_series_are_thinned_with_their_ends(self):
        xs = np.arange(12_345.0)
        found, ys = Curves("x", "y", {"measured": (xs, xs**2)}).series["measured"]
        assert len(found) == MAX_POINTS
        assert (found[0], found[-1]) == (0.0, 12_344.0)
        assert ys == tuple(x**2 for x in found)
        assert np.ptp(np.diff(found)) <= 1

    def test_values_without_place_are_kept(self):
        curves = Curves("x", "y", {"measured": ([1.0, 2.0], [0.0, np.nan])}, scale="log-y")
        document = json.loads(json_text(curves.to_dict()))
        assert document["series"]["measured"] == {"x": [1.0, 2.0], "y": [0.0, "nan"]}
        assert document["scale"] == "log-y"

    @pytest.mark.parametrize(
        ("error", "fields", "message"),
        [
            (ValueError, {"x": " "}, "`x` must be a non-empty text, but is ' '"),
            (ValueError, {"y": "costs 5 $"}, "`y` must have dollar signs in pairs"),
            (ValueError, {"note": None}, "`note` must be a non-empty text, but is None"),
            (ValueError, {"scale": "log"}, "must be one of linear, log-x, log-y, log-log, but is 'log'"),
            (ValueError, {"series": {}}, "1 to 8 series, but has 0"),
            (ValueError, {"series": dict.fromkeys("abcdefghi", LINE["measured"])}, "but has 9"),
            (ValueError, {"series": [LINE]}, "must be a dict of 1 to 8 series, but is"),
            (ValueError, {"series": {"": LINE["measured"]}}, "`series` must be a non-empty text"),
            (ValueError, {"series": {"a": ([1.0], [1.0, 2.0])}}, "as many xs as ys, .* 'a' has 1 and 2"),
            (ValueError, {"series": {"a": ([], np.zeros(0))}}, "one or more, but 'a' has 0 and 0"),
            (TypeError, {"series": {"a": 1.0}}, "must map 'a' to a pair"),
            (TypeError, {"series": {"a": ([1.0], [1.0], [1.0])}}, "must map 'a' to a pair"),
            (TypeError, {"series": {"a": ([1.0], [1j])}}, "real numbers, but 'a' has shape .* complex128"),
            (TypeError, {"series": {"a": ([1.0], [[1.0]])}}, r"'a' has shape \(1, 1\)"),
            (TypeError, {"series": {"a": (["1"], [1.0])}}, "real numbers"),
        ],
    )
    def test_refusals(self, error, fields, message):
        with pytest.raises(error, match=message):
            Curves(**{"x": "x", "y": "y", "series": LINE, **fields})


def test_error_over_time_is_what_is_judged():
    full = np.array([[[1.0, 0.0]], [[3.0, 4.0]]])
    reduced = full + np.array([[[0.0, 0.0]], [[0.3, 0.4]]])
    curves = error_over_time([0.0, 2.0], full, reduced)
    ((xs, ys),) = curves.series.values()
    assert xs == (2.0,)
    assert ys == pytest.approx((0.1,))
    assert curves.with_tolerance
    assert curves.scale == "log-y"
    # A control may differ from the start on; that error is shown.
    apart = error_over_time([0.0, 2.0], full, reduced + 1.0)
    assert next(iter(apart.series.values()))[0] == (0.0, 2.0)


def test_evidence_takes_only_curves():
    with pytest.raises(TypeError, match="`curves` must be `Curves` or None, but is 'loss'"):
        Evidence(0.0, 0.0, curves="loss")  # pyright: ignore[reportArgumentType]


def test_curves_are_in_the_json_of_claim_and_control(toys):
    def check(x):
        return Evidence(1.0, x, curves=Curves("x", "y", {"measured": ([x], [x])}))

    made = toys.make("toy-curves", check)
    entry, plain = run_claims([made, toys.passing]).to_dict()["claims"]
    assert entry["curves"]["series"] == {"measured": {"x": [1.0], "y": [1.0]}}
    assert entry["control"]["curves"]["series"] == {"measured": {"x": [2.0], "y": [2.0]}}
    assert plain["curves"] is None
    assert plain["control"]["curves"] is None


@pytest.mark.parametrize("run", ["arguments", "control_arguments"])
def test_curves_against_the_tolerance_show_what_is_judged(run):
    closure, edge = (
        claims(claim=name)[0] for name in ("parsimony-general-closure", "stability-edge-of-descent")
    )
    evidence = closure.check(**getattr(closure, run))
    assert evidence.curves is not None
    assert evidence.curves.with_tolerance
    assert max(evidence.curves.series["measured"][1]) == evidence.error
    evidence = edge.check(**getattr(edge, run))
    assert evidence.curves is not None
    assert evidence.curves.with_tolerance
    assert evidence.curves.series["measured"][1][-1] == evidence.error


def test_main_job_shows_losses_and_errors_of_both_starts():
    def run(scale):
        full, reduced = SimpleNamespace(ts=np.arange(3.0), loss=scale * np.ones(3)), np.zeros(3)
        return SimpleNamespace(
            full=full, reduced=SimpleNamespace(loss=reduced), error=scale * np.array([0.0, 1e-3, 2e-3])
        )

    losses, errors = MainJob(run(1.0), run(2.0), {}).figures()  # pyright: ignore[reportArgumentType]
    assert list(losses) == list(errors)
    balanced, gaussian = losses.values()
    assert balanced.series["full flow"] == ((0.0, 1.0, 2.0), (1.0, 1.0, 1.0))
    assert gaussian.series["full flow"][1] == (2.0, 2.0, 2.0)
    assert balanced.series["reduced flow"][1] == (0.0, 0.0, 0.0)
    assert next(iter(errors.values())).series["error of the reduced flow"] == ((1.0, 2.0), (1e-3, 2e-3))


def test_a_power_law_has_its_exponent_and_meets_the_last_point():
    xs, guide = power_law([1.0, 2.0, 8.0], [7.0, 9.0, 3.0], 1.5)
    np.testing.assert_array_equal(xs, [1.0, 2.0, 8.0])
    assert guide[-1] == 3.0
    np.testing.assert_allclose(np.diff(np.log(guide)) / np.diff(np.log(xs)), 1.5, rtol=1e-14)
