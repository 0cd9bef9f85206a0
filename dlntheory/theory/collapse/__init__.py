"""Progressive collapse: how the spread within classes falls, layer by layer, against the spread between them."""

from .metrics import (
    collapse_at_inputs as collapse_at_inputs,
    collapse_metrics as collapse_metrics,
    collapse_slope as collapse_slope,
)
