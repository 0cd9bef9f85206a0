"""Architectures read off models: what a function of parameters and inputs depends on."""

from .reading import Coefficients as Coefficients, from_model as from_model
from .relu import LayerPaths as LayerPaths, ReluLayer as ReluLayer
