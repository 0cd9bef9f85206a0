"""Signs of life of long work: bars and a line that counts seconds, on a terminal or in a notebook, never in a file."""

from __future__ import annotations

import contextlib
import contextvars
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")

#: Seconds after which work counts as long: what ends sooner shows nothing.
DELAY = 2.0

# Bars and lines share the last row of the terminal, and lines are written by threads of their own.
_lock = threading.Lock()
_bars: list[Any] = []
_lines: list[Any] = []

_keeps_partial = contextvars.ContextVar("keeps_partial", default=True)


def is_wanted(progress: bool | None = None) -> bool:
    """Whether to show progress: as asked for or, for `None`, on a terminal and in a notebook.

    The environment variable `TQDM_DISABLE=1` turns the default off, for notebooks that are run without a reader.
    """
    if progress is not None:
        return progress
    if os.environ.get("TQDM_DISABLE", "").lower() not in ("", "0", "false"):
        return False
    # Without a console (pythonw, some services) there is no stderr at all.
    return (sys.stderr is not None and sys.stderr.isatty()) or in_notebook()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    # IPython is only asked if somebody else has imported it. Hosted notebooks subclass the shell.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__)


class ProgressBar:
    """A context manager around a tqdm bar that is made when it is first drawn, so that short work costs nothing."""

    def __init__(self, total: float | None, description: str, unit: str, progress: bool | None):
        self._is_wanted = is_wanted(progress)
        self._delay = 0.0 if progress else DELAY
        self._started = time.time()
        self._done: float = 0
        self._postfix = ""
        self._bar: Any = None
        self._arguments = {"total": total, "desc": description, "unit": unit}
        if isinstance(total, float):
            # Without it fractions are printed with all their digits.
            self._arguments["bar_format"] = (
                "{desc}: {percentage:3.0f}%|{bar}| {n:.4g}/{total:.4g} {unit} [{elapsed}<{remaining}{postfix}]"
            )
        if self._is_wanted and progress:
            self._draw()

    def update(self, n: float = 1) -> None:
        """Count `n` more units as done; draws the bar if it is time."""
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
        elif self._is_wanted and time.time() - self._started >= self._delay:
            self._draw()

    def set_postfix_str(self, text: str) -> None:
        """A few words behind the bar, drawn with the next update."""
        self._postfix = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar away while somebody prints on the same terminal, and draw it again below."""
        if self._bar is None:
            yield
            return
        self._bar.clear()
        try:
            yield
        finally:
            self._bar.refresh()

    def close(self) -> None:
        """Take the bar away."""
        self._is_wanted = False
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            with _lock:
                _bars.remove(self)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _draw(self) -> None:
        if in_notebook() and importlib.util.find_spec("ipywidgets"):
            from tqdm.notebook import tqdm
        else:
            # Not `tqdm.auto`, which warns in a notebook without ipywidgets.
            from tqdm import tqdm
        with _lock:
            _bars.append(self)
            if _lines:
                _blank(_lines[-1])
        # The delay keeps it from drawing an empty bar before it knows what is done.
        self._bar = tqdm(**self._arguments, leave=False, disable=False, file=sys.stderr, delay=1e-9)
        # The bar counts from the beginning of the work, not from when it was first drawn.
        self._bar.start_t, self._bar.n, self._bar.last_print_n = self._started, self._done, self._done
        self._bar.set_postfix_str(self._postfix, refresh=False)
        self._bar.refresh()


def progress_bar(
    total: float | None, description: str, *, unit: str = "it", progress: bool | None = None
) -> ProgressBar:
    """A bar, a context manager with `update(n)` and `set_postfix_str(text)`, that goes away when it is done.

    It appears with the first update after two seconds, in a notebook as a widget where ipywidgets is installed, and
    not at all where nobody looks; see `is_wanted`. With `progress=True` it appears at once.

    Args:
        total: number of units of the whole work; `None` if it is not known.
        description: what is being done, a few words.
        unit: what is counted.
        progress: show it; by default on a terminal and in a notebook.
    """
    return ProgressBar(total, description, unit, progress)


@contextlib.contextmanager
def waiting(description: str, progress: bool | None = None) -> Iterator[None]:
    """A line that counts the seconds of work whose length nobody knows, from the second on, and goes away.

    Inside another one it takes its place, and while a bar is shown it is silent.
    """
    if not is_wanted(progress):
        yield
        return
    line = _Line(description, sys.stderr)
    done, started = threading.Event(), time.perf_counter()

    def show() -> None:
        done.wait(DELAY - 1.0)
        while not done.wait(1.0):
            line.write(int(time.perf_counter() - started))

    thread = threading.Thread(target=show, daemon=True)
    with _lock:
        if _lines:
            _blank(_lines[-1])
        _lines.append(line)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with _lock:
            _blank(line)
            _lines.remove(line)


class _Line:
    """The line of `waiting`: written by its thread, wiped by whoever needs the place."""

    def __init__(self, description: str, stream: Any):
        self.description, self.stream, self.width = description, stream, 0

    def write(self, seconds: int) -> None:
        with _lock:
            if not _bars and _lines[-1:] == [self]:
                text = f"{self.description}: {seconds} s"
                print(f"\r{text}", end="", file=self.stream, flush=True)
                self.width = len(text)


def _blank(line: Any) -> None:
    # Called under the lock.
    if line.width:
        print("\r" + " " * line.width + "\r", end="", file=line.stream, flush=True)
        line.width = 0


@contextlib.contextmanager
def whole_runs() -> Iterator[None]:
    """Within it Ctrl-C ends a run with `KeyboardInterrupt`, instead of with what is done; a decorator as well.

    For code that takes the end of a run for the end that it asked for.
    """
    token = _keeps_partial.set(False)
    try:
        yield
    finally:
        _keeps_partial.reset(token)


def keeps_partial() -> bool:
    """Whether a run that is interrupted returns what is done; see `whole_runs`."""
    return _keeps_partial.get()


def collect(
    function: Callable[[Item], Found],
    items: Iterable[Item],
    description: str,
    *,
    unit: str = "it",
    progress: bool | None = None,
    size: Callable[[Item], float] | None = None,
) -> tuple[list[Found], bool]:
    """`function` of every item, with a bar, and whether Ctrl-C ended it; before the first result it propagates.

    Args:
        function: what to do with an item; a run inside that is interrupted does not return its first part.
        items: the work, finite.
        description: what is being done, a few words.
        unit: what is counted.
        progress: as in `progress_bar`.
        size: how much each item counts in the bar, 1 by default.
    """
    work = list(items)
    sizes = [1] * len(work) if size is None else [size(item) for item in work]
    done: list[Found] = []
    with progress_bar(sum(sizes), description, unit=unit, progress=progress) as bar:
        for item, step in zip(work, sizes, strict=True):
            try:
                with whole_runs():
                    done.append(function(item))
            except KeyboardInterrupt:
                if not (done and keeps_partial()):
                    raise
                return done, True
            bar.update(step)
    return done, False


class interruptible:
    """A context in which Ctrl-C ends a loop with what is done: `.interrupted` says whether it did.

    It raises as usual before anything is done, and within `whole_runs`. Whatever the loop has done must be replaced as
    a whole after each of its turns, so that an interrupt finds no half of one.

    Args:
        has_results: whether anything is done that is worth keeping.

    Example:
        >>> squares = []
        >>> with interruptible(lambda: bool(squares)) as work:
        ...     for number in range(3):
        ...         squares.append(number**2)
        >>> squares, work.interrupted
        ([0, 1, 4], False)
    """

    def __init__(self, has_results: Callable[[], bool]):
        self.has_results = has_results
        self.interrupted = False

    def __enter__(self) -> interruptible:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            return False
        self.interrupted = self.has_results() and keeps_partial()
        return self.interrupted
