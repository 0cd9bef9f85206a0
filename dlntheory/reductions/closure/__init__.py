"""Automatic closure: observables of an architecture that obey closed equations, found by algebra."""

from .find import close as close
from .flow import ClosedFlow as ClosedFlow
from .ranks import Ranks as Ranks
from .relations import ObservableLaw as ObservableLaw
from .result import Attempt as Attempt, Closure as Closure, Sizes as Sizes
from .system import Observable as Observable
