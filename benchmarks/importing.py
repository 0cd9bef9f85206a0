"""What `import dlntheory` costs beside what it needs anyway, as whole processes; and what it must not load."""

from __future__ import annotations

import json
import subprocess
import sys

from .harness import Row, paired

ROUNDS = 5
LIMIT = 1.4
HEAVY = ("matplotlib", "xarray", "scipy.integrate", "tqdm", "sklearn")


def rows() -> list[Row]:
    """The ratio of two processes, and a row that fails if a heavy module is loaded."""
    times = paired(lambda: _python("import dlntheory"), lambda: _python("import diffrax, sympy"), ROUNDS)
    program = f"import dlntheory, json, sys; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    loaded = json.loads(_python(program))
    note = f"loads {', '.join(loaded)}" if loaded else f"none of {', '.join(HEAVY)}"
    return [
        Row("import", "import dlntheory, a process", "import diffrax, sympy", limit=LIMIT, **times),
        Row("import", "modules not to be loaded", "", note=note, failed=bool(loaded)),
    ]


def _python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
