"""Signs of life of long work: bars and a line that counts seconds. They write to a terminal or a notebook, never to a file."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

#: Seconds after which work counts as long: what ends sooner shows nothing.
DELAY = 2.0


def is_wanted(progress: bool | None = None) -> bool:
    """Whether to show progress: as asked for or, for `None`, on a terminal and in a notebook.

    The environment variable `TQDM_DISABLE=1` turns the default off, for notebooks that are run without a reader.
    """
    if progress is not None:
        return progress
    if os.environ.get("TQDM_DISABLE", "").lower() not in ("", "0", "false"):
        return False
    return sys.stderr.isatty() or in_notebook()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    # IPython is only asked if somebody else has imported it.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def progress_bar(total: float | None, description: str, *, unit: str = "it", progress: bool | None = None) -> Any:
    """A tqdm bar, a context manager with `update(n)` and `set_postfix_str(text)`, that goes away when it is done.

    It appears after two seconds, in a notebook as a widget where ipywidgets is installed, and not at all where nobody
    looks; see `is_wanted`. With `progress=True` it appears at once.

    Args:
        total: number of units of the whole work; `None` if it is not known.
        description: what is being done, a few words.
        unit: what is counted.
        progress: show it; by default on a terminal and in a notebook.
    """
    if in_notebook() and importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        leave=False,
        delay=0.0 if progress else DELAY,
        disable=not is_wanted(progress),
        file=sys.stderr,
    )


@contextlib.contextmanager
def waiting(description: str, progress: bool | None = None) -> Iterator[None]:
    """A line that counts the seconds of work whose length nobody knows, from the second on, and goes away."""
    if not is_wanted(progress):
        yield
        return
    done, started, stream = threading.Event(), time.perf_counter(), sys.stderr
    shown = threading.Event()

    def show() -> None:
        done.wait(DELAY - 1.0)
        while not done.wait(1.0):
            seconds = int(time.perf_counter() - started)
            shown.set()
            print(f"\r{description}: {seconds} s", end="", file=stream, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if shown.is_set():
            print("\r" + " " * (len(description) + 12) + "\r", end="", file=stream, flush=True)
