"""Bars and waiting lines: who sees them and when, what they leave behind, how they share a terminal."""

import io
import sys
import threading
import time
import types

import pytest

from dlntheory.display import progress as _progress
from dlntheory.display.progress import (
    in_notebook,
    is_wanted,
    keeps_partial,
    progress_bar,
    waiting,
    whole_runs,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def stderr_is(monkeypatch, stream):
    # For the module alone: pytest exchanges the one of the process as it likes.
    monkeypatch.setattr(_progress, "sys", types.SimpleNamespace(stderr=stream, modules=sys.modules))
    return stream


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return stderr_is(monkeypatch, Terminal())


@pytest.fixture
def soon(monkeypatch):
    """What counts as long work is over at once."""
    monkeypatch.setattr(_progress, "DELAY", 0.0)


def fake_notebook(monkeypatch, *bases):
    shell = type("ZMQInteractiveShell", bases, {})()
    module = types.ModuleType("IPython")
    monkeypatch.setattr(module, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", module)
    return shell


def last_row(text):
    """What a terminal shows after this text in its last row."""
    cells = []
    for piece in text.split("\r"):
        cells[: len(piece)] = piece
    return "".join(cells).rstrip()


def test_shown_on_a_terminal_only(terminal, monkeypatch):
    assert is_wanted()
    stderr_is(monkeypatch, io.StringIO())
    assert not is_wanted()
    assert is_wanted(True)
    stderr_is(monkeypatch, None)
    assert not is_wanted(), "a program without a console has no stderr"


@pytest.mark.parametrize(
    ("value", "shown"), [("1", False), ("true", False), ("0", True), ("", True), ("False", True)]
)
def test_the_environment_turns_the_default_off(terminal, monkeypatch, value, shown):
    monkeypatch.setenv("TQDM_DISABLE", value)
    assert is_wanted() is shown
    assert is_wanted(True)


def test_a_notebook_is_known_by_its_shell(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    stderr_is(monkeypatch, io.StringIO())
    assert not in_notebook()
    shell = fake_notebook(monkeypatch)
    assert in_notebook()
    assert is_wanted()
    hosted = type("Shell", (type(shell),), {})()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: hosted)
    assert in_notebook(), "hosted notebooks subclass the shell"
    for other in (None, type("TerminalInteractiveShell", (), {})()):
        monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda other=other: other)
        assert not in_notebook()


def test_a_notebook_without_widgets_has_a_text_bar_and_no_warning(terminal, monkeypatch):
    fake_notebook(monkeypatch)
    find = _progress.importlib.util.find_spec
    monkeypatch.setattr(
        _progress.importlib.util, "find_spec", lambda name: None if name == "ipywidgets" else find(name)
    )
    # Warnings are errors here, and tqdm warns where it misses its widgets.
    with progress_bar(4, "counting", progress=True):
        assert last_row(terminal.getvalue()).startswith("counting:   0%")


def test_a_bar_counts_and_goes_away(terminal, soon):
    with progress_bar(3, "counting", unit="step") as bar:
        bar.set_postfix_str("loss 1")
        for _ in range(3):
            bar.update()
        assert last_row(terminal.getvalue()).startswith("counting: ")
        assert "loss 1" in terminal.getvalue()
    assert "step/s" in terminal.getvalue()
    assert last_row(terminal.getvalue()) == ""


def test_a_bar_of_fractions_has_few_digits(terminal, soon):
    with progress_bar(1.0, "flow", unit="t") as bar:
        bar.update(1 / 3)
        bar.set_postfix_str("loss 0.5")
        bar.update(0.0)
    assert "flow:  33%|" in terminal.getvalue()
    assert "| 0.3333/1 t [" in terminal.getvalue()


def test_short_work_shows_nothing_and_draws_no_bar(terminal, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)  # an import would raise
    with progress_bar(3, "counting") as bar:
        bar.update(3)
    with waiting("searching"):
        pass
    assert terminal.getvalue() == ""
    stream = stderr_is(monkeypatch, io.StringIO())
    monkeypatch.setattr(_progress, "DELAY", 0.0)
    with progress_bar(3, "counting") as bar:
        bar.update(3)
    with progress_bar(3, "counting", progress=False) as bar:
        bar.update(3)
    assert stream.getvalue() == ""


def test_a_bar_that_comes_late_counts_from_the_beginning(terminal, monkeypatch):
    monkeypatch.setattr(_progress, "DELAY", 0.2)
    with progress_bar(10, "counting") as bar:
        bar.update(2)
        assert terminal.getvalue() == ""
        time.sleep(0.25)
        bar.update(3)
        assert "| 5/10 [" in terminal.getvalue()
        assert " 0%|" not in terminal.getvalue()
        assert bar._bar.format_dict["elapsed"] >= 0.2


def test_asked_for_it_shows_at_once_and_anywhere(monkeypatch):
    stream = stderr_is(monkeypatch, io.StringIO())
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with progress_bar(3, "counting", progress=True):
        assert "counting:   0%" in stream.getvalue()


def seconds_pass(monkeypatch, count=1):
    """Let the threads of `waiting` see so many seconds at once, then none; returns what tells that they have."""
    told = threading.Event()

    class Clock(threading.Event):
        left = count

        def wait(self, timeout=None):
            if self.left:
                type(self).left -= 1
                return self.is_set()
            told.set()
            return super().wait(30.0)

    threads = types.SimpleNamespace(Event=Clock, Thread=threading.Thread)
    monkeypatch.setattr(_progress, "threading", threads)
    return told


def test_waiting_counts_seconds_and_clears_its_line(terminal, monkeypatch):
    told = seconds_pass(monkeypatch, 2)
    with waiting("searching"):
        assert told.wait(10)
        assert last_row(terminal.getvalue()) == "searching: 0 s"
    assert last_row(terminal.getvalue()) == ""
    with pytest.raises(KeyboardInterrupt), waiting("searching"):
        raise KeyboardInterrupt
    assert last_row(terminal.getvalue()) == ""
    assert _progress._lines == []


def test_the_inner_line_takes_the_place_of_the_outer(terminal):
    with waiting("a long outer search"):
        outer = _progress._lines[-1]
        outer.write(3)
        with waiting("inner"):
            inner = _progress._lines[-1]
            outer.write(4)
            assert last_row(terminal.getvalue()) == ""
            inner.write(1)
            assert last_row(terminal.getvalue()) == "inner: 1 s"
        assert last_row(terminal.getvalue()) == ""
        outer.write(5)
        assert last_row(terminal.getvalue()) == "a long outer search: 5 s"
    assert last_row(terminal.getvalue()) == ""


def test_a_line_is_silent_while_a_bar_is_shown(terminal, soon):
    with waiting("searching"):
        line = _progress._lines[-1]
        line.write(3)
        with progress_bar(3, "counting") as bar:
            line.write(4)
            assert last_row(terminal.getvalue()) == "searching: 4 s", (
                "a bar that is not drawn yet hides nothing"
            )
            bar.update()
            assert last_row(terminal.getvalue()).startswith("counting:  33%")
            line.write(5)
            assert last_row(terminal.getvalue()).startswith("counting:  33%")
        line.write(6)
        assert last_row(terminal.getvalue()) == "searching: 6 s"
    assert last_row(terminal.getvalue()) == ""
    assert _progress._bars == []


def test_many_threads_leave_nothing_behind(terminal):
    def wait():
        for _ in range(20):
            with waiting("searching"):
                for line in _progress._lines[-1:]:
                    line.write(1)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _progress._lines == []
    assert last_row(terminal.getvalue()) == ""


def test_whole_runs_is_in_force_within_and_nests():
    assert keeps_partial()

    @whole_runs()
    def inside():
        return keeps_partial()

    with whole_runs():
        assert not inside()
        assert not keeps_partial()
    assert not inside()
    assert keeps_partial()
    with pytest.raises(KeyboardInterrupt), whole_runs():
        raise KeyboardInterrupt
    assert keeps_partial()
