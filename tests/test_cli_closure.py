"""`dlntheory closure` through `main`: families, users' functions and models, written source, wrong calls."""

import json
import subprocess
import sys

import pytest

from dlntheory.cli import main

MODEL = """
import jax.numpy as jnp

def phi(p):
    return p["U"] @ p["V"].T

def net(p, x):
    return p["B"] @ (p["A"] @ x)

def three(p):
    return p["C"] @ p["B"] @ p["A"]

def wild(p):
    return jnp.tanh(p["U"])
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    return "model.py"


def called(capsys, *argv):
    status = main(list(argv))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_json_has_verdict_and_equations(capsys, model):
    status, out, _ = called(capsys, "closure", f"{model}:phi", "--shapes", "U=3x2", "V=2x2", "--json")
    document = json.loads(out)
    assert status == 0
    assert document["status"] == "closed"
    assert document["verdict"]["answer"] == "intrinsic on level sets"
    assert [one["is"] for one in document["observables"]] == ["U V^T", "U U^T", "V V^T"]
    assert document["equations"][0] == "Z' = -(G B + A G)"
    assert document["ranks"]["z"] == 6
    assert document["parameters"] == 10
    assert r"\dot{Z}" in document["latex"]


@pytest.mark.slow
def test_family_prints_a_table(capsys):
    status, out, _ = called(capsys, "closure", "linear", "3", "50", "4", "--no-verdict", "--latex")
    assert status == 0
    assert "350 parameters -> 37 numbers" in out
    assert "not decided" in out
    assert r"\begin{aligned}" in out


def test_model_of_a_sample_is_read(capsys, model):
    arguments = ("closure", f"{model}:net", "--shapes", "A=4x2", "B=3x4", "--input", "2", "--no-verdict")
    status, out, _ = called(capsys, *arguments)
    assert status == 0
    assert "B A" in out


@pytest.mark.slow
def test_written_source_runs_without_dlntheory(capsys, model):
    arguments = (
        "closure",
        f"{model}:phi",
        "--shapes",
        "U=3x2",
        "V=2x2",
        "--no-verdict",
        "--python",
        "closed.py",
    )
    status, out, _ = called(capsys, *arguments)
    assert status == 0
    assert "written: closed.py" in out
    code = (
        "import sys, jax; jax.config.update('jax_enable_x64', True); sys.modules['dlntheory'] = None\n"
        "import jax.numpy as jnp, closed\n"
        "u, v = jnp.arange(6.0).reshape(3, 2) / 7, jnp.arange(4.0).reshape(2, 2) / 5\n"
        "f = lambda z: jnp.sum((z - 1) ** 4)\n"
        "y = closed.initial({'U': u, 'V': v})\n"
        "dz = closed.output(closed.velocity(0.0, y, jax.grad(f)))\n"
        "p = {'U': u, 'V': v}; phi = lambda p: p['U'] @ p['V'].T\n"
        "g = jax.grad(lambda p: f(phi(p)))(p)\n"
        "full = -jax.jvp(phi, (p,), (g,))[1]\n"
        "assert float(jnp.max(jnp.abs(dz - full))) < 1e-13, (dz, full)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_open_search_is_labelled_and_writes_nothing(capsys, model, tmp_path):
    arguments = (
        "closure",
        f"{model}:three",
        "--shapes",
        "C=2x3",
        "B=3x3",
        "A=3x2",
        "--no-verdict",
        "--time-limit",
        "5",
    )
    status, out, _ = called(capsys, *arguments)
    assert status == 0
    assert "open" in out
    status, _, err = called(capsys, *arguments, "--python", "closed.py")
    assert status == 2
    assert "must wait for closed equations" in err
    assert not (tmp_path / "closed.py").exists()


def test_a_file_that_cannot_be_written_is_found_before_the_search(capsys, model, tmp_path):
    (tmp_path / "folder.py").mkdir()
    for name in ("folder.py", "missing/closed.py"):
        arguments = (
            "closure",
            f"{model}:phi",
            "--shapes",
            "U=3x2",
            "V=2x2",
            "--no-verdict",
            "--python",
            name,
        )
        status, out, err = called(capsys, *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "`--python` must name a file that can be written" in err


def test_a_full_disk_loses_no_result(capsys, model, monkeypatch):
    from dlntheory.cli import closure

    def full_disk(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(closure, "write_text", full_disk)
    arguments = (
        "closure",
        f"{model}:phi",
        "--shapes",
        "U=3x2",
        "V=2x2",
        "--no-verdict",
        "--python",
        "closed.py",
    )
    status, out, err = called(capsys, *arguments)
    assert status == 2
    assert "Z' = -(G B + A G)" in out
    assert "No space left on device" in err


def test_assumed_balance_closes_three_layers(capsys, model):
    arguments = ("closure", f"{model}:three", "--shapes", "C=2x3", "B=3x3", "A=3x2", "--no-verdict")
    status, out, _ = called(capsys, *arguments, "--balanced", "2=0.5", "--json")
    document = json.loads(out)
    assert status == 0
    assert document["status"] == "closed"
    assert len(document["observables"]) == 4
    assert document["verdict"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("linear", "2", "3", "2", "--time-limit", "-1"), "`--time-limit` must be a positive number"),
        (("linear", "2", "3", "2", "--balanced", "two"), "`--balanced` must be LAYER=LAMBDA"),
        (("linear", "2", "3", "2", "--python", "out.txt"), "`--python` must name a .py file"),
        (("linear", "2", "3", "2", "--input", "3"), "`--input` must go with FILE.py:FUNCTION"),
        (("model.py:wild", "--shapes", "U=2x2"), "tanh"),
        (("model.py:net", "--shapes", "A=4x2", "B=3x4", "--input", "two"), "`--input` must be a shape"),
        (("nothing", "2"), "must be a family or FILE.py:FUNCTION"),
    ],
)
def test_wrong_calls_end_in_one_line(capsys, model, arguments, words):
    status, _, err = called(capsys, "closure", *arguments, "--no-verdict")
    assert status == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
