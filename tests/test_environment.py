"""The ground everything stands on: a JAX that computes right, a lean import, imports that go one way."""

import ast
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

PACKAGE = Path(__file__).parent.parent / "dlntheory"

#: A room may import from rooms above it and beside it on its line.
ROOMS = [
    ["_errors", "_precision", "_progress", "_text", "_version", "_versions", "citations", "typesetting"],
    ["exact"],
    ["architecture"],
    ["catalogue"],
    ["models"],
    ["losses", "data", "initial"],
    ["laws"],
    ["dynamics"],
    ["reductions"],
    ["solutions"],
    ["compare"],
    ["theory"],
    ["claims"],
    ["figures", "report"],
    ["cli"],
    ["__main__", "__init__"],
]
#: Imports inside functions that may look down: convenience methods that open a figure, or read a model.
LOOKING_DOWN = {
    ("dynamics", "figures"),
    ("compare", "figures"),
    ("architecture", "models"),
    ("theory", "figures"),
    ("reductions", "figures"),
}


def imports(path):
    """(imported module relative to the package or absolute, whether at module level) for every import statement."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    guarded = {
        id(inner)
        for node in tree.body
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = path.relative_to(PACKAGE).parts[: depth - node.level]
                module = [*base, *(node.module.split(".") if node.module else [])]
                names = [".".join(module)] if module else [alias.name for alias in node.names]
                for name in names:
                    yield "dlntheory." + name, id(node) in top
            else:
                yield node.module, id(node) in top


def room_of(module):
    name = module.split(".")[1]
    for rank, room in enumerate(ROOMS):
        if name in room:
            return rank, name
    raise AssertionError(f"{module} stands in no room of the layering test: give it one")


def test_imports_go_one_way():
    breaches = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        rank, here = room_of("dlntheory." + parts[0])
        for module, at_top in imports(path):
            if not module.startswith("dlntheory"):
                continue
            other, there = room_of(module)
            if other <= rank or (not at_top and (here, there) in LOOKING_DOWN):
                continue
            breaches.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not breaches, breaches


def test_each_dependency_has_its_one_door():
    doors = {
        "diffrax": lambda parts: parts[0] == "dynamics",
        "flint": lambda parts: parts[0] in ("exact", "laws"),
        "jax.extend.core": lambda parts: parts[0] == "exact",
        "sklearn": lambda parts: parts[0] == "data",
        "math_core": lambda parts: parts[0] == "typesetting",
        "tqdm": lambda parts: parts[0] == "_progress.py",
    }
    lazy = ("matplotlib", "xarray", "tqdm", "scipy.integrate", "sklearn")
    breaches = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        for module, at_top in imports(path):
            for name, allowed in doors.items():
                if (module == name or module.startswith(name + ".")) and not allowed(parts):
                    breaches.append(f"{'/'.join(parts)} imports {module}")
            if at_top and any(module == name or module.startswith(name + ".") for name in lazy):
                breaches.append(f"{'/'.join(parts)} imports {module} at module level")
        if "jax.core" in path.read_text().replace("jax.extend.core", "") and parts[0] != "exact":
            breaches.append(f"{'/'.join(parts)} uses jax.core")
    assert not breaches, breaches


def test_modules_stay_between_one_purpose_and_four_hundred_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert not {str(path.relative_to(PACKAGE)): n for path, n in lengths.items() if n > 400}


def test_import_is_lean_and_changes_nothing():
    code = (
        "import sys, dlntheory, jax; "
        "heavy = [m for m in ('matplotlib','xarray','tqdm','sklearn','scipy.integrate','h5py') if m in sys.modules]; "
        "assert not heavy, heavy; assert not jax.config.jax_enable_x64; "
        "from jax._src import xla_bridge; assert not xla_bridge._backends, 'a JAX array was created at import'"
    )
    environment = {"PATH": "", "JAX_ENABLE_X64": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_jax_sums_batched_products_right():
    # jax 0.10.2 on CPU is silently wrong above 16384 rows (issue 39103).
    rows, size = 20000, 8
    rng = np.random.default_rng(0)
    matrices, vectors = rng.standard_normal((rows, size, size)), rng.standard_normal((rows, size))
    total = jax.jit(lambda a, x: jnp.sum(jax.vmap(jnp.matmul)(a, x), axis=0))(matrices, vectors)
    np.testing.assert_allclose(total, np.einsum("nij,nj->i", matrices, vectors), rtol=1e-9, atol=1e-9)
