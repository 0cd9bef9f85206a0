"""The documentation site: `make docs` builds it into build/docs. A warning is an error, and no page needs a network."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))
# Importing the package for its docstrings computes nothing, and must not look for an accelerator.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import dlntheory  # noqa: E402

project = "dlntheory"
author = "the authors of dlntheory"
copyright = author
release = version = dlntheory.__version__
html_title = f"dlntheory {release}"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
    "extensions.mathematics",
    "extensions.docstrings",
    "extensions.public_names",
    "extensions.code_links",
    "extensions.repository_links",
]
root_doc = "index"
exclude_patterns = ["extensions", "_static", "**/.ipynb_checkpoints"]
nitpicky = True
# Types of other packages: their documentation is on the network, which this site does without.
nitpick_ignore_regex = [(r"py:.*", r"(?!dlntheory\.).*")]

# Notebooks show their committed outputs; the tests execute them.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = True
myst_fence_as_directive = ["math"]

autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

bibtex_bibfiles = ["../dlntheory/citations/references.bib"]
bibtex_default_style = "plain"

html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"
pygments_style = "friendly"
pygments_dark_style = "monokai"
