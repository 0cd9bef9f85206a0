"""Chunks of an anchored run, with a back end and a dynamics that only keep books."""

import dataclasses
import itertools

import numpy as np
import pytest

from dlntheory._errors import IntegrationError
from dlntheory.training.backends.diffrax_backend import RawRun
from dlntheory.training.backends.rebased import Rebasing, run_rebased


class Books:
    """Anchored wherever a chunk is at most `reach` long; refuses states from `wall` on. The state is the time."""

    label = "books"

    def __init__(self, reach=np.inf, wall=np.inf):
        self.reach, self.wall, self.chunks, self.anchor = reach, wall, [], 0.0

    def rebased(self, state):
        t = float(state["t"])
        failure = f"a wall at {self.wall:g}" if t >= self.wall else None
        accurate = t - self.anchor <= self.reach and failure is None
        if accurate:
            self.anchor = t
        return Rebasing(self, state, accurate, failure)

    def run(self, dynamics, state, times, begin):
        assert dynamics is self
        assert float(state["t"]) == begin == times[0]
        self.chunks.append(tuple(times))
        rows = {"z": np.array(times), "state": {"t": np.array(times)}}
        final = {"z": times[1], "state": {"t": np.array(times[1])}}
        return RawRun(
            np.array(times),
            rows,
            times[1],
            final,
            {"steps accepted": 3, "steps rejected": 1},
            None,
            None,
            "m",
            False,
        )


def run(books, ts, t0=0.0, max_steps=1000):
    return run_rebased(books.run, books, {"t": np.array(t0)}, np.asarray(ts), t0, max_steps=max_steps)


def test_one_chunk_from_save_to_save():
    books = Books()
    raw = run(books, [0.0, 0.5, 2.0])
    assert books.chunks == [(0.0, 0.5), (0.5, 2.0)]
    assert raw.ts.tolist() == raw.rows["z"].tolist() == [0.0, 0.5, 2.0]
    assert raw.counts == {"steps accepted": 6, "steps rejected": 2, "chunks": 2}
    assert raw.failure is None
    assert raw.final_t == 2.0


def test_a_start_that_is_no_save_leaves_no_row():
    raw = run(Books(), [0.5, 2.0])
    assert raw.ts.tolist() == [0.5, 2.0]


def test_chunks_are_halved_and_grow_again():
    books = Books(reach=0.3)
    raw = run(books, [0.0, 1.0, 1.2])
    assert raw.ts.tolist() == raw.rows["z"].tolist() == [0.0, 1.0, 1.2]
    assert books.chunks[:3] == [(0.0, 1.0), (0.0, 0.5), (0.0, 0.25)]
    kept = [(a, b) for a, b in books.chunks if b - a <= 0.3]
    assert kept[0][0] == 0.0
    assert kept[-1][1] == 1.2
    assert all(left[1] == right[0] for left, right in itertools.pairwise(kept))


def test_what_was_reached_before_a_wall_is_kept():
    books = Books(wall=0.7)
    raw = run(books, [0.0, 0.5, 1.0])
    assert raw.failure == "a wall at 0.7"
    assert raw.ts.tolist() == [0.0, 0.5]
    assert 0.7 <= raw.final_t < 0.701
    with pytest.raises(IntegrationError, match=r"books cannot start at t = 0\.8: a wall at 0\.7"):
        run(Books(wall=0.7), [0.8, 1.0], t0=0.8)


def test_the_bound_on_steps_is_for_all_chunks_together():
    raw = run(Books(), np.linspace(0, 1, 11), max_steps=16)
    assert raw.failure == "The maximum number of solver steps was reached."
    assert raw.ts.tolist() == [0.0, 0.1, 0.2, pytest.approx(0.3)]


def test_saves_at_the_start_only_are_refused():
    with pytest.raises(ValueError, match="must reach beyond the start"):
        run(Books(), [0.0])


@pytest.mark.parametrize("how", ["raised", "returned"])
def test_an_interrupt_keeps_the_whole_chunks(how):
    class Impatient(Books):
        def run(self, dynamics, state, times, begin):
            if begin < 0.5:
                return super().run(dynamics, state, times, begin)
            if how == "raised":
                raise KeyboardInterrupt
            half = 0.5 * (times[0] + times[1])
            raw = super().run(dynamics, state, np.array([times[0], half]), begin)
            return dataclasses.replace(raw, interrupted=True)

    raw = run(Impatient(), [0.0, 0.25, 0.5, 0.75, 1.0])
    assert raw.interrupted
    assert raw.failure is None
    assert raw.ts.tolist() == raw.rows["z"].tolist() == [0.0, 0.25, 0.5]
    assert raw.final_t == raw.final_row["state"]["t"] == 0.5
    with pytest.raises(KeyboardInterrupt):
        run(Impatient(), [0.5, 0.75], t0=0.5)
