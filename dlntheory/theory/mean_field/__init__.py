"""Mean-field dynamics of wide deep linear networks from random initialisation: the exact solution, and its checks.

References:
    [bordelon2025deep].
"""

from .closed_form_limits import (
    infinite_one_layer as infinite_one_layer,
    initial_error as initial_error,
    lazy_finite_data as lazy_finite_data,
    lazy_finite_width as lazy_finite_width,
    least_squares_floor as least_squares_floor,
)
from .comparison import (
    Deviation as Deviation,
    MeanFieldComparison as MeanFieldComparison,
    compare as compare,
)
from .config import MeanFieldConfig as MeanFieldConfig, gamma0_from as gamma0_from
from .finite_networks import FiniteSize as FiniteSize, finite_size as finite_size
from .marchenko_pastur import marchenko_pastur as marchenko_pastur
from .optimiser_memory import memory as memory
from .power_laws import (
    lazy_exponent as lazy_exponent,
    log_slope as log_slope,
    power_law_modes as power_law_modes,
    rich_exponent as rich_exponent,
)
from .rank_one import RankOneRun as RankOneRun, rank_one_flow as rank_one_flow
from .rate_transfer import (
    BestRate as BestRate,
    DivergesError as DivergesError,
    GridEndError as GridEndError,
    RateTransfer as RateTransfer,
    best_rate as best_rate,
    depth_transfer as depth_transfer,
    width_transfer as width_transfer,
)
from .result import MeanFieldResult as MeanFieldResult, TwoTime as TwoTime
from .simulation import Simulation as Simulation, simulate as simulate
from .solver import solve as solve
from .stability import (
    advice as advice,
    largest_curvature as largest_curvature,
    lazy_edge as lazy_edge,
    lazy_kernel as lazy_kernel,
)
from .sweeps import (
    Sweep as Sweep,
    data_modes as data_modes,
    data_sweep as data_sweep,
    depth_deviation as depth_deviation,
    depth_sweep as depth_sweep,
    sweep as sweep,
    width_sweep as width_sweep,
)
