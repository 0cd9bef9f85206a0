"""Files are whole or not written: what a full disk, a failing writer or a bad path leaves behind."""

import errno
import os

import pytest

from dlntheory.display.files import check_writable, write_beside, write_text


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "page.html"
    assert write_text(path, "old") == path
    path.chmod(0o640)
    write_text(path, "new é")
    assert path.read_text(encoding="utf-8") == "new é"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError("bug")]
)
def test_a_writer_that_fails_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "run.nc"
    write_text(path, "old")

    def writer(beside):
        assert beside.suffix == ".nc"
        beside.write_text("half of it")
        raise error

    with pytest.raises(
        type(error), match="run.nc could not be written: No space" if isinstance(error, OSError) else None
    ):
        write_beside(path, writer)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.nc"]


def test_a_bad_path_is_found_before_the_work(tmp_path):
    assert check_writable(tmp_path / "fine.py") == tmp_path / "fine.py"
    assert os.listdir(tmp_path) == []
    for bad in (tmp_path / "missing" / "file.py", tmp_path):
        for attempt in (check_writable, lambda path: write_text(path, "x")):
            with pytest.raises(OSError, match=f"{bad.name}.* could not be written"):
                attempt(bad)
    assert os.listdir(tmp_path) == []
