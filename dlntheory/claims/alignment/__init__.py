"""Claims on separable data: layers align, and the predictor turns to the maximum margin."""

from .descent import (
    clocks_agree as clocks_agree,
    descent_monotone as descent_monotone,
    digits_hypothesis_not_met as digits_hypothesis_not_met,
    hessian_bounded as hessian_bounded,
    high_start_made_admissible as high_start_made_admissible,
    inseparable_data_refused as inseparable_data_refused,
    no_span_slows_with_depth as no_span_slows_with_depth,
)
from .flow import (
    aligned_layers_conserved as aligned_layers_conserved,
    alignment_bounded as alignment_bounded,
    alignment_rate as alignment_rate,
    alignment_rate_deep as alignment_rate_deep,
    margin_gap_constant as margin_gap_constant,
    maximum_margin_direction as maximum_margin_direction,
    norm_gap_bounded as norm_gap_bounded,
    predictor_grows_like_log_time as predictor_grows_like_log_time,
    risk_falls_like_time as risk_falls_like_time,
)
