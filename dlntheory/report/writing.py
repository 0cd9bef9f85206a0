"""`write_report`: the page and the JSON of a report, written into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..claims import Report
from ..display.files import check_writable, write_text
from ..display.text import json_text
from .page import page_html

if TYPE_CHECKING:
    from ..claims.showcase import MainJob

PAGE, NUMBERS = "index.html", "report.json"


def prepare_directory(directory: str | Path) -> Path:
    """Make the folder of a report, if need be, and try its files; before a long run, so that it is refused at once.

    Raises:
        ValueError: the folder cannot be made, or not be written into.
    """
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name in (PAGE, NUMBERS):
            check_writable(path / name)
    except OSError as error:
        raise ValueError(
            f"Argument `directory` must be a folder that exists or can be made, and be writable, but {path}: "
            f"{error.strerror or error}."
        ) from error
    return path


def write_report(report: Report, directory: str | Path, *, main_job: MainJob | None = None) -> Path:
    """Write `index.html`, one self-contained page, and `report.json` beside it.

    Both files are whole or not written: those of an earlier report are replaced at the end. A figure that cannot be
    drawn is replaced by a note that says why; nothing that was computed is lost for it.

    Args:
        report: what `verify` returned.
        directory: where to; made if it does not exist.
        main_job: result of the main job, shown above the claims with its figure; in the JSON its `to_dict()`.

    Returns:
        The path of the page.

    Raises:
        ValueError: the folder cannot be made, or not be written into.
        OSError: a file cannot be written, such as on a full disk; the message names it.
    """
    path = prepare_directory(directory)
    content = report.to_dict()
    if main_job is not None:
        content["main_job"] = main_job.to_dict()
    # The numbers go first: they are on disk whatever becomes of the page.
    write_text(path / NUMBERS, json_text(content) + "\n")
    return write_text(path / PAGE, page_html(report, main_job))
