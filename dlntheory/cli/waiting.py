"""Waiting for a long search: a line that counts the seconds, and an interrupt when its time is over."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator

# A search looks at the clock between its stages; this many seconds later it is interrupted within one.
GRACE = 1.0


@contextlib.contextmanager
def interrupt_after(seconds: float | None, late: threading.Event) -> Iterator[None]:
    """Interrupt the main thread, as Ctrl-C does, some time after the search should have ended by itself."""
    if seconds is None:
        yield
        return

    done = threading.Event()

    def stop() -> None:
        late.set()
        # Again until it is heard: an interrupt that falls into a callback of C code is swallowed there.
        while not done.is_set():
            _thread.interrupt_main()
            done.wait(2.0)

    # A shell that starts the command in the background has it ignore SIGINT, by which the interrupt comes.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(seconds + GRACE, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        done.set()
        timer.cancel()
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """A line on a terminal's stderr that counts the seconds, and goes away."""
    if not sys.stderr.isatty():
        yield
        return
    done, started, stream = threading.Event(), time.perf_counter(), sys.stderr

    def show() -> None:
        while not done.wait(1.0):
            seconds = int(time.perf_counter() - started)
            print(f"\r\033[K{what}: {seconds} s", end="", file=stream, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        print("\r\033[K", end="", file=stream, flush=True)
