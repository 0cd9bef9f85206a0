"""Reductions: smaller dynamics with the condition under which they give the same $z(t)$. One closed form a file."""

from .base import AbstractReduction as AbstractReduction, Condition as Condition
from .linear.balanced import BalancedFlow as BalancedFlow
from .linear.gram import GramFlow as GramFlow
from .select import reduce as reduce
