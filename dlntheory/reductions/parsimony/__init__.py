"""Invariant subspaces of training: exact compression of deep linear networks, and completion by the same idea.

References:
    [yaras2023law].
"""

from .active_subspaces import ActiveSubspaces as ActiveSubspaces, active_subspaces as active_subspaces
from .aligned_starts import aligned_orthogonal as aligned_orthogonal
from .compressed_descent import CompressedDescent as CompressedDescent, descent as descent
from .compressed_flow import CompressedFlow as CompressedFlow, compress as compress
from .matrix_completion import Completion as Completion, complete as complete
from .observed_entries import ObservedEntries as ObservedEntries
from .residual_scalars import rho_descent as rho_descent, rho_flow as rho_flow
