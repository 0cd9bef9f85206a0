"""What a claim is: one check of one theorem, run where its hypotheses hold and where one of them does not."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from ..citations import in_words
from ..display.text import Prose, card, format_number, key_values
from .curves import Curves

Tier = Literal["quick", "full"]
MAX_ID_LENGTH = 40
MAX_SUMMARY_LENGTH = 110


@dataclass(frozen=True)
class Paper:
    """A source of claims.

    Attributes:
        key: the name on the command line, for example `"mean-field"`.
        title: title of the paper or of the topic.
        source: the work, by its BibTeX key in brackets.
    """

    key: str
    title: str
    source: str

    @property
    def module(self) -> str:
        """Full name of the package or module that holds the claims of this paper; it need not exist yet."""
        return f"{__package__}.{self.key.replace('-', '_')}"


PAPERS: Mapping[str, Paper] = MappingProxyType(
    {
        key: Paper(key, title, source)
        for key, title, source in (
            ("basics", "Gradient flow of deep linear networks: the basics", "[arora2018optimization]"),
            (
                "conservation",
                "Abide by the law and follow the flow: conservation laws for gradient flows",
                "[marcotte2023abide]",
            ),
            ("intrinsic", "Intrinsic training dynamics of deep neural networks", "[marcotte2026intrinsic]"),
            (
                "closure",
                "Automatic closure: the smallest system of observables that training obeys",
                "derived here; setting of [marcotte2026intrinsic]",
            ),
            (
                "exact",
                "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
                "[saxe2014exact]; and later exact solutions",
            ),
            (
                "parsimony",
                "The law of parsimony in gradient descent for learning deep linear networks",
                "[yaras2023law]",
            ),
            ("alignment", "Gradient descent aligns the layers of deep linear networks", "[ji2019gradient]"),
            ("saddles", "Saddle-to-saddle dynamics in deep linear networks", "[jacot2021saddle]"),
            (
                "mean-field",
                "Deep linear network training dynamics from random initialization: data, width, depth, and "
                "hyperparameter transfer",
                "[bordelon2025deep]",
            ),
        )
    }
)


@dataclass(frozen=True)
class Evidence:
    """What one run of a check found. No verdict: the framework alone compares `error` with the tolerance.

    Args:
        predicted: what the theorem says, a number or a short text.
        measured: what the computation gave.
        error: the distance between the two, non-negative, in the unit of the claim's tolerance. A NaN or an
            infinity is accepted here and never passes.
        detail: further words for the report.
        data: further numbers or arrays for the report; stored in its JSON.
        curves: a figure for the report; stored in its JSON.

    Raises:
        TypeError: `predicted`, `measured` or `error` is neither a number nor, where allowed, a text; `curves`
            is no `Curves`.
        ValueError: `error` is negative, which any tolerance would let pass.
    """

    predicted: float | str
    measured: float | str
    error: float
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, compare=False)
    curves: Curves | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        # Checks hand in zero-dimensional JAX arrays; plain numbers hold no device memory.
        for name in ("predicted", "measured"):
            value = getattr(self, name)
            object.__setattr__(self, name, value if isinstance(value, str) else _plain_number(name, value))
        error = float(_plain_number("error", self.error))
        if error < 0:
            raise ValueError(f"Argument `error` must be non-negative, but is {format_number(error)}.")
        object.__setattr__(self, "error", error)
        object.__setattr__(self, "detail", str(self.detail))
        object.__setattr__(self, "data", MappingProxyType(dict(self.data)))
        if self.curves is not None and not isinstance(self.curves, Curves):
            raise TypeError(f"Argument `curves` must be `Curves` or None, but is {self.curves!r}.")

    def __repr__(self) -> str:
        return (
            f"Evidence({', '.join(f'{name} {value}' for name, value in self._facts() if name != 'detail')})"
        )

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card("Evidence", facts=self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        values = ("predicted", "measured", "error")
        facts = [(name, format_number(getattr(self, name), 6)) for name in values]
        return facts + [("detail", self.detail)] * bool(self.detail)


Check = Callable[..., Evidence]


@dataclass(frozen=True, eq=False)
class Claim:
    r"""One theorem with the check that can refute it. Made by the decorator `claim`; run by `verify`.

    The same function `check` is run twice: with `holds`, where every hypothesis is met and the error must be
    within `tolerance`, and with `violated`, the negative control, where one hypothesis is broken and the
    error must be outside. A check that cannot tell the two apart proves nothing and is reported as vacuous.

    Attributes:
        id: short name in lower case with hyphens, unique in the package.
        paper: key of the paper, see `PAPERS`.
        statement: the theorem in LaTeX: prose with `$…$`, or one formula without dollars.
        summary: the same in one line of plain text.
        source: the paper with the number of the statement.
        tolerance: the largest error that counts as agreement.
        tier: `"quick"` claims always run, `"full"` ones on request.
        check: maps keyword arguments to `Evidence`.
        holds: keyword arguments that meet the hypotheses.
        violated: keyword arguments that break one hypothesis.
        control: which hypothesis `violated` breaks, in words.

    Raises:
        ValueError: a field that does not say what it must; the message names claim and field.
    """

    id: str
    paper: str
    statement: str
    summary: str
    source: str
    tolerance: float
    tier: Tier
    check: Check
    holds: Mapping[str, Any]
    violated: Mapping[str, Any]
    control: str

    def __post_init__(self) -> None:
        _check_names(self)
        _check_texts(self)
        _check_tolerance(self)
        _check_arguments(self)
        object.__setattr__(self, "tolerance", float(self.tolerance))
        for name in ("holds", "violated"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def topic(self) -> Paper:
        """The paper itself."""
        return PAPERS[self.paper]

    def __repr__(self) -> str:
        tolerance = format_number(self.tolerance)
        return f"Claim({self.id}, paper={self.paper}, tier={self.tier}, tolerance={tolerance})"

    def __str__(self) -> str:
        return key_values({"claim": self._title(), **self._facts(self.statement)})

    def _repr_html_(self) -> str:
        # A statement is prose with formulas, so it stands in the table, where it can be broken into lines.
        return card(f"Claim {self._title()}", facts=self._facts(Prose(self._repr_latex_())))

    def _repr_latex_(self) -> str:
        return self.statement if "$" in self.statement else f"${self.statement}$"

    def _title(self) -> str:
        return f"{self.id} ({self.paper}, {self.tier})"

    def _facts(self, statement: str) -> dict[str, Any]:
        return {
            "summary": self.summary,
            "statement": statement,
            "source": in_words(self.source),
            "tolerance": self.tolerance,
            "holds": _call_text(self.holds),
            "violated": f"{_call_text(self.violated)}: {self.control}",
        }


# id -> where it was defined: a module that is loaded again may define its own claims again, nobody else may.
_defined_at: dict[str, str] = {}


def claim(
    *,
    id: str,
    paper: str,
    statement: str,
    summary: str,
    source: str,
    tolerance: float,
    holds: Mapping[str, Any],
    violated: Mapping[str, Any],
    control: str,
    tier: Tier = "quick",
) -> Callable[[Check], Claim]:
    r"""Turn a check function into a `Claim`; the arguments are the fields of `Claim`.

    The values in `holds` and `violated` must be hashable (numbers, strings, tuples): they are compared,
    shown, and can key an `lru_cache` where several claims share one expensive computation.

    Raises:
        ValueError: a field is not acceptable, or the id is taken.

    Example:
        >>> @claim(
        ...     id="product-of-orthogonal-matrices",
        ...     paper="basics",
        ...     statement=r"$\|Q_2 Q_1\|_2 = 1$ for orthogonal $Q_1, Q_2$.",
        ...     summary="A product of orthogonal layers has spectral norm one.",
        ...     source="textbook",
        ...     tolerance=1e-12,
        ...     holds={"scale": 1.0},
        ...     violated={"scale": 1.1},
        ...     control="one layer is orthogonal only up to a factor",
        ... )
        ... def product_of_orthogonal_matrices(scale):
        ...     norm = scale * 1.0
        ...     return Evidence(predicted=1.0, measured=norm, error=abs(norm - 1.0))
        >>> product_of_orthogonal_matrices
        Claim(product-of-orthogonal-matrices, paper=basics, tier=quick, tolerance=1e-12)
    """

    def make(check: Check) -> Claim:
        made = Claim(id, paper, statement, summary, source, tolerance, tier, check, holds, violated, control)
        place = f"{check.__module__}.{check.__qualname__}"
        taken = _defined_at.setdefault(id, place)
        if taken != place:
            raise ValueError(f"Argument `id` must be unique, but {id!r} of {place} is taken by {taken}.")
        return made

    return make


def _plain_number(name: str, value: Any) -> float:
    value = value.item() if getattr(value, "size", None) == 1 and hasattr(value, "item") else value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"Argument `{name}` must be a real number, but is {value!r}.")
    return value


def _call_text(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _refuse(claim: Claim, name: str, rule: str, fact: str) -> ValueError:
    return ValueError(f"Argument `{name}` of claim {claim.id!r} must {rule}, but {fact}.")


def _check_names(claim: Claim) -> None:
    if not isinstance(claim.id, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", claim.id):
        raise _refuse(claim, "id", "be lower-case words joined by hyphens", f"is {claim.id!r}")
    if len(claim.id) > MAX_ID_LENGTH:
        raise _refuse(claim, "id", f"have at most {MAX_ID_LENGTH} characters", f"has {len(claim.id)}")
    if claim.paper not in PAPERS:
        fact = f"is {claim.paper!r}"
        raise _refuse(claim, "paper", f"be one of {', '.join(PAPERS)}", fact)
    if claim.tier not in get_args(Tier):
        raise _refuse(claim, "tier", f"be one of {', '.join(get_args(Tier))}", f"is {claim.tier!r}")


def _check_texts(claim: Claim) -> None:
    for name in ("statement", "summary", "source", "control"):
        text = getattr(claim, name)
        if not isinstance(text, str) or not text.strip():
            raise _refuse(claim, name, "be a non-empty text", f"is {text!r}")
    if claim.statement.count("$") % 2:
        raise _refuse(claim, "statement", "have dollar signs in pairs", f"has {claim.statement.count('$')}")
    if "\n" in claim.summary or len(claim.summary) > MAX_SUMMARY_LENGTH:
        rule = f"be one line of at most {MAX_SUMMARY_LENGTH} characters"
        raise _refuse(
            claim, "summary", rule, f"has {len(claim.summary)} in {claim.summary.count(chr(10)) + 1} lines"
        )


def _check_tolerance(claim: Claim) -> None:
    tolerance = claim.tolerance
    is_number = isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool)
    if not is_number or not math.isfinite(tolerance) or tolerance <= 0:
        raise _refuse(claim, "tolerance", "be a positive finite number", f"is {tolerance!r}")


def _check_arguments(claim: Claim) -> None:
    if not callable(claim.check):
        raise _refuse(claim, "check", "be a function that returns `Evidence`", f"is {claim.check!r}")
    signature = inspect.signature(claim.check)
    for name in ("holds", "violated"):
        arguments = getattr(claim, name)
        if not isinstance(arguments, Mapping):
            raise _refuse(claim, name, "be a dict of keyword arguments", f"is {arguments!r}")
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise _refuse(claim, name, f"fit the check, {signature}", f"there is {error}") from error
        for key, value in arguments.items():
            try:
                hash(value)
            except TypeError as error:
                rule = "have hashable values (numbers, strings, tuples)"
                raise _refuse(claim, name, rule, f"{key!r} is a {type(value).__name__}") from error
    if dict(claim.holds) == dict(claim.violated):
        raise _refuse(claim, "violated", "differ from `holds`", "is the same")
