"""Automatic closure: observables of an architecture that obey closed equations, found by algebra.

References:
    [marcotte2026intrinsic]; [meurer2017sympy]; [flint2025fast].
"""

from .closed_flow import ClosedFlow as ClosedFlow
from .closed_system import Observable as Observable, ObservableLaw as ObservableLaw
from .closure_result import Closure as Closure, ClosureAttempt as ClosureAttempt, Sizes as Sizes
from .closure_search import find_closure as find_closure
from .observable_ranks import Ranks as Ranks
