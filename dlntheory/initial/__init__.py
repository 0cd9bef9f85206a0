"""Initialisations: Gaussian, orthogonal, balanced, λ-balanced; every draw from an explicit key."""

from .balance import balanced as balanced, lambda_balanced as lambda_balanced
from .independent import gaussian as gaussian, orthogonal as orthogonal
