"""Claims on exact solutions: modes, Riccati, neurons, diagonal networks, geometry, landscape."""

from .diagonal import (
    commuting_sensing as commuting_sensing,
    diagonal_least_l1 as diagonal_least_l1,
    diagonal_sinh_and_dual_limit as diagonal_sinh_and_dual_limit,
    greedy_closest_approach as greedy_closest_approach,
)
from .geometry import (
    equilibrium_reference_measures as equilibrium_reference_measures,
    fibre_mean_curvature as fibre_mean_curvature,
    fibre_volume as fibre_volume,
    langevin_equilibrium_scalar as langevin_equilibrium_scalar,
    langevin_equilibrium_two_by_two as langevin_equilibrium_two_by_two,
    submersion_metric as submersion_metric,
)
from .landscape import (
    cayley_step_keeps_imbalance as cayley_step_keeps_imbalance,
    critical_points_strict_saddles as critical_points_strict_saddles,
    decay_threshold as decay_threshold,
    hessian_spectrum_bottleneck as hessian_spectrum_bottleneck,
    least_norm as least_norm,
    no_spurious_minima as no_spurious_minima,
    ntk_spectrum_empty_directions as ntk_spectrum_empty_directions,
    stability_edge_of_descent as stability_edge_of_descent,
)
from .modes import (
    incremental_learning as incremental_learning,
    infinite_width as infinite_width,
    mode_any_width as mode_any_width,
    mode_depth_time as mode_depth_time,
    mode_infinite_depth as mode_infinite_depth,
    mode_two_balanced_layers as mode_two_balanced_layers,
    mode_unbalanced_layers as mode_unbalanced_layers,
)
from .solutions import (
    kernel_movement_lazy as kernel_movement_lazy,
    neuron_both_weights as neuron_both_weights,
    neuron_branch_decides as neuron_branch_decides,
    neuron_mirror_limit as neuron_mirror_limit,
    riccati_saddle_verdict as riccati_saddle_verdict,
    riccati_solution as riccati_solution,
    riccati_stable_form as riccati_stable_form,
    riccati_weight_decay as riccati_weight_decay,
)
