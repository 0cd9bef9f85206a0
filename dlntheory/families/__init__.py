"""Ready-made architectures: each is φ as a plain JAX function of named arrays, with its laws in the docstring.

Every φ here is polynomial or rational, which is what exact verbs need. Where the map in use has a root, as weight
normalisation $g v/\\lVert v \\rVert$ has, φ is a function of it that has none and the same laws.
"""

from .adapters import low_rank_adapter as low_rank_adapter
from .attention import (
    attention as attention,
    linear_attention as linear_attention,
    merged_attention as merged_attention,
)
from .convolutional import (
    convolutional_network as convolutional_network,
    multichannel_network as multichannel_network,
)
from .diagonal import (
    diagonal_network as diagonal_network,
    difference_of_squares as difference_of_squares,
    power_network as power_network,
)
from .gram import (
    difference_of_grams as difference_of_grams,
    gram_factorisation as gram_factorisation,
    quadratic_activation as quadratic_activation,
)
from .linear import linear_network as linear_network
from .mirror import input_convex as input_convex, nonnegative_factorisation as nonnegative_factorisation
from .normalised import scale_invariant as scale_invariant, weight_normalised as weight_normalised
from .registry import FAMILIES as FAMILIES, Family as Family
from .relu import relu_network as relu_network
from .residual import (
    residual_blocks as residual_blocks,
    residual_network as residual_network,
    shortcut_network as shortcut_network,
)
from .shared_weights import (
    recurrent_network as recurrent_network,
    sandwich as sandwich,
    tied_network as tied_network,
)
from .softmax import softmax_output as softmax_output
from .tensors import (
    cp_decomposition as cp_decomposition,
    tensor_train as tensor_train,
    tucker_decomposition as tucker_decomposition,
)
