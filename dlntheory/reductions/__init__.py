"""Reductions: smaller dynamics with the condition under which they give the same $z(t)$. One closed form a file."""

from .base import AbstractReduction as AbstractReduction, Condition as Condition, FormError as FormError
from .chain.balanced import BalancedFlow as BalancedFlow
from .chain.gram_flow import GramFlow as GramFlow
from .chain.infinite_depth import (
    BalancedLimitFlow as BalancedLimitFlow,
    InfiniteDepthFlow as InfiniteDepthFlow,
    near_identity_flow as near_identity_flow,
)
from .chain.mixed import MixedBalancedFlow as MixedBalancedFlow
from .chain.relaxed import RelaxedBalancedFlow as RelaxedBalancedFlow
from .chain.singular_values import SingularValueFlow as SingularValueFlow
from .chain.two_layer_scalar import TwoLayerScalarFlow as TwoLayerScalarFlow
from .closure import ClosedFlow as ClosedFlow, Closure as Closure, find_closure as find_closure
from .entrywise import (
    DiagonalFlow as DiagonalFlow,
    NeuronFlow as NeuronFlow,
    PowersFlow as PowersFlow,
    ScalarChainFlow as ScalarChainFlow,
    SquaresFlow as SquaresFlow,
)
from .intrinsicity import (
    IntrinsicityResult as IntrinsicityResult,
    fibre_companions as fibre_companions,
    intrinsic as intrinsic,
    two_layer_level_set as two_layer_level_set,
    two_layer_table as two_layer_table,
)
from .intrinsicity.fibre_divergence import (
    FibreDivergence as FibreDivergence,
    fibre_divergence as fibre_divergence,
)
from .intrinsicity.implicit_flow import ImplicitFlow as ImplicitFlow
from .intrinsicity.parameter_elimination import (
    Relation as Relation,
    eliminate_parameters as eliminate_parameters,
)
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
)
from .relu import (
    DeepPathFlow as DeepPathFlow,
    ReluSquaredLoss as ReluSquaredLoss,
    TwoLayerPathFlow as TwoLayerPathFlow,
    weights_from_paths_and_laws as weights_from_paths_and_laws,
)
from .select import ReductionReport as ReductionReport, reduce as reduce, try_reductions as try_reductions
