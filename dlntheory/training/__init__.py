"""Training rules, and the two verbs that run them. diffrax is imported in this package only.

References:
    [bradbury2018jax].
"""

from .base import (
    AbstractFlow as AbstractFlow,
    AbstractIteration as AbstractIteration,
    AbstractTrainingRule as AbstractTrainingRule,
    Limit as Limit,
    State as State,
)
from .events import (
    AbstractEvent as AbstractEvent,
    LossBelow as LossBelow,
    SteadyState as SteadyState,
    StopFunction as StopFunction,
)
from .iterate import iterate as iterate
from .law_change import LawChange as LawChange
from .rules.adam import Adam as Adam
from .rules.alternating_descent import AlternatingDescent as AlternatingDescent
from .rules.cayley_descent import CayleyDescent as CayleyDescent
from .rules.descent import AbstractDescent as AbstractDescent
from .rules.gradient_descent import GradientDescent as GradientDescent
from .rules.gradient_flow import GradientFlow as GradientFlow
from .rules.heavy_ball import HeavyBall as HeavyBall
from .rules.implicit_midpoint import ImplicitMidpoint as ImplicitMidpoint
from .rules.mirror_descent import MirrorDescent as MirrorDescent
from .rules.mirror_flow import MirrorFlow as MirrorFlow
from .rules.modified_flow import ModifiedFlow as ModifiedFlow
from .rules.momentum_flow import MomentumFlow as MomentumFlow
from .rules.muon import Muon as Muon
from .rules.nesterov import Nesterov as Nesterov
from .rules.optax_descent import OptaxDescent as OptaxDescent
from .rules.sharpness_aware import SharpnessAwareDescent as SharpnessAwareDescent
from .rules.sign_descent import SignDescent as SignDescent
from .rules.stochastic_gradient_descent import StochasticGradientDescent as StochasticGradientDescent
from .rules.stochastic_gradient_flow import (
    EulerMaruyama as EulerMaruyama,
    StochasticGradientFlow as StochasticGradientFlow,
)
from .save_times import log_times as log_times
from .settings import Settings as Settings, Training as Training
from .solve import solve as solve
from .states_at import states_at as states_at
from .stats import Stats as Stats
from .trajectory import Trajectory as Trajectory
