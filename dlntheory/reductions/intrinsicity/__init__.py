"""Can training be written in $z$ alone? The kernel criterion, exactly and in floats, and what follows from it.

References:
    [marcotte2026intrinsic]; [meurer2017sympy]; [flint2025fast].
"""

from .fibre_points import Companion as Companion, fibre_companions as fibre_companions
from .intrinsic_decision import intrinsic as intrinsic
from .intrinsicity_result import IntrinsicityResult as IntrinsicityResult
from .two_layer_classification import (
    TwoLayerLevelSet as TwoLayerLevelSet,
    TwoLayerTable as TwoLayerTable,
    two_layer_level_set as two_layer_level_set,
    two_layer_table as two_layer_table,
)
