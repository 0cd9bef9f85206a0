"""Flows and iterations, and the two verbs that run them. diffrax is imported in this room only.

References:
    [bradbury2018jax].
"""

from .base import AbstractDynamics as AbstractDynamics, Limit as Limit, State as State, Training as Training
from .events import AbstractEvent as AbstractEvent, LossBelow as LossBelow, SteadyState as SteadyState
from .iterate import iterate as iterate
from .rules.gradient_descent import AbstractIteration as AbstractIteration, GradientDescent as GradientDescent
from .rules.gradient_flow import GradientFlow as GradientFlow
from .rules.invariant_steps import (
    CayleyDescent as CayleyDescent,
    ImplicitMidpoint as ImplicitMidpoint,
    ModifiedFlow as ModifiedFlow,
    imbalance_drift as imbalance_drift,
)
from .rules.momentum_flow import MirrorFlow as MirrorFlow, MomentumFlow as MomentumFlow
from .save_times import log_times as log_times
from .solve import solve as solve
from .trajectory import Stats as Stats, Trajectory as Trajectory
