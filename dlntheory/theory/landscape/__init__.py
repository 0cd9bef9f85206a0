"""The loss landscape of deep linear networks on whitened data: weight decay, spectra, critical points.

References:
    [baldi1989neural]; [kawaguchi2016deep].
"""

from .critical import (
    CriticalPoint as CriticalPoint,
    critical_points as critical_points,
    reduced_rank_minimum as reduced_rank_minimum,
)
from .decay import (
    DecayThresholds as DecayThresholds,
    decay_thresholds as decay_thresholds,
    decayed_mode as decayed_mode,
    least_weight_norm as least_weight_norm,
)
from .spectra import (
    hessian_spectrum as hessian_spectrum,
    ntk_spectrum as ntk_spectrum,
    sharpness as sharpness,
)
from .whitened import WhitenedLandscape as WhitenedLandscape
