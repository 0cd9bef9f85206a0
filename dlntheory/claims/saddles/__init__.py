"""Claims on saddle-to-saddle dynamics: distances at the start, escape, plateaus, greedy paths."""

from .distances import (
    completion_by_depth as completion_by_depth,
    completion_two_layers as completion_two_layers,
    minimum_distance_exponent as minimum_distance_exponent,
    minimum_distance_limit as minimum_distance_limit,
    minimum_distance_rich as minimum_distance_rich,
    saddle_distance_exponent as saddle_distance_exponent,
    width_exponent_range as width_exponent_range,
)
from .paths import (
    bottleneck_depth as bottleneck_depth,
    closest_approach_three_layers as closest_approach_three_layers,
    closest_approach_two_layers as closest_approach_two_layers,
    degenerate_pair_flagged as degenerate_pair_flagged,
    discriminant_quasi_norm as discriminant_quasi_norm,
    escape_direction_claim as escape_direction_claim,
    escape_time_two_constants as escape_time_two_constants,
    escape_time_two_layers as escape_time_two_layers,
    greedy_losses as greedy_losses,
    norm_imbalance_identity as norm_imbalance_identity,
    plateau_ranks_two_layers as plateau_ranks_two_layers,
    plateaus_in_order as plateaus_in_order,
    width_k_description as width_k_description,
)
