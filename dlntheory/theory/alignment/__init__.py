"""Separable data: layers align, the predictor turns to the maximum margin, in logarithmic time.

References:
    [ji2019gradient].
"""

from .bounds import AlignmentBounds as AlignmentBounds, alignment_bounds as alignment_bounds
from .descent import (
    RULES as RULES,
    DescentRun as DescentRun,
    gradient_descent as gradient_descent,
)
from .flow import AlignmentRun as AlignmentRun, log_time_flow as log_time_flow
from .observables import AlignmentObservables as AlignmentObservables
from .oracle import InseparableError as InseparableError, MaxMargin as MaxMargin, max_margin as max_margin
from .problem import SeparableProblem as SeparableProblem
from .rates import (
    Rate as Rate,
    Rates as Rates,
    fitted_rates as fitted_rates,
    limit_constants as limit_constants,
    predicted_exponents as predicted_exponents,
)
from .report import (
    AlignmentReport as AlignmentReport,
    Finding as Finding,
    Outcome as Outcome,
    alignment_report as alignment_report,
)
from .risk_clock import clock_disagreement as clock_disagreement
from .smoothness import (
    largest_hessian_norm as largest_hessian_norm,
    published_smoothness as published_smoothness,
    risk_smoothness as risk_smoothness,
    sharper_smoothness as sharper_smoothness,
)
from .starts import (
    StartWarning as StartWarning,
    admissible as admissible,
    admissible_start as admissible_start,
    is_admissible as is_admissible,
)
