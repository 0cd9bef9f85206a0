import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import jax
import pytest

from dlntheory import _version
from dlntheory.claims import PAPERS, Evidence, claim
from dlntheory.cli import main


def distance_to_one(x):
    print("a check that prints")
    return Evidence(1.0, x)


def interrupts(x):
    raise KeyboardInterrupt


def make(id, paper="basics", check=distance_to_one, **fields):
    defaults = {
        "statement": "$x = 1$",
        "source": "Theorem 1",
        "tolerance": 1e-9,
        "arguments": {"x": 1.0},
        "control_arguments": {"x": 2.0},
        "control": "x is two",
    }
    check.__doc__ = f"Summary of {id}."
    return claim(id=id, paper=paper, **{**defaults, **fields})(check)


class MainJob:
    def __str__(self):
        return "digits: full against reduced"

    def to_dict(self):
        return {"speedup": 2.0}


def main_job():
    print("a main job that prints")
    return MainJob()


def broken_main_job():
    raise RuntimeError("no digits today")


@pytest.fixture
def package(monkeypatch):
    """Two papers with toy claims instead of those of the package, and a main job that does nothing."""

    def add(name, **attributes):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, loader=None)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    for paper in PAPERS.values():
        monkeypatch.setitem(sys.modules, paper.module, None)
    add("dlntheory.claims.basics", a=make("cli-one"), b=make("cli-slow", tier="full"))
    add("dlntheory.claims.closure", a=make("cli-two", "closure"))
    add("dlntheory.claims.showcase", main_job=main_job)
    return add


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = main(list(arguments))
        streams = capsys.readouterr()
        return status, streams.out, streams.err

    return run


class TestVerify:
    def test_all(self, package, run):
        status, out, _ = run("verify")
        assert status == 0
        assert out.index("digits: full against reduced") < out.index("cli-one") < out.index("cli-two")
        assert "3 claims: 2 passed, 0 failed, 0 vacuous, 1 skipped" in out

    def test_selection(self, package, run):
        status, out, _ = run("verify", "--paper", "closure")
        assert status == 0
        assert "cli-two" in out
        assert "cli-one" not in out
        assert "digits" not in out
        status, out, _ = run("verify", "--claim", "cli-slow")
        assert status == 0
        assert "1 claim: 1 passed" in out
        assert "digits" not in out
        _, out, _ = run("verify", "--paper", "basics", "--full")
        assert "digits" in out
        assert "2 claims: 2 passed" in out

    @pytest.mark.parametrize(
        "bad",
        [
            {"arguments": {"x": 1.5}},
            {"control_arguments": {"x": 1.0 + 1e-12}},
            {"arguments": {"x": float("nan")}},
            {"check": interrupts},
        ],
        ids=["failed", "vacuous", "nan", "interrupted"],
    )
    def test_exit_status_tells(self, package, run, bad, request):
        name = f"cli-bad-{request.node.callspec.id}"
        package("dlntheory.claims.closure", a=make(name, "closure", **bad))
        for arguments in (["verify"], ["verify", "--json"], ["verify", "--claim", name]):
            status, out, _ = run(*arguments)
            assert status == (130 if "check" in bad else 1)
            assert name in out

    def test_json_is_one_document_and_nothing_else(self, package, run):
        status, out, err = run("verify", "--json")
        document = json.loads(out)
        assert status == 0
        assert [entry["id"] for entry in document["claims"]] == ["cli-one", "cli-slow", "cli-two"]
        assert document["main_job"] == {"speedup": 2.0}
        assert "a check that prints" in err
        assert "a main job that prints" in err
        assert "main_job" not in json.loads(run("verify", "--json", "--paper", "closure")[1])

    def test_main_job_that_fails(self, package, run):
        package("dlntheory.claims.showcase", main_job=broken_main_job)
        status, out, err = run("verify")
        assert status == 1
        assert "the main job failed with RuntimeError: no digits today" in err
        assert "2 passed" in out
        status, out, _ = run("verify", "--json")
        assert status == 1
        assert json.loads(out)["main_job"] == {"error": "RuntimeError: no digits today"}
        assert run("verify", "--paper", "closure")[0] == 0

    def test_main_job_that_is_interrupted(self, package, run):
        package("dlntheory.claims.showcase", main_job=lambda: interrupts(1))
        status, out, err = run("verify")
        assert (status, out, err) == (130, "", "dlntheory verify: interrupted\n")

    def test_list(self, package, run):
        status, out, _ = run("verify", "--list")
        assert status == 0
        assert out.splitlines()[0].split() == ["claim", "paper", "tier", "summary", "source"]
        assert [line.split()[:3] for line in out.splitlines()[2:]] == [
            ["cli-one", "basics", "quick"],
            ["cli-slow", "basics", "full"],
            ["cli-two", "closure", "quick"],
        ]
        assert "a check that prints" not in out
        entries = json.loads(run("verify", "--list", "--json", "--paper", "closure")[1])
        assert [(entry["id"], entry["source"], entry["tier"]) for entry in entries] == [
            ("cli-two", "Theorem 1", "quick")
        ]

    def test_report(self, package, run, tmp_path):
        status, out, _ = run("verify", "--report", str(tmp_path / "report"))
        assert status == 0
        page = tmp_path / "report" / "index.html"
        assert str(page) in out
        assert "digits: full against reduced" in page.read_text(encoding="utf-8")
        status, out, _ = run("verify", "--json", "--report", str(tmp_path / "report"))
        saved = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
        assert set(saved) == set(json.loads(out))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--paper", "bascis"], "Did you mean 'basics'"),
            (["--paper", "exact"], "(basics, closure), but 'exact' has no claims"),
            (["--claim", "cli-tow"], "Did you mean 'cli-two'"),
            (["--paper", "closure", "--claim", "cli-one"], "claim of paper 'closure'"),
            (["--ful"], "unrecognized arguments: --ful"),
            (["--paper"], "expected one argument"),
        ],
    )
    def test_wrong_call(self, package, run, arguments, message):
        status, out, err = run("verify", *arguments)
        assert status == 2
        assert out == ""
        assert message in err
        assert err.count("\n") == 1

    def test_each_claim_is_told_as_it_ends(self, package, run, monkeypatch):
        from dlntheory.claims import runner

        seen, evaluate = [], runner._run

        def recorded(one):
            seen.append(sys.stdout.getvalue())  # pyright: ignore[reportAttributeAccessIssue]
            return evaluate(one)

        monkeypatch.setattr(runner, "_run", recorded)
        _, out, _ = run("verify")
        assert "cli-one" not in seen[0]
        assert "cli-one" in seen[1]
        assert out.count("cli-one") == 1
        assert out.strip().splitlines()[-1].startswith("3 claims: 2 passed")

    def test_a_report_that_cannot_be_written_loses_no_result(self, package, run, tmp_path, monkeypatch):
        from dlntheory.report import writing

        def full_disk(path, text):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writing, "write_text", full_disk)
        status, out, err = run("verify", "--json", "--report", str(tmp_path))
        assert status == 1
        assert json.loads(out)["passed"] == 2
        assert "No space left on device" in err
        status, out, err = run("verify", "--report", str(tmp_path))
        assert status == 1
        assert "2 passed" in out
        assert err.count("\n") == 1

    def test_report_folder_is_refused_before_anything_runs(self, package, run, tmp_path):
        (tmp_path / "file").write_text("")
        status, out, err = run("verify", "--report", str(tmp_path / "file"))
        assert (status, out) == (2, "")
        assert "must be a folder" in err
        assert err.count("\n") == 1

    def test_sets_float64(self, package, run):
        jax.config.update("jax_enable_x64", False)
        try:
            status, _, _ = run("verify", "--claim", "cli-one")
            assert status == 0
            assert jax.config.jax_enable_x64
        finally:
            jax.config.update("jax_enable_x64", True)


class TestRest:
    def test_version(self, run):
        assert run("--version") == (0, f"dlntheory {_version.__version__}\n", "")

    def test_help_names_the_commands(self, run):
        status, out, _ = run("--help")
        assert status == 0
        assert "verify" in out
        assert "versions" in out

    @pytest.mark.parametrize("arguments", [[], ["verfy"], ["versions", "--paper", "basics"]])
    def test_wrong_command(self, run, arguments):
        status, out, err = run(*arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)

    def test_versions(self, run):
        status, out, _ = run("versions")
        assert status == 0
        found = dict(line.split(maxsplit=1) for line in out.splitlines())
        assert found["jax"] == jax.__version__
        assert found["float64"] == "yes"

    def test_reader_that_goes_away(self):
        process = subprocess.Popen(
            [sys.executable, "-m", "dlntheory", "versions"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == 141
        assert process.stderr is not None
        with process.stderr as stream:
            assert stream.read() == ""

    def test_as_a_module_in_a_fresh_process(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_ENABLE")}
        done = subprocess.run(
            [sys.executable, "-m", "dlntheory", "versions", "--json"],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        found = json.loads(done.stdout)
        assert found["float64"] is True
        assert found["dlntheory"] == _version.__version__
