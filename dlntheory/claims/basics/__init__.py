"""The first claims: what every later one rests on."""

from .imbalances import (
    balancedness_conserved as balancedness_conserved,
    gd_drift_identity as gd_drift_identity,
    lambda_balance_refused as lambda_balance_refused,
    weight_decay_imbalance as weight_decay_imbalance,
)
from .minima import (
    determinant_trap as determinant_trap,
    stability_edge as stability_edge,
)
from .reductions import (
    balanced_end_to_end_bottleneck as balanced_end_to_end_bottleneck,
    balanced_end_to_end_digits as balanced_end_to_end_digits,
    balanced_layer_rates as balanced_layer_rates,
    gram_closure as gram_closure,
)
