"""Geometry of balanced weights: how many weights realise one product, and what noise makes of it.

References:
    [menon2024geometry]; [menon2025entropy].
"""

from .entropy import (
    entropy as entropy,
    entropy_gradient as entropy_gradient,
    log_fibre_volume as log_fibre_volume,
    log_orthogonal_volume as log_orthogonal_volume,
)
from .free_energy import FreeEnergy as FreeEnergy, mean_curvature as mean_curvature
from .langevin import (
    LangevinReport as LangevinReport,
    matrix_langevin as matrix_langevin,
    scalar_langevin as scalar_langevin,
)
from .measures import (
    REFERENCES as REFERENCES,
    MeasureReport as MeasureReport,
    equilibrium_measures as equilibrium_measures,
    log_density_factor as log_density_factor,
)
from .metric import log_metric_density as log_metric_density, metric_operator as metric_operator
