"""dlntheory: conservation laws, reduced dynamics and exact solutions for deep linear (and related) networks.

A network's factorisation, written once as an ordinary JAX function, goes in; its laws, the smallest dynamics that its
training obeys, and a numerical check of the one against the other come out. Put
`jax.config.update("jax_enable_x64", True)` before the first computation: nothing here works in float32 silently.
"""

from . import data as data, families as families, solutions as solutions
from ._errors import (
    ConditionError as ConditionError,
    InfeasibleError as InfeasibleError,
    IntegrationError as IntegrationError,
    NoReductionError as NoReductionError,
    NotApplicableError as NotApplicableError,
    PrecisionError as PrecisionError,
    SaddleWarning as SaddleWarning,
    UnsupportedPrimitiveError as UnsupportedPrimitiveError,
)
from ._version import __version__ as __version__
from ._versions import versions as versions
from .architecture import Architecture as Architecture
from .citations import cite as cite
from .claims import verify as verify
from .compare import compare as compare
from .comparison import Comparison as Comparison
from .families.linear import linear_network as linear_network
from .families.relu import relu_network as relu_network
from .from_model import from_model as from_model
from .initial import (
    balanced as balanced,
    gaussian as gaussian,
    lambda_balanced as lambda_balanced,
    mixed_balanced as mixed_balanced,
    near_identity_balanced as near_identity_balanced,
    orthogonal as orthogonal,
    project_to_relaxed_balanced as project_to_relaxed_balanced,
)
from .laws import (
    Certificate as Certificate,
    ConservationLaws as ConservationLaws,
    Law as Law,
    NotConservedError as NotConservedError,
    balance as balance,
    conservation_laws as conservation_laws,
    imbalances as imbalances,
)
from .losses import (
    AbstractLoss as AbstractLoss,
    CrossEntropyLoss as CrossEntropyLoss,
    ExponentialLoss as ExponentialLoss,
    LogisticLoss as LogisticLoss,
    MatrixCompletionLoss as MatrixCompletionLoss,
    SquaredLoss as SquaredLoss,
)
from .reductions import (
    AbstractReduction as AbstractReduction,
    BalancedFlow as BalancedFlow,
    Closure as Closure,
    Condition as Condition,
    GramFlow as GramFlow,
    ImplicitFlow as ImplicitFlow,
    InfiniteDepthFlow as InfiniteDepthFlow,
    IntrinsicityResult as IntrinsicityResult,
    MixedBalancedFlow as MixedBalancedFlow,
    RelaxedBalancedFlow as RelaxedBalancedFlow,
    active_subspaces as active_subspaces,
    compress as compress,
    eliminate_parameters as eliminate_parameters,
    fibre_divergence as fibre_divergence,
    find_closure as find_closure,
    intrinsic as intrinsic,
    kkt_residual as kkt_residual,
    mirror_potential as mirror_potential,
    reduce as reduce,
    try_reductions as try_reductions,
)
from .theory import mean_field as mean_field
from .training import (
    AbstractFlow as AbstractFlow,
    AbstractIteration as AbstractIteration,
    GradientDescent as GradientDescent,
    GradientFlow as GradientFlow,
    LossBelow as LossBelow,
    MirrorFlow as MirrorFlow,
    MomentumFlow as MomentumFlow,
    SteadyState as SteadyState,
    Training as Training,
    Trajectory as Trajectory,
    iterate as iterate,
    log_times as log_times,
    solve as solve,
)
