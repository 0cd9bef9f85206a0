"""`versions`: what a bug report or a stored result must say about its environment."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from ._precision import is_float64_enabled
from ._version import __version__

PACKAGES = (
    "jax",
    "jaxlib",
    "diffrax",
    "equinox",
    "optimistix",
    "lineax",
    "numpy",
    "scipy",
    "sympy",
    "python-flint",
    "xarray",
)


def versions(*, backend: bool = False) -> dict[str, Any]:
    """Versions of dlntheory, of Python and of what they compute with, the machine, and whether float64 is on.

    Reads package metadata only: it imports none of the packages.

    Args:
        backend: also name the platform that JAX computes on (`"cpu"`, `"gpu"`, …). Asking starts JAX's
            backend, so ask only where a computation has run anyway.

    Returns:
        Names and values in a fixed order; a package that is not installed has the value `None`.

    Example:
        >>> sorted(versions())[:3]
        ['diffrax', 'dlntheory', 'equinox']
    """
    found: dict[str, Any] = {
        "dlntheory": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    found["float64"] = is_float64_enabled()
    if backend:
        import jax

        found["backend"] = jax.default_backend()
    return found
