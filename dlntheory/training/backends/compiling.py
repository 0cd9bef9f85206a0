"""`Compiled`: a jitted function of this package that knows which thread compiled it, and compiles fast."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

# With these emitters XLA takes about twice as long to compile a solver for a small network, and its code is no faster.
_COMPILER_OPTIONS: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False}


class _Traces(threading.local):
    count = 0


class Compiled:
    """`equinox.filter_jit` of a function, with the compiler options of this package. Not for use inside another jit.

    Args:
        function: takes positional arguments; arrays are traced, all else is part of the program.

    Attributes:
        function: as given, for use inside other transformations.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self._traces = _Traces()
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        return self._jitted(*args)

    @property
    def traces(self) -> int:
        """How many programs this thread has compiled: other threads do not count, whose compilations it may "
        "wait for."""
        return self._traces.count

    @functools.cached_property
    def _jitted(self) -> Any:
        def counted(*args: Any) -> Any:
            # Runs only while JAX traces, in the thread that asked for the program.
            self._traces.count += 1
            return self.function(*args)

        options: dict[str, Any] = {"compiler_options": _known_options()}
        return eqx.filter_jit(functools.wraps(self.function)(counted), **options)


@functools.cache
def _known_options() -> dict[str, Any]:
    """The compiler options that this version of XLA knows: they come and go between releases."""
    try:
        jax.jit(lambda: 0, compiler_options=_COMPILER_OPTIONS).lower().compile()
    except (jax.errors.JaxRuntimeError, ValueError):
        return {}
    return _COMPILER_OPTIONS
