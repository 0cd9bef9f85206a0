"""Predictions that are no dynamics, one theory a folder, each with its plots; imported when asked for."""

import importlib
from typing import Any

_THEORIES = ("alignment", "collapse", "geometry", "landscape", "mean_field", "saddles")


def __getattr__(name: str) -> Any:
    if name in _THEORIES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_THEORIES})
