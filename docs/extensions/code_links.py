"""Names in code lead to the reference: `dln.solve`, `Trajectory` or `SquaredLoss(...)`, on any page."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

import dlntheory

NAME = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)(?:\(.*\))?$", re.DOTALL)
#: Module names within the package that users meet under a shorter path.
SHORTER = (("dln.mean_field.", "dlntheory.theory.mean_field."), ("dln.", "dlntheory."))


def link_table(env: BuildEnvironment) -> dict[str, tuple[str, str]]:
    """Page and place of each name that can be written without ambiguity.

    These are full names, names that `dlntheory` itself exports, and names of classes and functions that occur once and
    are no ordinary word: `Trajectory` and `log_times`, but not `memory`, which may be an argument of anything.
    """
    domain: Any = env.domains["py"]
    table: dict[str, tuple[str, str]] = {}
    places: dict[str, set[tuple[str, str]]] = {}
    for name, entry in domain.objects.items():
        table[name] = (entry.docname, entry.node_id)
        if entry.objtype in ("class", "exception", "function"):
            places.setdefault(name.rpartition(".")[2], set()).add(table[name])
    for short, where in places.items():
        at_top = f"dlntheory.{short}" in domain.objects
        if at_top or (len(where) == 1 and not re.fullmatch("[a-z]+", short)):
            table[short] = table[f"dlntheory.{short}"] if at_top else next(iter(where))
    # Members after the short name of their class: `Trajectory.to_xarray`.
    for name, entry in domain.objects.items():
        parent, _, member = name.rpartition(".")
        if entry.objtype in ("method", "property", "attribute"):
            table.setdefault(f"{parent.rpartition('.')[2]}.{member}", (entry.docname, entry.node_id))
    return table


class CodeLinks(SphinxPostTransform):
    """Turns code that is the name of a documented object into a link, except within links and headings."""

    default_priority = 300
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        table = self._table()
        for literal in list(self.document.findall(nodes.literal)):
            found = NAME.match(literal.astext())
            if found is None or _is_settled(literal):
                continue
            name = found["name"]
            for short, full in SHORTER:
                if name.startswith(short):
                    name = full + name.removeprefix(short)
                    break
            if name not in table:
                continue
            docname, place = table[name]
            # On another page of the reference an ordinary word means what it means in the module of the entry: `verify`
            # is not always `dln.verify`.
            is_foreign = self.env.docname.startswith("reference/") and docname != self.env.docname
            if is_foreign and re.fullmatch("[a-z]+", name) and not _is_known_to_entry(literal, name):
                continue
            link = make_refnode(
                self.app.builder, self.env.docname, docname, place, [literal.deepcopy()], name
            )
            literal.replace_self(link)

    def _table(self) -> dict[str, tuple[str, str]]:
        cached = getattr(self.app, "_dlntheory_code_links", None)
        if cached is None:
            cached = link_table(self.env)
            self.app._dlntheory_code_links = cached  # type: ignore[attr-defined]
        return cached


def _is_known_to_entry(literal: nodes.Node, name: str) -> bool:
    """Whether the module of the entry around this code knows `dlntheory`'s object of this name under the same name."""
    node = literal.parent
    while node is not None and not isinstance(node, addnodes.desc):
        node = node.parent
    if node is None:
        return False
    signature: Any = node.children[0]
    value: Any = importlib.import_module(signature["module"])
    for part in signature["fullname"].split("."):
        value = getattr(value, part, None)
    scope = vars(sys.modules.get(getattr(value, "__module__", ""), dlntheory))
    return scope.get(name) is getattr(dlntheory, name, name)


def _is_settled(node: nodes.Node) -> bool:
    parent = node.parent
    while parent is not None:
        if isinstance(
            parent, nodes.reference | addnodes.pending_xref | nodes.title | addnodes.desc_signature
        ):
            return True
        parent = parent.parent
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(CodeLinks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
