"""Invariant subspaces of training: exact compression of deep linear networks, and completion by the same idea.

References:
    [yaras2023law].
"""

from .completion import Completion as Completion, complete as complete
from .descent import CompressedDescent as CompressedDescent, descent as descent
from .entries import ObservedEntries as ObservedEntries
from .flow import CompressedFlow as CompressedFlow, compress as compress
from .scalars import rho_descent as rho_descent, rho_flow as rho_flow
from .starts import aligned_orthogonal as aligned_orthogonal
from .subspaces import ActiveSubspaces as ActiveSubspaces, active_subspaces as active_subspaces
