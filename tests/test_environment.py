"""The ground everything stands on: a JAX that computes right, a lean import, imports that go one way."""

import ast
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

PACKAGE = Path(__file__).parent.parent / "dlntheory"

#: A package imports from packages above it, and from those beside it on its line without a circle.
PACKAGES = [
    ["_errors", "_version", "_versions", "_checks", "_precision", "display", "plotting"],
    ["citations"],
    ["exact"],
    ["architecture"],
    ["families"],
    ["from_model"],
    ["losses", "data", "initial"],
    ["laws"],
    ["training"],
    ["reductions"],
    ["solutions"],
    ["theory"],
    ["compare", "comparison"],
    ["claims"],
    ["report"],
    ["cli"],
    ["__main__", "__init__"],
]


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """(module, whether at module level) for every import statement, lazy and type-only ones too."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    here = module_name(path)
    package = here if path.name == "__init__.py" else here.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                # `from .package import module` names a module, anything else a member of one.
                yield (
                    (f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module),
                    id(node) in top,
                )


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def rank_of(module):
    name = module.split(".")[1] if "." in module else "__init__"
    for rank, line in enumerate(PACKAGES):
        if name in line:
            return rank
    raise AssertionError(f"{module} stands in no package of the layering test: give it a place")


def test_imports_go_one_way():
    breaches = [
        f"{here} imports {module}"
        for here, path in MODULES.items()
        for module, _ in imports(path)
        if module.startswith("dlntheory") and rank_of(module) > rank_of(here)
    ]
    assert not breaches, breaches


def test_no_import_closes_a_circle():
    graph = {
        here: {module for module, _ in imports(path) if module in MODULES and module != here}
        for here, path in MODULES.items()
    }
    left = dict(graph)
    while free := [here for here, needs in left.items() if not needs & left.keys()]:
        for here in free:
            del left[here]
    # What is left leads into a circle: those that nothing left needs only lead there.
    while outer := [here for here in left if not any(here in needs for needs in left.values())]:
        for here in outer:
            del left[here]
    assert not left, sorted(left)


def test_each_dependency_has_its_one_door():
    doors = {
        "diffrax": lambda parts: parts[:2] == ("training", "backends"),
        "flint": lambda parts: parts[0] in ("exact", "laws"),
        "jax.extend.core": lambda parts: parts[0] == "exact",
        "sklearn": lambda parts: parts[0] == "data",
        "math_core": lambda parts: parts[:2] == ("display", "typesetting"),
        "tqdm": lambda parts: parts == ("display", "progress.py"),
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
