"""Claims of the mean-field theory."""

from .anchors import (
    mean_field_ensemble_at_infinite_width as mean_field_ensemble_at_infinite_width,
    mean_field_gradient_flow_order as mean_field_gradient_flow_order,
    mean_field_infinite_one_layer as mean_field_infinite_one_layer,
    mean_field_initial_error as mean_field_initial_error,
    mean_field_lazy_finite_data as mean_field_lazy_finite_data,
    mean_field_lazy_finite_width as mean_field_lazy_finite_width,
    mean_field_least_squares_floor as mean_field_least_squares_floor,
    mean_field_minibatches_to_one_pass as mean_field_minibatches_to_one_pass,
    mean_field_rank_one_exponent as mean_field_rank_one_exponent,
    mean_field_rich_exponent as mean_field_rich_exponent,
)
from .studies import (
    mean_field_depth_limit as mean_field_depth_limit,
    mean_field_equals_finite_networks as mean_field_equals_finite_networks,
    mean_field_error_one_over_size as mean_field_error_one_over_size,
    mean_field_large_networks as mean_field_large_networks,
    mean_field_rate_transfer_depth as mean_field_rate_transfer_depth,
    mean_field_rate_transfer_width as mean_field_rate_transfer_width,
    mean_field_train_below_test as mean_field_train_below_test,
    mean_field_wider_is_better as mean_field_wider_is_better,
)
