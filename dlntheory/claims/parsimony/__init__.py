"""Claims on the law of parsimony: invariant subspaces, exact compression, collapse, completion."""

from .structure import (
    parsimony_block_structure as parsimony_block_structure,
    parsimony_exact_compression as parsimony_exact_compression,
    parsimony_naive_error as parsimony_naive_error,
    parsimony_rho_closed_form as parsimony_rho_closed_form,
    parsimony_rho_imbalance as parsimony_rho_imbalance,
)
from .subspaces import (
    parsimony_aligned_wide as parsimony_aligned_wide,
    parsimony_closure_dimensions as parsimony_closure_dimensions,
    parsimony_general_closure as parsimony_general_closure,
    parsimony_leakage_linear as parsimony_leakage_linear,
    parsimony_spiked_covariance as parsimony_spiked_covariance,
)
from .training import (
    parsimony_adam_leaks as parsimony_adam_leaks,
    parsimony_collapse_at_inputs as parsimony_collapse_at_inputs,
    parsimony_collapse_deep as parsimony_collapse_deep,
    parsimony_collapse_slope as parsimony_collapse_slope,
    parsimony_completion_discrepant as parsimony_completion_discrepant,
    parsimony_completion_full as parsimony_completion_full,
    parsimony_digits as parsimony_digits,
    parsimony_flow_compression as parsimony_flow_compression,
    parsimony_momentum_exact as parsimony_momentum_exact,
)
