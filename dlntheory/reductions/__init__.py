"""Reductions: smaller dynamics with the condition under which they give the same $z(t)$. One closed form a file."""

from .balanced import BalancedFlow as BalancedFlow
from .base import AbstractReduction as AbstractReduction, Condition as Condition
from .gram import GramFlow as GramFlow
from .select import reduce as reduce
