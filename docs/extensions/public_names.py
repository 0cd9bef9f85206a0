"""The reference lists itself: `{public} dlntheory.laws` documents what the package exports, each object once.

An object belongs to the outermost subpackage that exports it (else to the module that defines it), and is shown under
the shortest name that a user can write, so `dlntheory.laws.conservation_laws` is shown as
`dlntheory.conservation_laws`. The longer names lead to the same entry.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import dlntheory

ROOT = Path(dlntheory.__file__).parent
#: What stands behind the public rooms: the command line, formulas as MathML, argument checks, and the checks of each
#: paper, which `dlntheory verify --list` lists.
INTERNAL = re.compile(r"dlntheory\.(cli|display\.typesetting|claims\.\w+|plotting\.checks)(\.|$)|\._")
#: The mixin of all displays, which says nothing of what a result is.
MIXINS = ("dlntheory.display.displayed",)


@dataclasses.dataclass(frozen=True)
class PublicObject:
    """A documented object.

    Attributes:
        name: the shortest name, under which it is shown.
        owner: the package or module to whose list it belongs.
        value: the object itself.
        aliases: the other names under which packages export it.
        is_exported: whether a package exports it; otherwise it is the type of an argument or a result.
    """

    name: str
    owner: str
    value: Any
    aliases: tuple[str, ...]
    is_exported: bool = True

    @property
    def directive(self) -> str:
        if isinstance(self.value, type):
            return "autoexception" if issubclass(self.value, BaseException) else "autoclass"
        return "autofunction" if callable(self.value) and hasattr(self.value, "__name__") else "autodata"

    @property
    def summary(self) -> str:
        """The first sentence of the docstring, in Markdown."""
        if self.directive == "autodata":
            return ""
        return summary(self.value)


def summary(value: Any) -> str:
    """The first sentence of a docstring."""
    paragraph = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[^.]\.)\s+(?=[A-Z`$])", paragraph)[0]


def module_file(module: str) -> Path:
    path = ROOT.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def exports(package: str) -> dict[str, tuple[str, str]]:
    """Names that a package re-exports (`from .module import name as name`), each with its module and its name there."""
    found = {}
    for node in ast.parse(module_file(package).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            parent = package.split(".")[: len(package.split(".")) + 1 - node.level]
            module = ".".join([*parent, *([node.module] if node.module else [])])
            for alias in node.names:
                if alias.asname == alias.name and not alias.name.startswith("_"):
                    found[alias.name] = (module, alias.name)
    # A package that lists itself: its names are known where it is imported only.
    listed = (
        getattr(importlib.import_module(package), "__all__", ()) if module_file(package).is_file() else ()
    )
    for name in listed:
        if name not in found:
            # A function may have the name of the module that it is in.
            value = getattr(importlib.import_module(package), name)
            found[name] = (value.__module__, value.__name__)
    return found


def origin(module: str, name: str) -> tuple[str, str]:
    """The module that defines what `module` knows as `name`."""
    while module_file(module).name == "__init__.py" and exports(module).get(name, (module, name)) != (
        module,
        name,
    ):
        module, name = exports(module)[name]
    return module, name


def exported_modules(packages: list[str]) -> dict[str, str]:
    """Modules that packages hand on by name, and where these lie: `dlntheory.mean_field` in `dlntheory.theory`."""
    found = {}
    for package in packages:
        if module_file(package).name == "__init__.py":
            for name in exports(package):
                value = _value(*origin(package, name))
                if isinstance(value, ModuleType):
                    found[f"{package}.{name}"] = value.__name__
    return found


def definitions(module: str) -> list[str]:
    """Public functions and classes that a module defines, in order."""
    tree = ast.parse(module_file(module).read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]


@functools.cache
def modules() -> tuple[str, ...]:
    """All public packages and modules, outermost first."""
    names = [info.name for info in pkgutil.walk_packages(dlntheory.__path__, "dlntheory.")]
    return tuple(
        sorted((name for name in names if not INTERNAL.search(name)), key=lambda name: name.count("."))
    )


@functools.cache
def surface() -> dict[str, list[PublicObject]]:
    """The public objects of each owner."""
    shown: dict[tuple[str, str], list[str]] = {}
    owners: dict[tuple[str, str], str] = {}
    packages = ["dlntheory", *(name for name in modules() if module_file(name).name == "__init__.py")]
    for package in packages:
        for name in exports(package):
            source = origin(package, name)
            if isinstance(_value(*source), ModuleType):
                continue
            shown.setdefault(source, []).append(f"{package}.{name}")
            if package != "dlntheory":
                owners.setdefault(source, package)
    exported = {module for module, _ in shown}
    for module in modules():
        # A module of which nothing is exported is imported as it is: `from dlntheory.plotting import saddles`.
        if (
            module_file(module).name != "__init__.py"
            and module not in exported
            and not exports(module.rpartition(".")[0])
            and module.count(".") == 2
        ):
            for name in definitions(module):
                shown[module, name] = [f"{module}.{name}"]
    found: dict[str, list[PublicObject]] = {}
    for source, names in shown.items():
        owner = owners.get(source, source[0])
        shortest, *others = sorted(names, key=lambda name: name.count("."))
        found.setdefault(owner, []).append(PublicObject(shortest, owner, _value(*source), tuple(others)))
    _add_types(found)
    return found


def _add_types(found: dict[str, list[PublicObject]]) -> None:
    """Add the classes that entries name in their annotations or derive from, and nobody exports: results, mostly."""
    known = {id(public.value) for group in found.values() for public in group}
    waiting = [public for group in found.values() for public in group]
    while waiting:
        public = waiting.pop(0)
        for kind in _named_types(public.value):
            if id(kind) not in known:
                known.add(id(kind))
                added = PublicObject(
                    f"{kind.__module__}.{kind.__name__}", public.owner, kind, (), is_exported=False
                )
                found[public.owner].append(added)
                waiting.append(added)


def _named_types(value: Any) -> Iterator[type]:
    """Public classes of this package that the signatures, fields and bases of an object name."""
    yield from (base for base in getattr(value, "__bases__", ()) if _is_ours(base))
    functions = [value]
    if isinstance(value, type):
        functions += [
            member.fget if isinstance(member, property) else getattr(member, "func", member)
            for name, member in vars(value).items()
            if name == "__init__" or not name.startswith("_")
        ]
    scope = vars(sys.modules[value.__module__]) if hasattr(value, "__module__") else {}
    for annotated in functions:
        for annotation in getattr(annotated, "__annotations__", {}).values():
            # Annotations are strings here: `from __future__ import annotations` stands in every module.
            for name in re.findall(r"[A-Za-z_]\w*", str(annotation)):
                if _is_ours(scope.get(name)):
                    yield scope[name]


def _is_ours(value: Any) -> bool:
    return isinstance(value, type) and value.__module__.startswith("dlntheory.") and not _is_internal(value)


def _is_internal(kind: type) -> bool:
    return kind.__name__.startswith("_") or kind.__module__ in MIXINS


def _value(module: str, name: str) -> Any:
    if f"{module}.{name}" in modules():
        return importlib.import_module(f"{module}.{name}")
    return getattr(importlib.import_module(module), name)


class Public(SphinxDirective):
    """A table of the public objects of the named packages or modules, then an entry for each.

    With `:table:` the table alone.
    """

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {"table": directives.flag}

    def run(self) -> list[nodes.Node]:
        places = self.arguments[0].split()
        for file in [Path(__file__), ROOT / "__init__.py", *map(module_file, places)]:
            self.env.note_dependency(file)
        found = [public for place in places for public in self._objects(place)]
        if not found:
            raise self.error(f"{self.arguments[0]} exports nothing: name a package of dlntheory that does")
        text = "\n".join(_modules(places))
        text += "\n".join(
            _table([public for public in found if public.is_exported], exported_modules(places))
        )
        if types := [public for public in found if not public.is_exported]:
            text += "\n\nTypes of arguments and results that are not imported by themselves:\n\n"
            text += "\n".join(_table(types))
        if "table" not in self.options:
            text += "\n\n" + "\n".join(line for public in found for line in _entry(public))
        parsed = self.parse_text_to_nodes(text)
        if "table" not in self.options:
            for public in found:
                self._note_aliases(public.name, public.aliases)
        self._note_modules(places)
        return parsed

    def _objects(self, place: str) -> Iterator[PublicObject]:
        if place == "dlntheory":
            everything = [public for group in surface().values() for public in group]
            yield from sorted((p for p in everything if p.name.count(".") == 1), key=lambda p: p.name.lower())
            return
        for owner, group in sorted(surface().items(), key=lambda item: item[0].count(".")):
            if owner == place or owner.startswith(place + "."):
                yield from group

    def _note_aliases(self, name: str, aliases: Iterable[str]) -> None:
        domain: Any = self.env.domains["py"]
        entry = domain.objects[name]
        for alias in aliases:
            domain.note_object(alias, entry.objtype, entry.node_id, aliased=True, location=None)

    def _note_modules(self, places: list[str]) -> None:
        """Let the name under which `dlntheory` hands a package on lead to its page, too."""
        domain: Any = self.env.domains["py"]
        for name, module in exported_modules(["dlntheory"]).items():
            if module in places and name != module:
                entry = domain.modules[module]
                domain.note_module(name, entry.node_id, entry.synopsis, entry.platform, entry.deprecated)


def _modules(places: list[str]) -> Iterator[str]:
    """Declares the packages of a page, so that their names lead to it.

    Where a function has the name of its package, as `dlntheory.from_model` has, the name leads to the function.
    """
    functions = {public.name for group in surface().values() for public in group}
    yield "````{eval-rst}"
    for place in places:
        if module_file(place).name == "__init__.py" and place not in functions:
            yield f".. py:module:: {place}\n"
    yield "````\n\n"


def _table(found: list[PublicObject], packages: dict[str, str] | None = None) -> Iterator[str]:
    yield "````{list-table}"
    yield ":widths: 30 70"
    yield ":class: public-names"
    yield ""
    for name, module in (packages or {}).items():
        yield f"* - {{py:obj}}`{name.rpartition('.')[2]} <{module}>`"
        yield f"  - {summary(importlib.import_module(module))}"
    for public in found:
        yield f"* - {{py:obj}}`~{public.name}`"
        yield f"  - {public.summary}".rstrip()
    yield "````"


def _entry(public: PublicObject) -> Iterator[str]:
    yield "````{eval-rst}"
    yield f".. {public.directive}:: {public.name}"
    if public.directive == "autodata":
        yield "   :no-value:"
    elif public.directive != "autofunction":
        yield "   :members:"
        yield "   :special-members: __call__"
        if any(_is_ours(base) for base in public.value.__bases__):
            yield "   :show-inheritance:"
    yield "````"
    yield ""


def leave_out_internal_bases(app: Sphinx, name: str, value: Any, options: Any, bases: list[type]) -> None:
    """Show only bases that a reader can look up."""
    bases[:] = [base for base in bases if not (isinstance(base, type) and _is_internal(base))]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("public", Public)
    app.connect("autodoc-process-bases", leave_out_internal_bases)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
