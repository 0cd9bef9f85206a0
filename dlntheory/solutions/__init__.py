"""Closed forms: $z(t)$ or its modes as formulas in stable form, with the conditions under which they hold."""

from .base import AbstractSolution as AbstractSolution
from .commuting_sensing import CommutingSensing as CommutingSensing, largest_commutator as largest_commutator
from .depth_modes import (
    depth_mode as depth_mode,
    depth_mode_time as depth_mode_time,
    learning_time as learning_time,
    next_mode as next_mode,
)
from .diagonal_networks import (
    DiagonalSolution as DiagonalSolution,
    InterpolationLimit as InterpolationLimit,
    hyperbolic_potential as hyperbolic_potential,
    interpolation_limit as interpolation_limit,
    powers_from_dual as powers_from_dual,
    squares_from_dual as squares_from_dual,
)
from .limit_points import (
    LimitPoint as LimitPoint,
    limit_point as limit_point,
)
from .neuron_limit import neuron_interpolation as neuron_interpolation, neuron_potential as neuron_potential
from .neuron_solution import (
    NeuronSolution as NeuronSolution,
    neuron as neuron,
    neuron_branch as neuron_branch,
    second_layer_squared as second_layer_squared,
)
from .riccati_solution import RiccatiSolution as RiccatiSolution, riccati_gram as riccati_gram
from .two_layer_modes import (
    balanced_mode as balanced_mode,
    balanced_mode_time as balanced_mode_time,
    infinite_depth_mode as infinite_depth_mode,
    scalar_network as scalar_network,
    unbalanced_mode as unbalanced_mode,
    wright_omega as wright_omega,
)
from .whitened_problem import WhitenedProblem as WhitenedProblem
from .wide_networks import wide_product as wide_product
