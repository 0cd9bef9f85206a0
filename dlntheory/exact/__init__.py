"""Exact algebra: JAX functions over other rings than the floats. Knows nothing of networks."""

from .interpreter import interpret as interpret, trace as trace
from .nilpotent import NilpotentModular as NilpotentModular
from .program import Program as Program
from .rational import exact_array as exact_array, simplest_fraction as simplest_fraction
from .rings import (
    AbstractRing as AbstractRing,
    DivisionByZeroInRing as DivisionByZeroInRing,
    Expressions as Expressions,
    Rationals as Rationals,
)
from .symbolic import SymbolicMap as SymbolicMap, symbolic_map as symbolic_map
