"""Architectures read off models: what a function of parameters and inputs depends on."""

from .coefficients import Coefficients as Coefficients, from_model as from_model
from .relu_layers import LayerPaths as LayerPaths, ReluLayer as ReluLayer
