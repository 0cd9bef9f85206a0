"""`dlntheory reduce` through `main`: what `dlntheory.reduce` finds, at the start that is asked for."""

import json

import jax
import pytest

import dlntheory as dln
from dlntheory.cli import main


def called(capsys, *argv):
    status = main(list(argv))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_it_finds_what_the_function_finds(capsys):
    arch = dln.linear_network((3, 2, 4))
    starts = {
        "balanced": dln.balanced(arch, jax.random.key(3)),
        "lambda=0.5": dln.lambda_balanced(arch, jax.random.key(3), 0.5),
        "gaussian": dln.gaussian(arch, jax.random.key(3)),
    }
    labels = set()
    for start, theta0 in starts.items():
        status, out, _ = called(
            capsys, "reduce", "linear", "3", "2", "4", "--start", start, "--seed", "3", "--json"
        )
        document = json.loads(out)
        assert status == 0
        assert document["found"] == dln.reduce(arch, theta0).label
        assert document["parameters"] == 14
        assert document["attempts"]
        labels.add(document["found"])
    assert len(labels) > 1, "the start decides"


def test_table_and_equation(capsys):
    status, out, _ = called(capsys, "reduce", "linear", "2", "3", "2", "--start", "balanced", "--latex")
    assert status == 0
    assert "Arora, Cohen, Hazan 2018, Theorem 1" in out
    assert r"\dot" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start", "zero"], "must be one of gaussian, balanced, orthogonal or lambda=VALUE, but is 'zero'"),
        (["--start", "lambda=x"], "lambda=VALUE such as lambda=0.5"),
        (["--scale", "-1"], "`scale`"),
        (["--time-limit", "0"], "`--time-limit` must be a positive number"),
    ],
)
def test_wrong_calls(capsys, arguments, message):
    status, out, err = called(capsys, "reduce", "linear", "2", "3", "2", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
