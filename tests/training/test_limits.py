"""Limits of a domain, with a dynamics that only keeps one monitor: refusal at the start, stop, warning, kept rows."""

import numpy as np
import pytest

from dlntheory._errors import ConditionError
from dlntheory.training.backends.diffrax_backend import RawRun
from dlntheory.training.base import Limit
from dlntheory.training.domain_limits import LimitReached, check_limits, limit_events

LIMIT = Limit("height", warn_below=1e-3, stop_below=1e-8, advice="Use another one.")


class Falling:
    """The monitor is the state."""

    label = "falling"

    def __init__(self, *limits):
        self.bounds = limits

    def limits(self):
        return self.bounds

    def monitors(self, state):
        return {"height": state["x"]}


def run(heights, last=None, event=None, failure=None):
    heights = np.asarray(heights)
    final = heights[-1] if last is None else np.asarray(last)
    rows = {"z": 10 * heights, "monitors": {"height": heights}}
    row = {"state": {"x": final}, "z": 10 * final, "monitors": {"height": final}}
    return RawRun(np.arange(len(heights)) * 0.5, rows, 99.0, row, {"steps": 1}, failure, event, "m", False)


def test_a_start_below_the_level_is_refused_with_its_number():
    assert limit_events(Falling(), {"x": 0.0}) == ()
    (event,) = limit_events(Falling(LIMIT), {"x": 2e-8})
    assert isinstance(event, LimitReached)
    assert event.label == "height fell to 1e-08"
    assert event.value(Falling(LIMIT), 0.0, {"x": 3e-8}) == pytest.approx(2e-8)
    for height in (1e-8, 5e-9, np.nan):
        with pytest.raises(
            ConditionError, match="height above 1e-08 for falling.* Use another one"
        ) as caught:
            limit_events(Falling(LIMIT), {"x": height})
        assert caught.value.measured == pytest.approx(height, nan_ok=True)
        assert caught.value.tolerance == 1e-8


def test_a_run_far_from_its_limit_is_left_alone():
    raw = run([1.0, 0.5, 2e-3])
    assert check_limits(Falling(LIMIT), raw, 0) == (raw, None)
    assert check_limits(Falling(), run([1.0, 0.0]), 0)[1] is None


@pytest.mark.parametrize("heights", [[1.0, 9e-4, 1.0], [1.0, np.inf, 9e-4]])
def test_coming_near_is_a_warning(heights):
    kept, warning = check_limits(Falling(LIMIT), run(heights), 0)
    assert kept.failure is None
    assert kept.final_t == 99.0
    assert warning == "height fell to 9.0e-04, below 0.001: Use another one."
    # The end of the run need not be a save.
    assert "2.0e-04" in check_limits(Falling(LIMIT), run([1.0, 0.5], last=2e-4), 0)[1]


def test_falling_below_cuts_the_run_at_the_first_such_save():
    for lowest in (1e-8, 1e-9, -1.0):
        kept, warning = check_limits(Falling(LIMIT), run([1.0, 0.5, lowest, 0.5, lowest]), 0)
        assert kept.ts.tolist() == [0.0, 0.5, 1.0]
        assert kept.rows["z"].tolist() == [10.0, 5.0, 10 * lowest]
        assert kept.final_t == 1.0
        assert kept.final_row["z"] == 10 * lowest
        assert kept.final_row["state"] == {}
        assert kept.failure == "height fell towards 1e-08: Use another one."
        assert "below 0.001" in warning
    # Saves that were not reached do not count.
    padded = run([1.0, 0.5, 0.0])
    padded.ts[2] = np.inf
    assert check_limits(Falling(LIMIT), padded, 0)[0].failure is None


def test_events_of_the_limits_come_after_those_of_the_user():
    kept, _ = check_limits(Falling(LIMIT), run([1.0, 0.5], last=1.1e-8, event=2), 2)
    assert (kept.event, kept.failure) == (None, "height fell towards 1e-08: Use another one.")
    assert kept.ts.tolist() == [0.0, 0.5]
    other, _ = check_limits(Falling(LIMIT), run([1.0, 0.5], event=1), 2)
    assert (other.event, other.failure) == (1, None)


def test_a_run_that_fails_near_its_limit_says_both():
    kept, _ = check_limits(Falling(LIMIT), run([1.0, 0.5], last=1e-4, failure="Too many steps."), 0)
    assert kept.failure == "Too many steps. height fell towards 1e-08: Use another one."
    far, _ = check_limits(Falling(LIMIT), run([1.0, 0.5], last=0.5, failure="Too many steps."), 0)
    assert far.failure == "Too many steps."
