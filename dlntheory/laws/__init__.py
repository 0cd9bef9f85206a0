"""Conservation laws: finding them, proving that none is missing, and measuring them.

References:
    [marcotte2023abide]; [meurer2017sympy]; [flint2025fast].
"""

from .balancedness import Balance as Balance, balance as balance, imbalances as imbalances
from .conservation import ConservationLaws as ConservationLaws, conservation_laws as conservation_laws
from .law import Law as Law
from .proof.certificate import Certificate as Certificate, check as check
from .proof.verification import NotConservedError as NotConservedError
