"""Ready-made architectures: each is φ as a plain JAX function of named arrays, with its laws in the docstring.

Every φ here is polynomial or rational, which is what exact verbs need. Where the map in use has a root, as weight
normalisation $g v/\\lVert v \\rVert$ has, φ is a function of it that has none and the same laws.

The package lists itself: a function that is decorated with `family`, in any file of this folder, is exported.
"""

import importlib
import pkgutil
from typing import Any

from .registry import FAMILIES as FAMILIES, Family as Family, family as family

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
globals().update({one.build.__name__: one.build for one in FAMILIES.values()})
_ordered = sorted(FAMILIES.items())
FAMILIES.clear()
FAMILIES.update(_ordered)

# Known at run time only; a type checker reads the names of families off `__getattr__`.
__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "FAMILIES",
    "Family",
    "family",
    *sorted(one.build.__name__ for one in FAMILIES.values()),
]


def __getattr__(name: str) -> Any:
    """The function of a family by its name, for those that register later too."""
    for one in FAMILIES.values():
        if one.build.__name__ == name:
            return one.build
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(one.build.__name__ for one in FAMILIES.values())})
