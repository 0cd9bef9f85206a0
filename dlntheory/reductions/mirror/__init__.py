"""Mirror structure: when the reduced flow is a mirror flow, its potential, and where such a flow ends.

References:
    [li2022implicit].
"""

from .commuting_fields import (
    BracketTest as BracketTest,
    commuting_test as commuting_test,
    symmetry_defect as symmetry_defect,
)
from .kkt_condition import BiasReport as BiasReport, kkt_residual as kkt_residual
from .mirror_potentials import (
    AbstractPotential as AbstractPotential,
    MirrorPotential as MirrorPotential,
    WarpedPotential as WarpedPotential,
)
from .potential_search import NoPotential as NoPotential, mirror_potential as mirror_potential
