"""Losses $f(z)$ of the end-to-end map: what the flows minimise, and the one source of their factors."""

from .base import AbstractLoss as AbstractLoss
from .classification import (
    CrossEntropyLoss as CrossEntropyLoss,
    ExponentialLoss as ExponentialLoss,
    LogisticLoss as LogisticLoss,
)
from .completion import MatrixCompletionLoss as MatrixCompletionLoss
from .per_sample import SampleLoss as SampleLoss
from .squared import SquaredLoss as SquaredLoss
