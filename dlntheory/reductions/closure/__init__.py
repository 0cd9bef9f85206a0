"""Automatic closure: observables of an architecture that obey closed equations, found by algebra.

References:
    [marcotte2026intrinsic]; [meurer2017sympy]; [flint2025fast].
"""

from .automatic_closure import find_closure as find_closure
from .closed_flow import ClosedFlow as ClosedFlow
from .closed_system import Observable as Observable, ObservableLaw as ObservableLaw
from .closure_result import Closure as Closure, Sizes as Sizes
from .observable_ranks import Ranks as Ranks
from .search_outcome import ClosureAttempt as ClosureAttempt
