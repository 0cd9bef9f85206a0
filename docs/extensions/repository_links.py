"""Links are written for the repository, where they work on every file, and lead to the same page on the site.

On disk a link is relative to the file that holds it. Some pages lie outside `docs/`, which sees them through symbolic
links: the notebooks, for one. So `../docs/index.md` in a notebook and `../../notebooks/quickstart.ipynb` in a page are
followed on disk first, and then to the page that shows this file. A file that is on no page becomes a download.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class RepositoryLinks(SphinxTransform):
    """Resolve the links of a page that MyST, which knows the source folder alone, cannot."""

    default_priority = 50

    def apply(self, **kwargs: Any) -> None:
        links = [node for node in self.document.findall(addnodes.pending_xref) if node["reftype"] == "myst"]
        if not links:
            return
        pages = {Path(self.env.doc2path(name)).resolve(): name for name in self.env.found_docs}
        # MyST names a page outside the source folder by its path without the ending.
        stems = {str(path.with_suffix("")): name for path, name in pages.items()}
        for link in links:
            target = str(link["reftarget"])
            if link.get("refdomain") == "doc":
                if not target.startswith("/"):
                    continue
                if target in stems:
                    link["reftarget"] = stems[target]
                elif found := next(Path(target).parent.glob(Path(target).name + ".*"), None):
                    self._download(link, found)
            elif not link.get("refdomain") and "/" in target:
                path, _, fragment = target.partition("#")
                real = (Path(self.env.doc2path(self.env.docname)).resolve().parent / path).resolve()
                if real in pages:
                    link.attributes |= {
                        "refdomain": "doc",
                        "reftarget": pages[real],
                        "reftargetid": fragment or None,
                    }
                elif real.is_file():
                    self._download(link, real)

    def _download(self, link: nodes.Element, file: Path) -> None:
        # A leading slash stands for the source folder.
        place = "/" + os.path.relpath(file, self.env.srcdir).replace(os.sep, "/")
        attributes = link.attributes | {"refdomain": None, "reftarget": place}
        link.replace_self(addnodes.download_reference("", "", *link.children, **attributes))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(RepositoryLinks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
