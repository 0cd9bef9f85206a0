"""`dlntheory laws` through `main`: the documented calls, users' functions, wrong calls, searches that end early."""

import json
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from dlntheory.cli import main
from dlntheory.families import FAMILIES
from dlntheory.laws import conservation
from dlntheory.laws.search import strategies as find

KEYS = {
    "parameters",
    "laws",
    "lower",
    "upper",
    "status",
    "lie_rank",
    "expressions",
    "matrices",
    "seconds",
}

MODEL = """
import jax, jax.numpy as jnp
from dlntheory import linear_network
from beside import factor

print("a model that prints")

def phi(p):
    return factor * (p["U"] @ p["V"].T)

def heads(p):
    return jnp.einsum("hdk,hek->hde", p["Q"], p["K"])

def mapped(p):
    return jax.vmap(lambda u, v: jnp.outer(u, v).reshape(-1))(p["A"], p["B"])

def scaled(p):
    return p["g"] * p["u"]

def spare(p):
    return p["U"] @ p["V"].T + 0.0 * jnp.sum(p["W"])

def wild(p):
    x = 2.0 * p["U"]
    return jnp.tanh(x)

def misfit(p):
    return p["U"] @ p["V"]

def lossy(p):
    return p["U"].astype(jnp.float32)

def irrational(p):
    return jnp.sqrt(2.0) * p["U"]

network = linear_network((2, 3, 2))
number = 3
"""


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = main(["laws", *map(str, arguments)])
        streams = capsys.readouterr()
        return status, streams.out, streams.err

    return run


@pytest.fixture
def model(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "beside.py").write_text("factor = 0.5\n")
    (tmp_path / "broken.py").write_text("import json\n\nraise RuntimeError('not today')\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(7)\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(run, *arguments):
    status, out, err = run(*arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


class TestFamilies:
    @pytest.mark.parametrize(
        ("call", "laws", "parameters", "matrices"),
        [
            ("linear 2 4 3", 10, 20, ["W2^T W2 - W1 W1^T"]),
            ("relu 7 9 2 --bias", 9, 90, []),
            ("linear 3 4 2 --momentum 0", 6, 20, ["W2^T W2' - W2'^T W2 + W1 W1'^T - W1' W1^T"]),
            ("linear 3 4 2 --momentum 1/2", 6, 20, ["s (W2^T W2' - W2'^T W2 + W1 W1'^T - W1' W1^T)"]),
            ("linear 2 2 2 --momentum 3/t", 1, 8, ["s^3 (W2^T W2' - W2'^T W2 + W1 W1'^T - W1' W1^T)"]),
            ("nmf 3 4 2", 4, 20, []),
            ("nmf 3 4 2 --momentum 0", 0, 20, []),
            ("nmf 3 4 2 --metric U=euclidean V=euclidean", 10, 20, ["U^T U - V V^T"]),
            ("icnn 3 4 2", 4, 20, []),
            ("icnn 3 4 2 --bias --momentum 1", 0, 24, []),
            ("attention 2 2", 6, 16, ["Q1^T Q1 - K1^T K1", "V1^T V1 - O1 O1^T"]),
            ("tied 2 2 --degree 3 --time-limit 60", 0, 4, []),
        ],
    )
    def test_documents(self, run, call, laws, parameters, matrices):
        document = found(run, *call.split())
        assert set(document) >= KEYS
        assert document["status"] == "complete"
        assert document["laws"] == document["lower"] == document["upper"] == laws
        assert document["parameters"] == parameters
        assert sorted(document["matrices"]) == sorted(matrices)
        assert document["lie_rank"] == document["coordinates"] - laws == max(document["rank_by_depth"])
        assert len(document["expressions"]) >= laws
        assert document["seconds"] > 0

    def test_expressions(self, run):
        (expression,) = found(run, "linear", 1, 1, 1)["expressions"]
        assert expression in ("-W1[1,1]^2 + W2[1,1]^2", "W1[1,1]^2 - W2[1,1]^2")

    def test_gap_is_reported(self, run):
        document = found(run, "linear", 1, 2, 2, 1)
        assert (document["status"], document["laws"], document["upper"]) == ("saturated", 6, 7)
        status, out, _ = run("linear", 1, 2, 2, 1)
        assert status == 0
        assert "saturated: at least 6, at most 7 independent laws (proved)" in out
        assert "1 law not among those found or given" in out
        assert "none missing" not in out

    def test_table(self, run):
        status, out, err = run("linear", 2, 4, 3, "--latex")
        lines = out.splitlines()
        facts = {line[:14].strip(): line[14:].strip() for line in lines[: lines.index("")]}
        assert (status, err) == (0, "")
        assert facts["network"] == "linear 2-4-3, gradient flow"
        assert facts["parameters"] == "20"
        assert facts["status"] == "complete: exactly 10 independent laws; none missing (proved)"
        assert facts["laws found"] == "10 independent"
        assert facts["bounds"] == "10 <= N <= 10"
        assert facts["bracket rank"] == "10 of 20, by depth 6, 10"
        assert float(facts["seconds"]) >= 0
        assert "law 1: W2^T W2 - W1 W1^T" in lines
        assert "       matrix, 10 entries of rank 10, identity in Q[theta]" in lines
        assert r"W_{2}^\top W_{2} - W_{1} W_{1}^\top &= \text{const}" in out

    def test_sizes_may_stand_behind_options(self, run):
        for arguments in (
            ["--bias", "linear", 2, 2, 1],
            ["linear", "--bias", 2, 2, 1],
            ["linear", 2, "--bias", 2, 1],
        ):
            assert found(run, *arguments)["network"] == "linear 2-2-1 with biases"

    def test_list_and_help(self, run):
        status, out, _ = run("--list")
        assert status == 0
        assert [line.split()[0] for line in out.splitlines()[2:]] == list(FAMILIES)
        records = {record["family"]: record for record in json.loads(run("--list", "--json")[1])}
        assert set(records) == set(FAMILIES)
        assert records["nmf"]["metric"] == {"U": "theta", "V": "theta"}
        assert records["linear"]["bias"]
        assert not records["diagonal"]["bias"]
        status, out, _ = run("--help")
        assert status == 0
        assert all(family.usage in out for family in FAMILIES.values())


class TestFunctions:
    @pytest.mark.parametrize(
        ("call", "laws", "first"),
        [
            ("model.py:phi --shapes U=4x2 V=3x2", 3, "U^T U - V^T V"),
            ("model.py:heads --shapes Q=2x3x2 K=2x3x2", 6, None),
            ("model.py:mapped --shapes A=2x3 B=2x2", 2, "diag(A A^T) - diag(B B^T)"),
            ("model.py:scaled --shapes g=scalar u=3", 1, None),
            ("model.py:network", 6, "W2^T W2 - W1 W1^T"),
        ],
    )
    def test_documents(self, run, model, call, laws, first):
        status, out, err = run(*call.split(), "--json")
        document = json.loads(out)
        assert (status, err) == (0, "a model that prints\n")
        assert (document["status"], document["laws"]) == ("complete", laws)
        if first:
            assert document["found"][0]["law"] == first
        status, out, _ = run(*call.split())
        assert status == 0
        assert f"exactly {laws} independent law" in out

    def test_absolute_path_and_momentum(self, run, model):
        document = json.loads(
            run(f"{model / 'model.py'}:phi", "--shapes", "U=2x2", "V=1x2", "--momentum", "0", "--json")[1]
        )
        assert document["system"] == "momentum flow, friction 0"
        assert (document["status"], document["laws"]) == ("complete", 1)

    def test_parameters_that_do_nothing(self, run, model):
        _, out, _ = run("model.py:spare", "--shapes", "U=2x1", "V=2x1", "W=2")
        assert "never moved   W[1], W[2]" in out
        assert "exactly 3 independent laws" in out

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (
                "model.py:wild --shapes U=2x2",
                r"uses `tanh` on parameters at .*model\.py:25:\d+ \(wild\)\. Hint",
            ),
            (
                "model.py:misfit --shapes U=2x2 V=3x2",
                r"U\[2, 2\], V\[3, 2\], but model\.py:misfit raises TypeError.*\(line 28\)",
            ),
            ("model.py:phi --shapes U=2x2", r"raises KeyError: 'V' \(line 9\)"),
            ("model.py:lossy --shapes U=2", "`phi` must keep the precision .* but returns float32"),
            (
                "model.py:irrational --shapes U=2",
                "fractions with denominators up to 1000000, but holds 1.414",
            ),
            ("model.py:phi --shapes U=0x2 V=3x2", r"`shapes\['U'\]` must be a tuple of positive integers"),
            ("model.py:phi --shapes U=4y2", "`--shapes` must be NAME=SHAPE such as U=4x2, .* but is 'U=4y2'"),
            ("model.py:phi --shapes U=4 U=2", "`--shapes` must name each factor once, but names 'U' twice"),
            ("model.py:phi", "`--shapes` must be given for model.py:phi"),
            ("model.py:network --shapes U=2", "`--shapes` must not be given for the architecture"),
            ("model.py:phi 3 --shapes U=2", "`SIZE` must go with a family, but is given for model.py:phi"),
            ("model.py:phi --bias --shapes U=2", "`--bias` must go with a family"),
            ("model.py:ph", "'ph' does not exist; model.py has phi, heads, mapped,"),
            ("model.py:number", "'number' is not callable"),
            ("model.py", "'FUNCTION' is missing"),
            ("empty.py:phi", "'phi' does not exist; empty.py has no function"),
            ("nowhere.py:phi", "must name a Python file, but 'nowhere.py' is none"),
            ("notes.txt:phi", "must name a Python file, but 'notes.txt' is none"),
            (
                "broken.py:phi",
                r"that can be imported, but broken\.py raises RuntimeError: not today \(line 3\)",
            ),
            ("leaving.py:phi", r"leaving\.py raises SystemExit: 7 \(line 1\)"),
        ],
    )
    def test_wrong_calls(self, run, model, call, message):
        for arguments in (call.split(), [*call.split(), "--json"]):
            status, out, err = run(*arguments)
            assert status == 2
            last = err.removeprefix("a model that prints\n")
            assert "dlntheory laws: error: Argument `" in last
            assert last.count("\n") == 1
            assert re.search(message, last), last
            assert out in ("", "a model that prints\n")


class TestWrongCalls:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            ("", "`TARGET` must be a family or FILE.py:FUNCTION, but is missing"),
            ("liner 2 3", "but is 'liner'. Did you mean 'linear'? Families: adapter, attention, "),
            ("xyz 2 3", "but is 'xyz'. Families: adapter, attention, "),
            (
                "linear 2 0 3",
                "`widths` must be at least two positive integers, input width first, but is (2, 0, 3), with 0 at ",
            ),
            ("linear 2 -3 2", "with -3 at position 1"),
            ("linear 2 x 3", "`SIZE` must be an integer, but is 'x' at position 1"),
            ("linear 2 2.5", "`SIZE` must be an integer, but is '2.5' at position 1"),
            ("linear", "`sizes` of linear must be at least 2 integers"),
            ("nmf 3 3", "`sizes` of nmf must be 3 integers (rows, rank, columns), but is [3, 3]"),
            ("residual 2 2 --bias", "`bias` must not be set for residual"),
            ("linear 2 3 --shapes U=2", "`--shapes` must go with FILE.py:FUNCTION, but is given for linear"),
            (
                "linear 2 3 --momentum x",
                "`--momentum` must be a friction of at least 0, such as 0, 1/2, 0.9 or 3/t, but is 'x'",
            ),
            ("linear 2 3 --momentum -1", "but is '-1'"),
            ("linear 2 3 --momentum 1/0", "but is '1/0'"),
            ("linear 2 3 --metric W1", "`--metric` must be NAME=KIND such as U=theta, but is 'W1'"),
            ("linear 2 3 --metric W9=theta", "`--metric` must name factors of ['W1'], but names 'W9'"),
            ("linear 2 3 --metric W1=thet", "`metric['W1']` must be one of ('theta',), but is 'thet'"),
            ("linear 2 3 --metric W1=mirror", "`metric['W1']` must be one of ('theta',), but is 'mirror'"),
            ("linear 2 3 --degree 0", "`degree` must be a positive integer, but is 0"),
            ("linear 9 9 9 9 --degree 4", "`degree` must be such that the search has at most"),
            ("linear 2 3 --time-limit 0", "`--time-limit` must be a positive number of seconds, but is 0"),
            ("linear 2 3 --time-limit nan", "but is nan"),
        ],
    )
    def test_one_line_names_argument_rule_and_value(self, run, call, message):
        status, out, err = run(*call.split())
        assert (status, out) == (2, "")
        assert err.startswith("dlntheory laws: error: Argument `")
        assert message in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize("call", ["linear 2 3 --degree x", "linear 2 3 --fast", "linear 2 3 --json=1"])
    def test_argparse(self, run, call):
        status, out, err = run(*call.split())
        assert (status, out, err.count("\n")) == (2, "", 1)


def looping_stage(monkeypatch, interrupt_after=None):
    """The search after the brackets never ends, and is perhaps interrupted."""
    entered = threading.Event()

    def quadratic_laws(*arguments, **options):
        entered.set()
        while True:
            time.sleep(0.01)
            if interrupt_after is not None:
                raise KeyboardInterrupt

    monkeypatch.setattr(find, "quadratic_laws", quadratic_laws)
    return entered


class TestSearchesThatEndEarly:
    def test_interrupt_leaves_the_bounds(self, run, monkeypatch):
        entered = looping_stage(monkeypatch, interrupt_after=0)
        status, out, err = run("linear", 1, 2, 2, 1, "--json")
        document = json.loads(out)
        assert entered.is_set()
        assert status == 130
        assert (document["lower"], document["upper"], document["laws"]) == (6, 7, 6)
        assert document["status"] in ("open", "saturated")
        assert "interrupted" in document["searched"]
        assert err == "dlntheory laws: interrupted; the bounds above hold all the same\n"

    @pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
    def test_time_limit_interrupts_a_long_stage(self, run, monkeypatch, handler, request):
        # A job in the background of a shell starts with SIGINT ignored.
        before = signal.signal(signal.SIGINT, handler)
        request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
        monkeypatch.setattr("dlntheory.cli.waiting.GRACE", 0.2)
        entered = looping_stage(monkeypatch)
        begun = time.perf_counter()
        status, out, err = run("linear", 1, 2, 2, 1, "--time-limit", 2, "--json")
        document = json.loads(out)
        assert entered.is_set()
        assert (status, err) == (0, "")
        assert time.perf_counter() - begun < 10
        assert (document["lower"], document["upper"]) == (6, 7)
        assert document["searched"] == ["Gram ansatz", "time limit"]

    @pytest.mark.parametrize("momentum", [None, "0"])
    def test_before_anything_is_known(self, run, monkeypatch, momentum):
        def interrupted(*arguments, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr(conservation, "conservation_laws", interrupted)
        options = [] if momentum is None else ["--momentum", momentum]
        status, out, err = run("linear", 2, 3, 2, *options, "--json")
        document = json.loads(out)
        top = 12 if momentum is None else 25
        assert status == 130
        assert (document["status"], document["lower"], document["upper"]) == ("open", 0, top)
        assert (document["expressions"], document["matrices"], document["lie_rank"]) == ([], [], 0)
        assert set(document) >= KEYS
        assert "interrupted" in err
        status, out, _ = run("linear", 2, 3, 2, *options)
        assert status == 130
        assert f"open: between 0 and {top} independent laws (proved); the search ended: interrupted" in out

    def test_time_limit_before_anything_is_known(self, run, monkeypatch):
        monkeypatch.setattr("dlntheory.cli.waiting.GRACE", 0.0)

        def endless(*arguments, **options):
            while True:
                time.sleep(0.01)

        monkeypatch.setattr(conservation, "conservation_laws", endless)
        status, out, err = run("linear", 2, 3, 2, "--time-limit", 0.1)
        assert (status, err) == (0, "")
        assert "the search ended: time limit" in out


def test_in_a_fresh_process():
    done = subprocess.run(
        [sys.executable, "-m", "dlntheory", "laws", "linear", "2", "4", "3", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout)
    assert (document["laws"], document["status"], done.stderr) == (10, "complete", "")
