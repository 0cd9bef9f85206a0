"""Committed notebooks hold results without errors or machine paths, tell one story each, and run again."""

import functools
import importlib
import itertools
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from dlntheory.claims import claims

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 400_000
# Longer than any table or listing; the repr of an object with arrays is longer.
MAX_TEXT = 6_000
MAX_REPR = 1_500
# The absolute path of a source file, of this machine or of the one where the notebook was run.
MACHINE_PATH = re.compile(r"(?<![\w:/.])/(?:[\w.-]+/)+[\w.-]+\.py\b|site-packages|[A-Z]:\\\\")
# What every notebook has, in this order, each at the head of a section of its own.
SECTIONS = ("What breaks", "Exercises", "Next")
# Names by which the notebooks call parts of the package, in their text as well as in their code.
ROOMS = {
    "dln": "dlntheory",
    "depth": "dlntheory.solutions.depth_modes",
    "landscape": "dlntheory.theory.landscape",
    "mean_field": "dlntheory.theory.mean_field",
    "modes": "dlntheory.solutions.two_layer_modes",
    "saddles": "dlntheory.theory.saddles",
}

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def text_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def sections(notebook) -> dict[str, list]:
    """The cells of each section of level two; a markdown cell that holds several headings is split at them."""
    found: dict[str, list] = {}
    title = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for part in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE):
                if part.startswith("## "):
                    title = part.splitlines()[0].removeprefix("## ")
                found.setdefault(title, []).append(part)
        else:
            found.setdefault(title, []).append(cell)
    return found


def section(notebook, word: str) -> list:
    """All that stands in the one section, or the several, with this word in the title."""
    return [part for title, parts in sections(notebook).items() if word in title for part in parts]


def outputs(cells) -> list:
    return [output for cell in cells if not isinstance(cell, str) for output in cell.get("outputs", [])]


def has_format(found, *formats: str) -> bool:
    return any(name in output.get("data", {}) for output in found for name in formats)


def bad_outputs(notebook) -> list[str]:
    """Errors, and whatever went to standard error: warnings and tracebacks of failed displays."""
    return [
        str(output.get("evalue") or output.get("text"))
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


@functools.cache
def claim_ids() -> set[str]:
    return {one.id for one in claims()}


def test_there_is_a_notebook_for_each_topic():
    assert {path.stem for path in NOTEBOOKS} == {
        "alignment",
        "bring_your_own_architecture",
        "conservation_laws",
        "exact_solutions",
        "intrinsic_dynamics",
        "law_of_parsimony",
        "mean_field",
        "quickstart",
        "saddle_to_saddle",
    }


@notebooks
def test_committed_notebook_is_executed_small_and_clean(path):
    notebook = read(path)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "executed once, from top to bottom, in a fresh kernel"
    assert sum(bool(cell.outputs) for cell in code_cells(notebook)) > len(counts) / 2
    assert bad_outputs(notebook) == []
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert MACHINE_PATH.findall(text) == []


@notebooks
def test_cells_have_stable_names_and_no_times(path):
    notebook = read(path)
    assert [cell.id for cell in notebook.cells] == [
        f"cell-{index:02d}" for index in range(len(notebook.cells))
    ]
    assert all(dict(cell.metadata) == {} for cell in notebook.cells)


@notebooks
def test_notebook_asks_a_question_first(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert first.source.splitlines()[0].endswith("?")
    question = re.search(r"\*\*Question:\*\*(.*?)\n\n", first.source + "\n\n", flags=re.DOTALL)
    assert question is not None
    assert "?" in question.group(1)


@notebooks
def test_notebook_derives_checks_and_draws(path):
    notebook = read(path)
    assert has_format(outputs(section(notebook, "Derivation")), "text/latex", "text/html"), "from the library"
    checks = [cell.source for cell in section(notebook, "Check") if not isinstance(cell, str)]
    assert any(re.search(r"^\s*assert .*<", source, flags=re.MULTILINE) for source in checks)
    figure = section(notebook, "Figure")
    assert has_format(outputs(figure), "image/png")
    assert re.search(r"paper|\b(19|20)\d\d\b", "".join(part for part in figure if isinstance(part, str))), (
        "says whose figure it is"
    )


@notebooks
def test_notebook_shows_what_breaks_with_numbers(path):
    breaks = section(read(path), "What breaks")
    printed = "".join(output.get("text", "") for output in outputs(breaks))
    assert re.search(r"\d\.\d|\de-\d", printed)
    sources = "".join(cell.source for cell in breaks if not isinstance(cell, str))
    assert "except " in sources, "a refusal"
    assert "assert " in sources, "a violation that is measured"


@notebooks
def test_notebook_has_exercises_with_hints(path):
    exercises = "".join(section(read(path), "Exercises"))
    numbered = re.split(r"^\d+\. ", exercises, flags=re.MULTILINE)[1:]
    assert 3 <= len(numbered) <= 5
    assert re.findall(r"^(\d+)\. ", exercises, flags=re.MULTILINE) == [
        str(i + 1) for i in range(len(numbered))
    ]
    for exercise in numbered:
        assert exercise.count("*Hint:*") == 1


@notebooks
def test_sections_are_in_order(path):
    titles = [title for title in sections(read(path)) if title]
    found = [title for title in titles if re.sub(r"^\d+\. ", "", title) in SECTIONS]
    assert tuple(re.sub(r"^\d+\. ", "", title) for title in found) == SECTIONS
    numbers = [match.group(1) for match in (re.match(r"(\d+)\. ", title) for title in titles) if match]
    assert numbers == [str(i + 1) for i in range(len(titles) - 2)], "all are numbered but the last two"


@notebooks
def test_links_lead_to_notebooks(path):
    """Notebooks are read in two places, in the repository and on the site: links to other files hold in one only."""
    text = "\n".join(cell.source for cell in text_cells(read(path)))
    targets = [
        target
        for target in re.findall(r"\]\(([^)]+)\)", text)
        if not target.startswith(("http://", "https://"))
    ]
    assert targets
    assert set(targets) <= {other.name for other in NOTEBOOKS} - {path.name}


@notebooks
def test_names_in_the_text_exist(path):
    text = "\n".join(cell.source for cell in text_cells(read(path)))
    for room, name in re.findall(rf"`[^`\n]*?\b({'|'.join(ROOMS)})\.(\w+(?:\.\w+)*)", text):
        functools.reduce(getattr, name.split("."), importlib.import_module(ROOMS[room]))
    everything = "\n".join(cell.source for cell in read(path).cells)
    named = re.findall(r"claim=\"([^\"]+)\"", everything) + re.findall(
        r"[Cc]laim\s+`([a-z0-9-]+)`", everything
    )
    assert set(named) <= claim_ids()


@notebooks
def test_outputs_can_be_read(path):
    notebook = read(path)
    found = outputs(code_cells(notebook))
    assert has_format(found, "image/png")
    assert has_format(found, "text/latex", "text/html")
    for output in found:
        printed = output.get("text", "")
        assert len(printed) < MAX_TEXT
        assert "$" not in printed, "mathematics in a printed line"
        assert len(output.get("data", {}).get("text/plain", "")) < MAX_REPR
        # An object that is shown by its repr alone: it should have been typeset or printed.
        if set(output.get("data", {})) == {"text/plain"}:
            assert len(output["data"]["text/plain"].splitlines()) == 1


def test_every_notebook_can_be_reached():
    links = {
        path.name: set(
            re.findall(r"\]\((\w+\.ipynb)\)", "\n".join(cell.source for cell in text_cells(read(path))))
        )
        for path in NOTEBOOKS
    }
    seen = {"quickstart.ipynb"}
    for _ in NOTEBOOKS:
        seen |= set(itertools.chain.from_iterable(links[name] for name in seen))
    assert seen == set(links)


@pytest.mark.slow
@notebooks
def test_notebook_runs(path, tmp_path, monkeypatch):
    # The kernel writes its own files; nothing of the user's configuration should reach it.
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    # Progress bars would go to standard error, which must stay empty.
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    environment["TQDM_DISABLE"] = "1"
    notebook = read(path)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=environment)
    assert bad_outputs(notebook) == []
