"""Data sets: real ones through scikit-learn, synthetic ones from an explicit key."""

from .dataset import Dataset as Dataset
from .real import diabetes as diabetes, digits as digits, iris as iris, wine as wine
from .separable import blobs as blobs, digit_pair as digit_pair, simplex_margin as simplex_margin
from .synthetic import (
    linear_teacher as linear_teacher,
    low_rank_target as low_rank_target,
    power_law as power_law,
    whitened_gaussian as whitened_gaussian,
)
