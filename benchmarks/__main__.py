"""`python -m benchmarks [NAME …] [--json]`: exit status 1 if a required ratio is exceeded."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
from collections.abc import Sequence

from dlntheory.display.text import json_text

from .harness import Row, table

#: Name on the command line and the module in this folder; `import` first, while nothing is loaded here yet.
SUBJECTS = {
    "import": "importing",
    "compiling": "compiling",
    "diffrax": "against_diffrax",
    "scipy": "against_others",
    "reduction": "reduction",
    "exact": "exact_algebra",
    "laws": "laws",
    "intrinsic": "intrinsic",
    "closure": "closure",
    "parsimony": "parsimony",
    "alignment": "alignment",
    "mean-field": "mean_field",
    "solutions": "solutions",
    "saddles": "saddles",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named, by default all, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(SUBJECTS)}; by default all"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.names if name not in SUBJECTS]:
        parser.error(f"NAME must be one of {', '.join(SUBJECTS)}, but is {unknown[0]!r}")

    import jax

    jax.config.update("jax_enable_x64", True)
    rows: list[Row] = []
    for name in arguments.names or SUBJECTS:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += importlib.import_module(f".{SUBJECTS[name]}", __package__).rows()
    print(
        json_text([dataclasses.asdict(row) | {"ok": row.ok} for row in rows])
        if arguments.json
        else table(rows)
    )
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
