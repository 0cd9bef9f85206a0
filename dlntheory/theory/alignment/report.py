r"""What a run shows of each theorem, kept apart from whether its hypotheses hold."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Any

import numpy as np

from ...display.displayed import Displayed
from .alignment_rates import fitted_rates, predicted_exponents
from .bounds import alignment_bounds
from .log_time_flow import AlignmentRun

#: A run must get this far for its limits to be read off.
LEAST_END = 1000.0


class Outcome(StrEnum):
    """Hypotheses and conclusion of one theorem; only with the hypotheses met is a conclusion a verification."""

    VERIFIED = "verified"
    REFUTED = "hypotheses met, not observed"
    OBSERVED = "hypothesis not met, observed"
    ABSENT = "hypothesis not met, not observed"

    @classmethod
    def of(cls, hypotheses: bool, conclusion: bool) -> Outcome:
        """The outcome of a theorem whose hypotheses and conclusion were found to hold or not."""
        if hypotheses:
            return cls.VERIFIED if conclusion else cls.REFUTED
        return cls.OBSERVED if conclusion else cls.ABSENT


@dataclasses.dataclass(frozen=True)
class Finding:
    """One theorem along one run.

    Attributes:
        theorem: its name.
        outcome: see `Outcome`.
        measured: the numbers, in words.
        missing: the hypotheses that are not met, in words; empty if all are.
    """

    theorem: str
    outcome: Outcome
    measured: str
    missing: str


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AlignmentReport(Displayed):
    """All theorems along one run.

    Attributes:
        label: data, loss and depth.
        findings: by key: `conservation`, `norm_gap`, `alignment_bound`, `risk`, `alignment`, `max_margin`, `rates`.
    """

    label: str
    findings: dict[str, Finding]

    def __getitem__(self, key: str) -> Finding:
        return self.findings[key]

    def __repr__(self) -> str:
        counts = [(outcome, sum(f.outcome is outcome for f in self.findings.values())) for outcome in Outcome]
        return (
            f"AlignmentReport({self.label}: "
            + ", ".join(f"{count} {outcome}" for outcome, count in counts if count)
            + ")"
        )

    def _rows(self) -> list[tuple[str, ...]]:
        return [(f.theorem, str(f.outcome), f.measured, f.missing) for f in self.findings.values()]

    def _title(self) -> str:
        return self.label

    def _tables(self) -> list[tuple[Any, ...]]:
        return [(self._rows(), _HEADERS, "llll")]


_HEADERS = ("theorem", "outcome", "measured", "hypothesis not met")


def alignment_report(run: AlignmentRun) -> AlignmentReport:
    r"""Read each theorem off a run to $s \ge 1000$.

    - conservation: $\max|A_k(t) - A_k(0)| \le 10^{-11}\max\|W\|_F^2 + 10^{-9}$.
    - norm gap, alignment bound: the inequalities at every save.
    - risk: $\log R \le -0.95\,s$ from $s = 100$, norms increasing from $s = 10$.
    - alignment: over the last decade of $s$, misalignment, rank-one residual and
      $1 - |\langle w, v_1\rangle|/\prod\|W_k\|$ fall at least with half their predicted exponents.
    - maximum margin: margin gap and $1 - \cos(w, \bar u)$ likewise, and the margin gap is below
      $10\gamma s^{-p}$ with its predicted exponent $-p$.
    - rates: fitted exponents of norm and misalignment within 0.03, of the margin gap in $[-1.3, -0.95]$
      (without span: from 0.35 below to 0.05 above the prediction), $|\gamma\|w\|/s - 1| \le 0.005$.

    Raises:
        ValueError: a run that ends before $s = 1000$.

    References:
        [ji2019gradient]; the rates are derived and measured here.
    """
    if run.s[-1] < LEAST_END:
        raise ValueError(
            f"Argument `run` must reach s = {LEAST_END:g}, but ends at s = {run.s[-1]:g}: limits in powers of log t "
            "cannot be read off earlier."
        )
    start = "" if run.is_admissible else "the start has a risk above that of zero"
    margin = run.problem.margin
    span = "" if margin.spans else f"the support vectors have rank {margin.support_rank} < {margin.dimension}"
    both = "; ".join(part for part in (start, span) if part)
    findings = [_conservation(run), *_bounds(run), _risk(run, start), _alignment(run, start)]
    findings += [_max_margin(run, both), _rates(run, both)]
    keys = ("conservation", "norm_gap", "alignment_bound", "risk", "alignment", "max_margin", "rates")
    label = f"{run.problem.name}, {run.problem.loss_name} loss, L = {run.depth}, s = {run.s[-1]:g}"
    return AlignmentReport(label, dict(zip(keys, findings, strict=True)))


def _finding(theorem: str, conclusion: bool, measured: str, missing: str = "") -> Finding:
    return Finding(theorem, Outcome.of(not missing, bool(conclusion)), measured, missing)


def _conservation(run: AlignmentRun) -> Finding:
    error = alignment_bounds(run).conservation_error
    largest = float(np.max(run.observables.norms)) ** 2
    holds = bool(np.max(error) <= 1e-11 * largest + 1e-9)
    return _finding("A_k constant", holds, f"largest drift {np.max(error) / largest:.1e} |W|^2")


def _bounds(run: AlignmentRun) -> list[Finding]:
    bounds = alignment_bounds(run)
    gap = slack = "one layer"
    if run.depth > 1:
        # In the last layer, a row, both sides are zero.
        gap = f"least slack {np.min(bounds.norm_gap_slack[:, :-1]):.3g}"
        slack = f"least slack {np.min(bounds.alignment_slack):.2g}"
    return [
        _finding("norm gap bounded", bounds.norm_gap_holds, gap),
        _finding("alignment bounded", bounds.alignment_holds, slack),
    ]


def _risk(run: AlignmentRun, missing: str) -> Finding:
    late = run.s >= 100.0
    ratio = float(np.max(run.log_risk[late] / run.s[late]))
    growing = bool(np.all(np.diff(run.observables.norms[run.s >= 10.0], axis=0) > 0))
    words = f"log R <= {ratio:.4f} s, norms {'increase' if growing else 'do not all increase'}"
    return _finding("risk to 0, norms to infinity", ratio <= -0.95 and growing, words, missing)


def _alignment(run: AlignmentRun, missing: str) -> Finding:
    seen, exponents = run.observables, predicted_exponents(run.depth)
    if run.depth == 1:
        return _finding("layers align", True, "one layer: nothing to align", missing)
    falls = [
        _falls(run, np.max(seen.misalignment, axis=1), exponents["misalignment"]),
        _falls(run, np.max(seen.rank_one_residual, axis=1), exponents["rank_one"]),
        _falls(run, seen.predictor_deficit, 2 * exponents["rank_one"]),
    ]
    words = f"1 - |<v, u>| = {np.max(seen.misalignment[-1]):.1e}, residual {np.max(seen.rank_one_residual[-1]):.1e}"
    return _finding("layers align", all(falls), words, missing)


def _max_margin(run: AlignmentRun, missing: str) -> Finding:
    seen, exponents = run.observables, predicted_exponents(run.depth, run.problem.margin.spans)
    scaled = float(seen.margin_gap[-1] * run.s[-1] ** -exponents["margin_gap"] / run.problem.margin.margin)
    falls = [
        _falls(run, seen.margin_gap, exponents["margin_gap"]),
        _falls(run, seen.direction_error, exponents["direction"]),
    ]
    words = f"margin gap {seen.margin_gap[-1]:.1e}, 1 - cos {seen.direction_error[-1]:.1e}"
    return _finding("maximum margin", all(falls) and 0 <= scaled <= 10.0, words, missing)


def _rates(run: AlignmentRun, missing: str) -> Finding:
    fitted = fitted_rates(run)
    close = [
        abs(fitted.rates[name].fitted - fitted.rates[name].predicted) <= 0.03
        for name in ("norm", "misalignment")
        if name in fitted.rates
    ]
    gap = fitted.rates["margin_gap"]
    steep = -0.35 <= gap.fitted - gap.predicted <= 0.05
    if run.problem.margin.spans:
        steep = -1.3 <= gap.fitted <= -0.95
    holds = all(close) and steep and abs(fitted.growth - 1.0) <= 5e-3
    words = ", ".join(f"{name} {rate.fitted:.3f}" for name, rate in fitted.rates.items())
    return _finding("rates in log t", holds, words, missing)


def _falls(run: AlignmentRun, values: np.ndarray, exponent: float) -> bool:
    """Whether the values fall over the last decade of $s$ at least with half the exponent."""
    before = float(np.interp(np.log(run.s[-1] / 10.0), np.log(run.s[1:]), np.log(np.abs(values[1:]))))
    return bool(np.log(np.abs(values[-1])) - before <= 0.5 * exponent * np.log(10.0))
