"""Reductions of networks that act entry by entry, and of single neurons: closed forms in $z$ alone, one a file."""

from .chain import ScalarChainFlow as ScalarChainFlow
from .diagonal import DiagonalFlow as DiagonalFlow
from .neuron import NeuronFlow as NeuronFlow
from .powers import PowersFlow as PowersFlow
from .recognise import factor_roles as factor_roles
from .squares import SquaresFlow as SquaresFlow
