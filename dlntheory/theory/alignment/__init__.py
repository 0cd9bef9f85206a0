"""Separable data: layers align, the predictor turns to the maximum margin, in logarithmic time.

References:
    [ji2019gradient].
"""

from .admissible_starts import (
    StartWarning as StartWarning,
    admissible as admissible,
    admissible_start as admissible_start,
    is_admissible as is_admissible,
)
from .alignment_rates import (
    Rate as Rate,
    Rates as Rates,
    fitted_rates as fitted_rates,
    limit_constants as limit_constants,
    predicted_exponents as predicted_exponents,
)
from .bounds import AlignmentBounds as AlignmentBounds, alignment_bounds as alignment_bounds
from .log_time_flow import AlignmentRun as AlignmentRun, log_time_flow as log_time_flow
from .max_margin import InseparableError as InseparableError, MaxMargin as MaxMargin, max_margin as max_margin
from .observables import AlignmentObservables as AlignmentObservables
from .problem import SeparableProblem as SeparableProblem
from .report import (
    AlignmentReport as AlignmentReport,
    Finding as Finding,
    Outcome as Outcome,
    alignment_report as alignment_report,
)
from .risk_time import clock_disagreement as clock_disagreement
from .separable_descent import RULES as RULES, DescentRun as DescentRun, gradient_descent as gradient_descent
from .smoothness import (
    largest_hessian_norm as largest_hessian_norm,
    published_smoothness as published_smoothness,
    risk_smoothness as risk_smoothness,
    sharper_smoothness as sharper_smoothness,
)
