"""Claims on intrinsic dynamics: the verdict, closed forms, limits, mirror structure."""

from .limits import (
    infinite_depth_limit as infinite_depth_limit,
    infinite_depth_operator as infinite_depth_operator,
    path_lifting_deep as path_lifting_deep,
    path_lifting_recoverable as path_lifting_recoverable,
    path_lifting_two_layers as path_lifting_two_layers,
)
from .mirror import (
    bias_of_a_neuron as bias_of_a_neuron,
    bias_of_diagonal_networks as bias_of_diagonal_networks,
    metric_of_a_chain_by_elimination as metric_of_a_chain_by_elimination,
    power_difference_dual_form as power_difference_dual_form,
    scalar_chain_in_z_alone as scalar_chain_in_z_alone,
    shared_query_in_one_gram_matrix as shared_query_in_one_gram_matrix,
    tied_factors_in_z_alone as tied_factors_in_z_alone,
)
from .relaxed import (
    mixed_lazy_balanced as mixed_lazy_balanced,
    mixed_metric_on_fibre as mixed_metric_on_fibre,
    relaxed_balanced_deep as relaxed_balanced_deep,
    relaxed_balanced_necessary as relaxed_balanced_necessary,
    relaxed_balanced_null_block as relaxed_balanced_null_block,
    relaxed_balanced_rank_stratum as relaxed_balanced_rank_stratum,
)
from .verdict import (
    implicit_reduced_flow as implicit_reduced_flow,
    implicit_reduced_flow_everywhere as implicit_reduced_flow_everywhere,
    intrinsic_verdicts as intrinsic_verdicts,
    mixed_metric_kernel as mixed_metric_kernel,
    one_fibre_two_metrics as one_fibre_two_metrics,
    two_layer_level_sets as two_layer_level_sets,
)
