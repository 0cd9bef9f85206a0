"""Exact algebra: JAX functions over other rings than the floats. Knows nothing of networks.

References:
    [meurer2017sympy]; [flint2025fast].
"""

from .float_fractions import exact_array as exact_array, simplest_fraction as simplest_fraction
from .interpreter import interpret as interpret, trace as trace
from .program import Program as Program
from .rings.base import (
    AbstractRing as AbstractRing,
    DivisionByZeroInRing as DivisionByZeroInRing,
    Expressions as Expressions,
    Rationals as Rationals,
)
from .rings.multidual import NilpotentModular as NilpotentModular
from .symbolic import SymbolicMap as SymbolicMap, symbolic_map as symbolic_map
