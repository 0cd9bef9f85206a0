"""Short names for observables, and identifiers for generated code."""

from __future__ import annotations

import itertools
import keyword
from collections.abc import Collection, Iterator, Sequence

_LETTERS = "ABCDEFHJKLMNPQRSTUVWXY"
#: Names that generated modules use themselves.
_RESERVED = frozenset(
    {"jnp", "jax", "initial", "output", "velocity", "theta", "state", "grad_f", "t", "g", "flat", "grad"}
)


def observable_names(of_z: int, others: int, taken: Collection[str]) -> list[str]:
    """`Z` (or `Z1`, `Z2`, …) for what belongs to $z$, then `A`, `B`, …; no name of a parameter."""
    if of_z == 1 and "Z" not in taken:
        first = ["Z"]
    else:
        first = list(itertools.islice((n for n in _numbered("Z") if n not in taken), of_z))
    # G is the gradient and I the identity.
    free = (name for name in _candidates() if name not in taken)
    return first + list(itertools.islice(free, others))


def identifiers(names: Sequence[str], taken: Collection[str] = ()) -> dict[str, str]:
    """A distinct Python identifier for each name, the name itself where that is one."""
    found: dict[str, str] = {}
    used = set(taken) | _RESERVED
    for number, name in enumerate(names):
        plain = "".join(
            character if character.isascii() and character.isalnum() else "_" for character in name
        ).strip("_")
        if not plain.isidentifier() or keyword.iskeyword(plain):
            plain = f"m{number}"
        while plain in used:
            plain += "_"
        used.add(plain)
        found[name] = plain
    return found


def _numbered(letter: str) -> Iterator[str]:
    return (f"{letter}{number}" for number in itertools.count(1))


def _candidates() -> Iterator[str]:
    yield from _LETTERS
    for number in itertools.count(1):
        for letter in _LETTERS:
            yield f"{letter}{number}"
