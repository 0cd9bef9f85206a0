"""Ready-made families of architectures, one family a file."""

from .linear import linear_network as linear_network
