"""What is refused, and what is said: every size by the name of its argument."""

import numpy as np
import pytest

from dlntheory import families as c

POSITIVE = "must be a positive integer, but is"
BAD = {
    "linear, one width": (lambda: c.linear_network((3,)), "`widths` must be at least two .* but is \\(3,\\)"),
    "linear, zero": (lambda: c.linear_network((3, 0, 2)), "`widths` .* with 0 at position 1"),
    "linear, float": (lambda: c.linear_network((3, 2.0)), "`widths` .* with 2.0 at position 1"),
    "linear, bool": (lambda: c.linear_network((3, True)), "`widths` .* with True at position 1"),
    "linear, number": (lambda: c.linear_network(3), "`widths` must be at least two .* but is 3"),
    "linear, text": (lambda: c.linear_network("34"), "`widths` must be at least two .* but is '34'"),
    "residual, width": (lambda: c.residual_network(0, 2), f"`width` {POSITIVE} 0"),
    "residual, depth": (lambda: c.residual_network(2, 0), f"`depth` {POSITIVE} 0"),
    "blocks": (lambda: c.residual_blocks(2, ()), "`hidden` must be at least one .* but is \\(\\)"),
    "shortcut": (lambda: c.shortcut_network(2, -1, 2), f"`hidden` {POSITIVE} -1"),
    "tied": (lambda: c.tied_network(2, 1.5), f"`power` {POSITIVE} 1.5"),
    "sandwich": (lambda: c.sandwich(2, 2, 0), f"`outputs` {POSITIVE} 0"),
    "recurrent": (lambda: c.recurrent_network(1, 1, 1, steps=0), f"`steps` {POSITIVE} 0"),
    "gram": (lambda: c.gram_factorisation(0, 2), f"`rank` {POSITIVE} 0"),
    "grams": (lambda: c.difference_of_grams(0, 2), f"`size` {POSITIVE} 0"),
    "quadratic": (lambda: c.quadratic_activation(2, 0), f"`hidden` {POSITIVE} 0"),
    "diagonal": (lambda: c.diagonal_network(2, "3"), f"`depth` {POSITIVE} '3'"),
    "squares": (lambda: c.difference_of_squares(0), f"`width` {POSITIVE} 0"),
    "power": (lambda: c.power_network(2, 0), f"`power` {POSITIVE} 0"),
    "convolution, none": (
        lambda: c.convolutional_network(()),
        "`filters` must be at least one .* but is \\(\\)",
    ),
    "convolution, long": (
        lambda: c.convolutional_network((2, 5), 4),
        "`filters` must be no longer than `length`, but is \\(2, 5\\) with length 4",
    ),
    "convolution, length": (lambda: c.convolutional_network((2, 2), 0), f"`length` {POSITIVE} 0"),
    "multichannel, channels": (lambda: c.multichannel_network((2,), 2), "`channels` must be at least two"),
    "multichannel, taps": (
        lambda: c.multichannel_network((2, 2), (2, 2)),
        "`taps` must be one length or one for each of 1 layers, but is \\(2, 2\\)",
    ),
    "adapter, rank": (lambda: c.low_rank_adapter((2, 2), 0), f"`rank` {POSITIVE} 0"),
    "adapter, shape": (
        lambda: c.low_rank_adapter((2, 2), 1, frozen=[np.ones((2, 3))]),
        "`frozen` must be matrices of shapes \\[\\(2, 2\\)\\], but has shapes \\[\\(2, 3\\)\\]",
    ),
    "adapter, nan": (
        lambda: c.low_rank_adapter((1, 1), 1, frozen=[[[np.nan]]]),
        "`frozen\\[0\\]` must be finite, but 1 of 1 entries",
    ),
    "attention": (lambda: c.attention(2, 0), f"`head` {POSITIVE} 0"),
    "linear attention": (lambda: c.linear_attention(0, 1), f"`dimension` {POSITIVE} 0"),
    "merged attention": (lambda: c.merged_attention(2, 0), f"`heads` {POSITIVE} 0"),
    "CP": (lambda: c.cp_decomposition((2, 2), 0), f"`rank` {POSITIVE} 0"),
    "CP, order": (
        lambda: c.cp_decomposition((1,) * 13, 1),
        "`shape` must have at most 12 entries, but has 13",
    ),
    "Tucker": (
        lambda: c.tucker_decomposition((2, 2), (1,)),
        "`ranks` must be 2 integers as `shape` is, but is \\(1,\\)",
    ),
    "tensor train": (
        lambda: c.tensor_train((2, 2), (1, 1)),
        "`ranks` must be 1 integers, one less than `shape`, but is \\(1, 1\\)",
    ),
    "softmax": (
        lambda: c.softmax_output((2, 1)),
        "`widths` must end in at least two classes, but is \\(2, 1\\)",
    ),
    "weight normalised, inputs": (lambda: c.weight_normalised(0, 2), f"`inputs` {POSITIVE} 0"),
    "weight normalised, neurons": (lambda: c.weight_normalised(2, 1.5), f"`neurons` {POSITIVE} 1.5"),
    "scale invariant": (lambda: c.scale_invariant(1), "`size` must be an integer of at least 2, but is 1"),
    "ReLU": (lambda: c.relu_network((2, 0, 1)), "`widths` .* with 0 at position 1"),
    "ReLU, paths": (
        lambda: c.relu_network((64, 64, 64, 64)),
        "`widths` must give at most 1000000 paths, but \\(64, 64, 64, 64\\) gives 16777216",
    ),
    "non-negative": (lambda: c.nonnegative_factorisation(2, 2, 0), f"`columns` {POSITIVE} 0"),
    "input-convex": (lambda: c.input_convex(2, 2, 0), f"`inputs` {POSITIVE} 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_refusals(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=f"^Argument {message}"):
        call()


def test_sizes_may_be_any_integers():
    arch = c.linear_network(np.array([3, 4, 2]))
    assert arch.shapes == {"W1": (4, 3), "W2": (2, 4)}
    assert c.diagonal_network(np.int64(2), np.int32(3)).size == 6


@pytest.mark.parametrize("bias", [False, True])
def test_path_count(bias):
    arch = c.relu_network((4, 2, 3, 2), bias)
    assert int(np.prod(arch.output_shape)) == c.relu.path_count((4, 2, 3, 2), bias)
