"""`Deadline`: when a search has to end, and whether what comes next would end in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

#: Seconds that do not count: steps that are shorter are always taken.
SHORT = 0.2


class OutOfTimeError(Exception):
    """A part of a search was given up for lack of time; whoever began it says so in its result."""


class Deadline:
    """The end of a search, `None` for no limit.

    Long loops ask `is_over` between their steps; a step that cannot be stopped asks `is_within` first, with a rough
    estimate of its duration.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float | None):
        self._end = math.inf if seconds is None else time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, infinity without a limit."""
        return max(0.0, self._end - time.perf_counter())

    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.perf_counter() > self._end

    def is_within(self, seconds: float) -> bool:
        """Whether something that takes about so long is over in time."""
        return seconds <= self.left

    def asked_if_long(self, seconds: float) -> Callable[[], bool]:
        """`is_over` for something that takes about so long, or a function that says no if that is next to nothing.

        So small problems are solved whole, however short the time, and their results do not depend on it.
        """
        return self.is_over if seconds > SHORT else lambda: False

    def check(self, seconds: float = 0.0) -> None:
        """Give up where the time is up, or where a step of so many seconds would not end in time.

        Raises:
            OutOfTimeError: as said.
        """
        if self._end < math.inf and (self.is_over() or not self.is_within(seconds)):
            raise OutOfTimeError


#: No limit.
UNLIMITED = Deadline(None)
