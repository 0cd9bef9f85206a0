"""Conservation laws: finding them, proving that none is missing, and measuring them."""

from .balancedness import Balance as Balance, balance as balance, imbalances as imbalances
