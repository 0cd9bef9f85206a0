"""Saddle-to-saddle dynamics: distances at the start, escape times, plateaus, greedy low-rank paths.

References:
    [jacot2021saddle].
"""

from .bottleneck import (
    bottleneck_law as bottleneck_law,
    bottleneck_slope as bottleneck_slope,
    bottleneck_time as bottleneck_time,
)
from .chain_inputs import LeadingPair as LeadingPair, leading_pair as leading_pair
from .closest_approach import (
    ApproachStudy as ApproachStudy,
    approach_exponent as approach_exponent,
    approach_study as approach_study,
    closest_approach as closest_approach,
    closest_approach_of_modes as closest_approach_of_modes,
)
from .completion import (
    CompletionProblem as CompletionProblem,
    CompletionStudy as CompletionStudy,
    completion_problem as completion_problem,
    completion_study as completion_study,
)
from .discriminant import (
    DiscriminantCost as DiscriminantCost,
    DiscriminantRun as DiscriminantRun,
    balanced_entries as balanced_entries,
    discriminant_flow as discriminant_flow,
)
from .distances import (
    Distances as Distances,
    Projection as Projection,
    distances as distances,
    nearest_minimum as nearest_minimum,
    nearest_saddle as nearest_saddle,
    project_fibre as project_fibre,
)
from .escape import (
    EscapeDirection as EscapeDirection,
    EscapeFlow as EscapeFlow,
    EscapeTime as EscapeTime,
    escape_direction as escape_direction,
    escape_time as escape_time,
    measured_half_time as measured_half_time,
    second_constant as second_constant,
)
from .greedy_path import (
    GreedyPath as GreedyPath,
    GreedyPoint as GreedyPoint,
    greedy_low_rank as greedy_low_rank,
    matched_distances as matched_distances,
)
from .norm_imbalance import ImbalanceRates as ImbalanceRates, imbalance_rates as imbalance_rates
from .path_integration import (
    ModeReaches as ModeReaches,
    PathRun as PathRun,
    StiffCostWarning as StiffCostWarning,
    estimated_steps as estimated_steps,
    follow_path as follow_path,
)
from .phase_transition import (
    PhaseTransition as PhaseTransition,
    PredictedDistance as PredictedDistance,
    phase_transition as phase_transition,
    predicted_minimum as predicted_minimum,
    predicted_saddle as predicted_saddle,
)
from .plateaus import (
    CONJECTURE as CONJECTURE,
    Plateau as Plateau,
    Plateaus as Plateaus,
    plateaus as plateaus,
)
