"""`write_report`: the page and the JSON of a report, written into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..claims import Report
from ..display.text import json_text
from .page import page_html

if TYPE_CHECKING:
    from ..claims.showcase import MainJob


def prepare_directory(directory: str | Path) -> Path:
    """Make the folder of a report, if need be; before a long run, so that it is refused at once.

    Raises:
        ValueError: the folder cannot be made.
    """
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"Argument `directory` must be a folder that exists or can be made, but {path}: {error.strerror}."
        ) from error
    return path


def write_report(report: Report, directory: str | Path, *, main_job: MainJob | None = None) -> Path:
    """Write `index.html`, one self-contained page, and `report.json` beside it.

    A figure that cannot be drawn is replaced by a note that says why; nothing that was computed is lost for it.

    Args:
        report: what `verify` returned.
        directory: where to; made if it does not exist. Files of an earlier report in it are replaced.
        main_job: result of the main job, shown above the claims with its figure; in the JSON its `to_dict()`.

    Returns:
        The path of the page.

    Raises:
        ValueError: the folder cannot be made.
    """
    path = prepare_directory(directory)
    content = report.to_dict()
    if main_job is not None:
        content["main_job"] = main_job.to_dict()
    # The numbers go first: they are on disk whatever becomes of the page.
    (path / "report.json").write_text(json_text(content) + "\n", encoding="utf-8")
    page = path / "index.html"
    page.write_text(page_html(report, main_job), encoding="utf-8")
    return page
