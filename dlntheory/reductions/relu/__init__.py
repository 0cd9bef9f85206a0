"""ReLU networks in their path products: the products of weights along all paths from inputs and biases to outputs."""

from .activations import ReluSquaredLoss as ReluSquaredLoss
from .deep import DeepPathFlow as DeepPathFlow
from .path_lifting import TwoLayerPathFlow as TwoLayerPathFlow
from .recovery import (
    rescaling_to_laws as rescaling_to_laws,
    weights_from_paths as weights_from_paths,
    weights_from_paths_and_laws as weights_from_paths_and_laws,
)
