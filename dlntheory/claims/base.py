"""What a claim is: one check of one theorem, run where its hypotheses hold and where one of them does not."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from ..citations import in_words
from ..display.text import Prose, card, format_number, key_values
from .evidence import Evidence

Tier = Literal["quick", "full"]
Breaks = Literal["hypothesis", "prediction"]
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

Check = Callable[..., Evidence]


@dataclass(frozen=True, eq=False)
class Claim:
    r"""One theorem with the check that can refute it. Made by the decorator `claim`; run by `verify`.

    The same function `check` is run twice: with `arguments`, where every hypothesis is met and the error must be
    within `tolerance`, and with `control_arguments`, the negative control, where the error must be outside. A check
    that cannot tell the two apart proves nothing and is reported as vacuous.

    A control of a theorem breaks one of its hypotheses. Where there is none to break, as for an identity, the control
    changes the prediction, which only shows that the check has the power to see such a change; `breaks` says which of
    the two it is, and the report shows it.

    Attributes:
        id: short name in lower case with hyphens, unique in the package.
        paper: key of the paper, see `PAPERS`.
        statement: the theorem in LaTeX: prose with `$…$`, or one formula without dollars.
        summary: the same in one line of plain text.
        source: the work by its BibTeX key in brackets, with the number of the statement.
        tolerance: the largest error that counts as agreement.
        tier: `"quick"` claims always run, `"full"` ones on request.
        check: maps keyword arguments to `Evidence`.
        arguments: keyword arguments that meet the hypotheses.
        control_arguments: keyword arguments of the negative control.
        control: what the control changes, in words.
        breaks: `"hypothesis"` or `"prediction"`: what that is.

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
    arguments: Mapping[str, Any]
    control_arguments: Mapping[str, Any]
    control: str
    breaks: Breaks = "hypothesis"

    def __post_init__(self) -> None:
        _check_names(self)
        _check_texts(self)
        _check_tolerance(self)
        _check_arguments(self)
        object.__setattr__(self, "tolerance", float(self.tolerance))
        for name in ("arguments", "control_arguments"):
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
            "arguments": _call_text(self.arguments),
            "control": f"{_call_text(self.control_arguments)}: {self.control}",
            "control breaks": f"a {self.breaks}",
        }


# id -> where it was defined: a module that is loaded again may define its own claims again, nobody else may.
_defined_at: dict[str, str] = {}


def claim(
    *,
    statement: str,
    source: str,
    tolerance: float,
    arguments: Mapping[str, Any],
    control_arguments: Mapping[str, Any],
    control: str,
    breaks: Breaks = "hypothesis",
    tier: Tier = "quick",
    id: str | None = None,
    paper: str | None = None,
) -> Callable[[Check], Claim]:
    r"""Turn a check function into a `Claim`; the arguments are the fields of `Claim`.

    The first line of the function's docstring is the summary. The id is the function's name with hyphens, unless given;
    the paper that of the package in `dlntheory.claims` where the function stands, and must be given elsewhere.

    The values in `arguments` and `control_arguments` must be hashable (numbers, strings, tuples): they are compared,
    shown, and can key an `lru_cache` where several claims share one expensive computation.

    Raises:
        ValueError: a field is not acceptable, or the id is taken.

    Example:
        >>> @claim(
        ...     paper="basics",
        ...     statement=r"$\|Q_2 Q_1\|_2 = 1$ for orthogonal $Q_1, Q_2$.",
        ...     source="textbook",
        ...     tolerance=1e-12,
        ...     arguments={"scale": 1.0},
        ...     control_arguments={"scale": 1.1},
        ...     control="one layer is orthogonal only up to a factor",
        ... )
        ... def product_of_orthogonal_matrices(scale):
        ...     "A product of orthogonal layers has spectral norm one."
        ...     return Evidence(predicted=1.0, measured=scale * 1.0)
        >>> product_of_orthogonal_matrices
        Claim(product-of-orthogonal-matrices, paper=basics, tier=quick, tolerance=1e-12)
    """

    def make(check: Check) -> Claim:
        name = check.__name__.strip("_").replace("_", "-") if id is None else id
        made = Claim(
            name,
            _paper_of(check.__module__) if paper is None else paper,
            statement,
            (inspect.getdoc(check) or "").partition("\n")[0],
            source,
            tolerance,
            tier,
            check,
            arguments,
            control_arguments,
            control,
            breaks,
        )
        place = f"{check.__module__}.{check.__qualname__}"
        taken = _defined_at.setdefault(made.id, place)
        if taken != place:
            raise ValueError(f"Argument `id` must be unique, but {made.id!r} of {place} is taken by {taken}.")
        return made

    return make


def _paper_of(module: str) -> str:
    """The key of the paper in whose package a module is; empty elsewhere, which the claim then refuses by name."""
    if not module.startswith(f"{__package__}."):
        return ""
    return module.removeprefix(f"{__package__}.").partition(".")[0].replace("_", "-")


def _call_text(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _invalid(claim: Claim, name: str, rule: str, fact: str) -> ValueError:
    return ValueError(f"Argument `{name}` of claim {claim.id!r} must {rule}, but {fact}.")


def _check_names(claim: Claim) -> None:
    if not isinstance(claim.id, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", claim.id):
        raise _invalid(claim, "id", "be lower-case words joined by hyphens", f"is {claim.id!r}")
    if len(claim.id) > MAX_ID_LENGTH:
        raise _invalid(claim, "id", f"have at most {MAX_ID_LENGTH} characters", f"has {len(claim.id)}")
    for name, known in (("paper", tuple(PAPERS)), ("tier", get_args(Tier)), ("breaks", get_args(Breaks))):
        if (value := getattr(claim, name)) not in known:
            raise _invalid(claim, name, f"be one of {', '.join(known)}", f"is {value!r}")


def _check_texts(claim: Claim) -> None:
    for name in ("statement", "summary", "source", "control"):
        text = getattr(claim, name)
        if not isinstance(text, str) or not text.strip():
            where = " (the first line of the docstring)" if name == "summary" else ""
            raise _invalid(claim, name, f"be a non-empty text{where}", f"is {text!r}")
    if claim.statement.count("$") % 2:
        raise _invalid(claim, "statement", "have dollar signs in pairs", f"has {claim.statement.count('$')}")
    if "\n" in claim.summary or len(claim.summary) > MAX_SUMMARY_LENGTH:
        rule = f"be one line of at most {MAX_SUMMARY_LENGTH} characters"
        raise _invalid(
            claim, "summary", rule, f"has {len(claim.summary)} in {claim.summary.count(chr(10)) + 1} lines"
        )


def _check_tolerance(claim: Claim) -> None:
    tolerance = claim.tolerance
    is_number = isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool)
    if not is_number or not math.isfinite(tolerance) or tolerance <= 0:
        raise _invalid(claim, "tolerance", "be a positive finite number", f"is {tolerance!r}")


def _check_arguments(claim: Claim) -> None:
    if not callable(claim.check):
        raise _invalid(claim, "check", "be a function that returns `Evidence`", f"is {claim.check!r}")
    signature = inspect.signature(claim.check)
    for name in ("arguments", "control_arguments"):
        arguments = getattr(claim, name)
        if not isinstance(arguments, Mapping):
            raise _invalid(claim, name, "be a dict of keyword arguments", f"is {arguments!r}")
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise _invalid(claim, name, f"fit the check, {signature}", f"there is {error}") from error
        for key, value in arguments.items():
            try:
                hash(value)
            except TypeError as error:
                rule = "have hashable values (numbers, strings, tuples)"
                raise _invalid(claim, name, rule, f"{key!r} is a {type(value).__name__}") from error
    if dict(claim.arguments) == dict(claim.control_arguments):
        raise _invalid(claim, "control_arguments", "differ from `arguments`", "is the same")
