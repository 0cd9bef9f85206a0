"""Finding conservation laws and proving that none is missing, against required times, a prototype, the literature.

`python -m benchmarks.laws [--heavy] [--json]` prints all columns; `--heavy` adds networks with 1200 and more weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dlntheory as dln
from dlntheory.display.text import format_number, json_text, text_table
from dlntheory.laws.search.gram_ansatz import gram_laws
from dlntheory.laws.search.strategies import find_laws
from dlntheory.laws.systems import GradientSystem

from .harness import Row

#: CPU seconds may be this many times the required ones: the margin of the tests as well.
MARGIN = 2.0
HEADERS = (
    "case",
    "wall",
    "CPU",
    "required",
    "prototype",
    "published",
    "published / wall",
    "result",
)
TABLES = Path(__file__).resolve().parents[1] / "tests" / "families" / "tables.py"


@dataclasses.dataclass(frozen=True)
class Task:
    """Something to time.

    Attributes:
        case: what it is.
        prepare: builds the networks, which is not timed (JAX compiles φ for each), and returns what is timed: a
            function that says in a few words what came out, and raises if that is not what is expected.
        required: seconds it may take, one thread.
        prototype: seconds that a prototype took, one thread, another machine.
        published: seconds in the literature, 64 threads, another machine.
        heavy: whether it is run with `--heavy` only.
    """

    case: str
    prepare: Callable[[], Callable[[], str]]
    required: float
    prototype: float
    published: float | None = None
    heavy: bool = False


@dataclasses.dataclass(frozen=True)
class Timing:
    """What was measured of a task, once."""

    task: Task
    wall: float
    cpu: float
    result: str

    @property
    def ratio(self) -> float | None:
        """Published / own wall time."""
        return None if self.task.published is None else self.task.published / self.wall

    def cells(self) -> tuple[str, ...]:
        """The row as texts, in the order of `HEADERS`."""
        task = self.task
        seconds = (self.wall, self.cpu, task.required, task.prototype, task.published)
        ratio = "" if self.ratio is None else format_number(self.ratio, 2)
        return (task.case, *map(_seconds, seconds), ratio, self.result)

    def row(self) -> Row:
        """The same as a row of the common table, with CPU time: that of a busy machine means something, too."""
        note = f"{self.result}; wall {_seconds(self.wall)}, prototype {_seconds(self.task.prototype)}"
        if self.ratio is not None:
            note += (
                f", published {_seconds(self.task.published)}: {format_number(self.ratio, 2)} times the wall"
            )
        return Row(
            "laws",
            self.task.case,
            "required, CPU time",
            ours=self.cpu,
            other=self.task.required,
            ratio=self.cpu / self.task.required,
            limit=MARGIN,
            note=note,
        )


def rows(heavy: bool = False) -> list[Row]:
    """One row a task, for the common table."""
    return [timing.row() for timing in timings(heavy)]


def timings(heavy: bool = False) -> Iterator[Timing]:
    """Run every task once, after one small search that starts JAX."""
    dln.conservation_laws(dln.linear_network((2, 2, 2)))
    for task in tasks():
        if task.heavy and not heavy:
            continue
        work = task.prepare()
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        yield Timing(task, time.perf_counter() - wall, time.process_time() - cpu, result)


def tasks() -> list[Task]:
    """What is timed. The tables here hold every second row of a suite: the times they are compared with are halved."""
    suites = [
        ("linear", "linear suite, 25 of 50", 3.0, 0.6, 34 * 60.0),
        ("relu", "ReLU suite, 25 of 50", 5.0, 1.1, 113 * 60.0),
        ("momentum_linear", "momentum linear suite, 10 of 20", 10 / 6, 2.8 / 6, 2.3 * 60),
        ("momentum_relu", "momentum ReLU suite, 10 of 20", 10 / 6, 2.8 / 6, 60.0),
        ("nmf", "NMF suite, 10 of 20", 10 / 6, 2.8 / 6, 7.5 * 60),
        ("nmf_momentum", "NMF momentum suite, 10 of 20", 10 / 6, 2.8 / 6, 1.75 * 60),
        ("icnn", "ICNN suite, 10 of 20", 10 / 6, 2.8 / 6, 12.6 * 60),
        ("icnn_momentum", "ICNN momentum suite, 10 of 20", 10 / 6, 2.8 / 6, 12.2 * 60),
    ]
    linear, relu = dln.linear_network, dln.relu_network
    certificates = [
        (linear((10,) * 6), 500, 220, 2.0, 0.6, False),
        (linear((20,) * 4), 1200, 420, 12.0, 4.3, True),
        (linear((30,) * 3), 1800, 465, 30.0, 11.4, True),
        (relu((20,) * 4, bias=True), 1240, 40, 8.0, 2.4, True),
    ]
    searches = [(linear((10,) * 4), 110, 15.0, 9.0), (linear((15, 20, 15)), 210, 25.0, 13.0)]
    return [
        *(
            Task(case, functools.partial(_suite, key), required / 2, prototype / 2, published / 2)
            for key, case, required, prototype, published in suites
        ),
        *(
            Task(
                f"certificate, {arch.name}, D = {size}",
                functools.partial(_certificate, arch, count),
                required,
                prototype,
                heavy=heavy,
            )
            for arch, size, count, required, prototype, heavy in certificates
        ),
        *(
            Task(
                f"Gram ansatz, {arch.name}, D = {size}",
                functools.partial(_gram, arch, count),
                1.0,
                0.1,
                heavy=heavy,
            )
            for arch, size, count, _, _, heavy in certificates
        ),
        *(
            Task(
                f"quadratic search, {arch.name}",
                functools.partial(_quadratic, arch, count),
                required,
                prototype,
            )
            for arch, count, required, prototype in searches
        ),
        # The prototype took 5 to 14 s for the 95 models.
        Task("catalogue, 48 of 95 models", _catalogue, 15.0, 4.75),
    ]


def _suite(key: str) -> Callable[[], str]:
    cases = [case for case in _tables().suite_cases() if case.id.rpartition("-")[0] == key]
    networks = [(case, case.build()) for case in cases]

    def work() -> str:
        for case, arch in networks:
            found = dln.conservation_laws(arch, **case.options)
            if (found.count, found.status) != (case.laws, "complete"):
                raise AssertionError(
                    f"{case.id}: {found.certificate.statement}, but there are {case.laws} laws"
                )
        return f"{len(networks)} complete"

    return work


def _catalogue() -> Callable[[], str]:
    networks = [(case, case.build()) for case in _tables().catalogue_cases()]

    def work() -> str:
        complete = 0
        for case, arch in networks:
            found = dln.conservation_laws(arch, **case.options)
            if found.upper != case.laws:
                raise AssertionError(
                    f"{case.id}: {found.certificate.statement}, but there are {case.laws} laws"
                )
            complete += found.status == "complete"
        return f"{complete} complete, {len(networks) - complete} with a gap"

    return work


def _certificate(arch: dln.Architecture, count: int) -> Callable[[], str]:
    def work() -> str:
        found = dln.conservation_laws(arch)
        if found.count != count:
            raise AssertionError(f"{arch.name}: {found.certificate.statement}, but there are {count} laws")
        return f"{count} laws, by {', '.join(sorted({law.verified for law in found.laws}))}"

    return work


def _gram(arch: dln.Architecture, count: int) -> Callable[[], str]:
    def work() -> str:
        return f"{_entries(arch, tuple(gram_laws(GradientSystem(arch))), count)} laws, not verified here"

    return work


def _quadratic(arch: dln.Architecture, count: int) -> Callable[[], str]:
    def work() -> str:
        laws = find_laws(GradientSystem(arch), forms="polynomial")
        return f"{_entries(arch, laws, count)} laws, each verified"

    return work


def _entries(arch: dln.Architecture, laws: Sequence[dln.Law], count: int) -> int:
    found = sum(law.size for law in laws)
    if found != count:
        raise AssertionError(f"{arch.name}: {found} laws are found, but there are {count}")
    return found


@functools.cache
def _tables() -> Any:
    """The tables of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location("_dlntheory_tables", TABLES)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(TABLES)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds >= 600:
        return f"{seconds / 60:.3g} min"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.3g} s"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; exit status 1 if a task takes more CPU time than it may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.laws", description=__doc__)
    parser.add_argument("--heavy", action="store_true", help="also the networks with 1200 and more weights")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    arguments = parser.parse_args(argv)

    import jax

    jax.config.update("jax_enable_x64", True)
    found = []
    for timing in timings(arguments.heavy):
        print(f"{timing.task.case}: {_seconds(timing.wall)}", file=sys.stderr, flush=True)
        found.append(timing)
    if arguments.json:
        print(json_text([dataclasses.asdict(timing.row()) | {"ok": timing.row().ok} for timing in found]))
    else:
        print(text_table([timing.cells() for timing in found], HEADERS, "lrrrrrrl"))
    return 0 if all(timing.row().ok for timing in found) else 1


if __name__ == "__main__":
    sys.exit(main())
