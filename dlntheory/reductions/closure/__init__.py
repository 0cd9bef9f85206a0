"""Automatic closure: observables of an architecture that obey closed equations, found by algebra.

References:
    [marcotte2026intrinsic]; [meurer2017sympy]; [flint2025fast].
"""

from .find import find_closure as find_closure
from .flow import ClosedFlow as ClosedFlow
from .ranks import Ranks as Ranks
from .relations import ObservableLaw as ObservableLaw
from .result import Closure as Closure, ClosureAttempt as ClosureAttempt, Sizes as Sizes
from .system import Observable as Observable
