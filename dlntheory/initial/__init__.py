"""Initialisations: Gaussian, orthogonal, balanced, λ-balanced; every draw from an explicit key."""

from .balance import balanced as balanced, lambda_balanced as lambda_balanced
from .free_directions import free_square as free_square
from .independent import gaussian as gaussian, orthogonal as orthogonal
from .level_sets import (
    mixed_balanced as mixed_balanced,
    project_to_relaxed_balanced as project_to_relaxed_balanced,
)
from .near_identity import (
    near_identity as near_identity,
    near_identity_balanced as near_identity_balanced,
    near_identity_product as near_identity_product,
)
