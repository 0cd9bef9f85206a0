"""Waiting for a long search: an interrupt when its time is over."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
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
