"""Files that are whole or not written at all: each is written beside the old one and then moved into its place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_beside(path: str | Path, writer: Callable[[Path], Any]) -> Path:
    """Write a file under another name in the same folder, and move it into its place when it is whole.

    A disk that is full, a writer that fails and a process that is killed leave the old file as it was; only a killed
    process leaves the unfinished one, whose name begins with a dot.

    Args:
        path: where the file is to stand.
        writer: writes the file whose path it is given.

    Returns:
        The path.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    path = Path(path)
    beside: Path | None = None
    try:
        # Writers choose a format by the suffix, so the unfinished file has the same one.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        beside = Path(name)
        writer(beside)
        # mkstemp makes private files: an existing file keeps its mode, a new one has the usual one.
        os.chmod(beside, path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        os.replace(beside, path)
    except OSError as error:
        raise _named(error, path) from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """`write_beside` for a text, in UTF-8."""
    return write_beside(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def check_writable(path: str | Path) -> Path:
    """Find out before long work whether a file can be written; nothing that exists is touched.

    Raises:
        OSError: it cannot; the message names it.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} could not be written: it is a folder.")
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{path.stem}-", dir=path.parent):
            return path
    except OSError as error:
        raise _named(error, path) from error


def _named(error: OSError, path: Path) -> OSError:
    """The same error with the file that was meant, not the unfinished one, in its message."""
    return type(error)(f"{path} could not be written: {error.strerror or error}.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
