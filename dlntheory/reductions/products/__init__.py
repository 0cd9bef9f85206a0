"""Reductions of φ made of products of two factors: attention, shared queries, tied factors, adapters; one a file."""

from .gram_blocks import GramBlocksFlow as GramBlocksFlow
from .recognise import product_form as product_form
from .relaxed_blocks import RelaxedBlocksFlow as RelaxedBlocksFlow
from .tied import TiedFlow as TiedFlow
