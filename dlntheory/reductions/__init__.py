"""Reductions: smaller dynamics with the condition under which they give the same $z(t)$. One closed form a file."""

from .base import AbstractReduction as AbstractReduction, Condition as Condition
from .closure import ClosedFlow as ClosedFlow, Closure as Closure, close as close
from .companions import CompanionGap as CompanionGap, companion_gap as companion_gap
from .elimination import Relation as Relation, eliminate as eliminate
from .entrywise import (
    DiagonalFlow as DiagonalFlow,
    NeuronFlow as NeuronFlow,
    PowersFlow as PowersFlow,
    ScalarChainFlow as ScalarChainFlow,
    SquaresFlow as SquaresFlow,
    entrywise_flow as entrywise_flow,
)
from .implicit import ImplicitFlow as ImplicitFlow
from .linear.balanced import BalancedFlow as BalancedFlow
from .linear.balanced_limit import BalancedLimitFlow as BalancedLimitFlow
from .linear.gram import GramFlow as GramFlow
from .linear.infinite_depth import (
    InfiniteDepthFlow as InfiniteDepthFlow,
    near_identity_flow as near_identity_flow,
)
from .linear.mixed import MixedBalancedFlow as MixedBalancedFlow
from .linear.relaxed import RelaxedBalancedFlow as RelaxedBalancedFlow
from .linear.singular_values import SingularValueFlow as SingularValueFlow
from .linear.two_layer_scalar import TwoLayerScalarFlow as TwoLayerScalarFlow
from .mirror import kkt_residual as kkt_residual, mirror_potential as mirror_potential
from .parsimony import (
    CompressedFlow as CompressedFlow,
    active_subspaces as active_subspaces,
    compress as compress,
)
from .products import (
    GramBlocksFlow as GramBlocksFlow,
    RelaxedBlocksFlow as RelaxedBlocksFlow,
    TiedFlow as TiedFlow,
    product_flow as product_flow,
)
from .relu import (
    DeepPathFlow as DeepPathFlow,
    ReluSquaredLoss as ReluSquaredLoss,
    TwoLayerPathFlow as TwoLayerPathFlow,
    weights_from_paths_and_laws as weights_from_paths_and_laws,
)
from .select import Survey as Survey, reduce as reduce, survey as survey
from .verdict import (
    Verdict as Verdict,
    fibre_companions as fibre_companions,
    intrinsic as intrinsic,
    two_layer_level_set as two_layer_level_set,
    two_layer_table as two_layer_table,
)
