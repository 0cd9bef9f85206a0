r"""`latex_name`: the one way in which the name of a factor, or of an entry of it, is written in LaTeX."""

from __future__ import annotations

import re

from sympy.printing.latex import translate

from .text import latex_escaped

_FORM = re.compile(r"(?P<stem>.*?)_?(?P<number>\d+)?(?P<prime>')?")


def latex_name(name: str, index: tuple[int | str, ...] | None = None) -> str:
    r"""The name of a factor in LaTeX: letters in italics, words upright, numbers below, Greek names as such.

    The number of a layer and the index of an entry never share one subscript: $W_1$ has the entries $(W_1)_{1,2}$.

    Args:
        name: a name or key path; `"W1"` is $W_{1}$, `"Wq"` $W_{q}$... is not guessed: words stay words. A trailing
            `'` is a velocity (a dot), brackets are slices (`"Q[0]"` is $Q_{[0]}$).
        index: zero-based index of an entry, shown one-based; strings are shown as they are.

    Example:
        >>> latex_name("W1"), latex_name("W1", (0, 1)), latex_name("lambda"), latex_name("block/Wq")
        ('W_{1}', '(W_{1})_{1,2}', '\\lambda', '\\mathrm{block/Wq}')
    """
    outer, bracket, inside = name.partition("[")
    match = _FORM.fullmatch(outer)
    assert match is not None  # the pattern matches every text
    stem, number, prime = match["stem"], match["number"] or "", match["prime"]
    if not stem:
        stem, number = number, ""
    base = translate(stem) if stem.isalnum() else stem
    if base == stem and (len(stem) > 1 or not stem.isalnum()):
        base = rf"\mathrm{{{latex_escaped(stem)}}}"
    if prime:
        base = rf"\dot{{{base}}}"
    below = [number] if number else []
    if bracket:
        below.append("[" + inside.rstrip("]").replace(":", r"\cdot") + "]")
    text = base + (f"_{{{','.join(below)}}}" if below else "")
    if not index:
        return text
    entries = ",".join(str(i + 1) if isinstance(i, int) else str(i) for i in index)
    return f"({text})_{{{entries}}}" if below else f"{text}_{{{entries}}}"
