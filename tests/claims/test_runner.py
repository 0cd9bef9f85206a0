import json
import math

import jax
import pytest

from dlntheory._errors import PrecisionError
from dlntheory.claims import ClaimStatus, Result, SelectionError, run_claims, verify
from dlntheory.claims.results import is_within
from dlntheory.display.text import json_text

KEYS_OF_A_CLAIM = {
    "id",
    "paper",
    "statement",
    "predicted",
    "measured",
    "error",
    "tolerance",
    "passed",
    "control",
}


def only(report):
    (result,) = report.results
    return result


class TestVerdict:
    @pytest.mark.parametrize(
        ("name", "verdict", "message"),
        [
            ("passing", "passed", ""),
            ("failing", "failed", "not within the tolerance"),
            ("failing_twice", "failed", "the control is within it"),
            ("vacuous", "vacuous", "control passes too (the number is two)"),
            ("raising", "failed", "the check raised ZeroDivisionError: no inverse at 1.0"),
            (
                "raising_control",
                "failed",
                "the control (it must come out false by its number) raised ZeroDiv",
            ),
            ("wrong_type", "failed", "must return `Evidence`, but returned bool"),
            ("nan", "failed", "not within the tolerance"),
            ("nan_control", "failed", "the error of the control is nan, so that it proves nothing"),
            ("infinite", "failed", "not within the tolerance"),
            ("infinite_control", "failed", "the error of the control is inf, so that it proves nothing"),
        ],
    )
    def test_framework_decides(self, toys, name, verdict, message):
        report = run_claims([getattr(toys, name)])
        result = only(report)
        assert result.verdict == verdict
        assert message in result.message
        assert bool(result.message) == (verdict != "passed")
        assert report.ok == (verdict == "passed")
        assert getattr(report, verdict) == 1
        assert only(report).to_dict()["passed"] is (verdict == "passed")

    def test_tolerance_itself_is_within(self, toys):
        assert is_within(1e-9, 1e-9)
        assert not is_within(math.nextafter(1e-9, 1.0), 1e-9)
        exact = toys.make("toy-boundary", tolerance=0.5, arguments={"x": 1.5}, control_arguments={"x": 1.75})
        assert only(run_claims([exact])).verdict is ClaimStatus.PASSED

    def test_both_runs_are_kept(self, toys):
        result = only(run_claims([toys.passing]))
        assert (result.evidence.error, result.control.error) == (0.0, 1.0)
        assert result.control_passed is False
        assert only(run_claims([toys.raising_control])).evidence.error == 0.0
        assert "ZeroDivisionError" in only(run_claims([toys.raising])).trace

    def test_a_failing_claim_leaves_the_others_alone(self, toys):
        report = run_claims([toys.raising, toys.passing, toys.vacuous, toys.slow])
        assert [str(result.verdict) for result in report.results] == [
            "failed",
            "passed",
            "vacuous",
            "skipped",
        ]
        assert (report.passed, report.failed, report.vacuous, report.skipped) == (1, 1, 1, 1)


class TestSelection:
    def test_tier(self, toys, set_papers):
        set_papers(basics=[toys.passing], closure=[toys.slow])
        assert [str(result.verdict) for result in verify().results] == ["passed", "skipped"]
        assert [str(result.verdict) for result in verify(full=True).results] == ["passed", "passed"]
        assert only(verify("closure")).verdict is ClaimStatus.SKIPPED
        assert only(verify(claim="toy-slow")).verdict is ClaimStatus.PASSED

    def test_unknown_claim(self, toys, set_papers):
        set_papers(basics=[toys.passing])
        with pytest.raises(SelectionError, match="toy-passing"):
            verify(claim="toy-pasing")

    def test_float32_is_refused(self, toys):
        jax.config.update("jax_enable_x64", False)
        try:
            with pytest.raises(PrecisionError, match="`verify` needs float64"):
                run_claims([toys.passing])
        finally:
            jax.config.update("jax_enable_x64", True)


class TestInterruption:
    @pytest.mark.parametrize("name", ["interrupting", "interrupting_control"])
    def test_finished_claims_are_kept(self, toys, name):
        report = run_claims([toys.passing, getattr(toys, name), toys.failing])
        assert [str(result.verdict) for result in report.results] == ["passed", "skipped", "skipped"]
        assert report.interrupted
        assert not report.ok
        assert (report.passed, report.failed, report.vacuous, report.skipped) == (1, 0, 0, 2)
        assert "interrupted" in str(report)
        assert report.results[2].evidence is None

    def test_between_two_claims(self, toys, monkeypatch):
        from dlntheory.claims import runner

        run = runner._run

        def run_then_stop(one):
            if one is toys.failing:
                raise KeyboardInterrupt
            return run(one)

        monkeypatch.setattr(runner, "_run", run_then_stop)
        report = run_claims([toys.passing, toys.failing, toys.vacuous])
        assert [str(result.verdict) for result in report.results] == ["passed", "skipped", "skipped"]


class TestReport:
    def test_text(self, toys):
        long = toys.make("toy-" + "x" * 36, summary="y" * 110, control="z" * 300, arguments={"x": 1.5})
        vacuous = toys.vacuous
        text = str(run_claims([toys.passing, long, vacuous, toys.raising, toys.nan, toys.slow]))
        lines = text.splitlines()
        assert max(map(len, lines)) <= 120
        assert lines[0].split() == [
            "claim",
            "predicted",
            "measured",
            "error",
            "tolerance",
            "control",
            "seconds",
            "verdict",
        ]
        row = next(line for line in lines if line.strip().startswith("toy-passing"))
        assert row.split()[:7] == ["toy-passing", "1", "1", "0", "1e-9", "1", "h"]
        assert row.index("passed") == lines[0].index("verdict")
        assert sum(line.startswith("basics: ") for line in lines) == 1
        assert sum(line.startswith("closure: ") for line in lines) == 1
        assert "no inverse at 1.0" in text
        assert lines[-1].startswith("6 claims: 1 passed, 3 failed, 1 vacuous, 1 skipped; ")

    def test_long_texts_are_cut_in_the_table_and_given_below(self, toys, monkeypatch):
        from dlntheory.claims import Evidence

        def verbose(x):
            return Evidence("rank six at every generic point", "rank six at 20 points")

        text = str(run_claims([toys.make("toy-verbose", verbose)]))
        assert "rank six at e…" in text
        assert "predicted rank six at every generic point; measured rank six at 20 points" in text

    def test_empty(self):
        report = run_claims([])
        assert str(report).endswith("0 claims: 0 passed, 0 failed, 0 vacuous, 0 skipped; 0.0 s")

    def test_html_is_escaped(self, toys):
        evil = toys.make("toy-evil", summary="<script>alert(1)</script> & more")
        page = run_claims([evil])._repr_html_()
        assert "<script>" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page

    def test_json_schema(self, toys):
        names = ["passing", "failing", "vacuous", "raising", "nan", "infinite_control", "slow"]
        report = run_claims([getattr(toys, name) for name in names])

        def refuse(literal):
            raise AssertionError(f"{literal} is not JSON")

        document = json.loads(json_text(report.to_dict()), parse_constant=refuse)
        assert {"claims", "passed", "failed", "vacuous", "skipped", "versions"} <= set(document)
        assert [document[key] for key in ("passed", "failed", "vacuous", "skipped")] == [1, 4, 1, 1]
        for entry in document["claims"]:
            assert set(entry) >= KEYS_OF_A_CLAIM | {"seconds"}
            assert isinstance(entry["passed"], bool)
            assert set(entry["control"]) >= {"error", "passed"}
            assert isinstance(entry["seconds"], float)
        by_id = {entry["id"]: entry for entry in document["claims"]}
        passing = by_id["toy-passing"]
        assert (passing["predicted"], passing["measured"], passing["error"]) == (1.0, 1.0, 0.0)
        assert (passing["control"]["error"], passing["control"]["passed"]) == (1.0, False)
        vacuous = by_id["toy-vacuous"]
        assert (vacuous["passed"], vacuous["error"], vacuous["control"]["passed"]) == (False, 0.0, True)
        assert by_id["toy-nan"]["error"] == "nan"
        assert by_id["toy-infinite-control"]["control"]["error"] == "inf"
        assert by_id["toy-slow"]["error"] is by_id["toy-slow"]["control"]["passed"] is None
        assert "ZeroDivisionError" in by_id["toy-raising"]["traceback"]

    def test_versions_say_what_computed(self, toys):
        found = run_claims([toys.passing]).versions
        assert found["float64"] is True
        assert found["jax"] == jax.__version__
        assert found["backend"] == jax.default_backend()


class TestLines:
    def test_each_result_is_told_as_soon_as_it_ends(self, toys):
        told = []
        report = run_claims([toys.passing, toys.vacuous, toys.raising, toys.slow], on_result=told.append)
        assert tuple(told) == report.results

    def test_a_line_has_all_that_decides(self, toys):
        prediction = toys.make("toy-prediction", breaks="prediction")
        report = run_claims([prediction, toys.vacuous])
        first, second = (result.line() for result in report.results)
        assert first.split()[:5] == ["toy-prediction", "0", "1e-9", "1", "prediction"]
        assert first.split()[-1] == "passed"
        assert second.splitlines()[1].strip() == "the control passes too (the number is two)"
        assert len(Result.heading().split()) == 7
        assert first.index("passed") == Result.heading().index("verdict")
        assert "1 controls break a hypothesis, 1 a prediction" in report.summary()


class TestProgress:
    def test_goes_to_stderr_when_wanted(self, toys, capsys):
        run_claims([toys.passing], progress=True)
        streams = capsys.readouterr()
        assert "verify" in streams.err
        assert not streams.out

    def test_is_off_without_a_terminal(self, toys, capsys):
        run_claims([toys.passing])
        assert capsys.readouterr() == ("", "")
