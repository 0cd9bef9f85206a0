"""Committed notebooks hold results without errors or machine paths, and run again from top to bottom."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 400_000
# The absolute path of a source file, of this machine or of the one where the notebook was run.
MACHINE_PATH = re.compile(r"(?<![\w:/.])/(?:[\w.-]+/)+[\w.-]+\.py\b|site-packages|[A-Z]:\\\\")

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def bad_outputs(notebook) -> list[str]:
    """Errors, and whatever went to standard error: warnings and tracebacks of failed displays."""
    return [
        str(output.get("evalue") or output.get("text"))
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def test_there_is_a_notebook():
    assert NOTEBOOKS


@notebooks
def test_committed_notebook_is_executed_small_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "executed once, from top to bottom, in a fresh kernel"
    assert sum(bool(cell.outputs) for cell in code_cells(notebook)) > len(counts) / 2
    assert bad_outputs(notebook) == []
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert MACHINE_PATH.findall(text) == []


@pytest.mark.slow
@notebooks
def test_notebook_runs(path, tmp_path, monkeypatch):
    # The kernel writes its own files; nothing of the user's configuration should reach it.
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=environment)
    assert bad_outputs(notebook) == []
