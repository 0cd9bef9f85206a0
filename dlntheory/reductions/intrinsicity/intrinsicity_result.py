"""`IntrinsicityResult`: whether training can be written in $z$ alone, with the numbers behind them."""

from __future__ import annotations

import dataclasses

from ...display.text import card, format_number, key_values, shorten, text_table
from ...laws import ConservationLaws
from .kernel_criterion import KernelTest
from .level_set_tests import LevelSetTest
from .lie_criterion import LieTest

RECOVERABLE = "recoverable"
BRANCHES = "locally recoverable, several branches"
INTRINSIC = "intrinsic"
ON_LEVEL_SETS = "intrinsic on level sets"
NOT_INTRINSIC = "not intrinsic"
UNDECIDED = "undecided"
ANSWERS = (RECOVERABLE, BRANCHES, INTRINSIC, ON_LEVEL_SETS, NOT_INTRINSIC, UNDECIDED)

CRITERION = (
    r"\ker \partial\varphi(\theta) \cap \ker \partial h(\theta) \subset \ker \partial M(\theta), \quad "
    r"M = \partial\varphi\, \partial\varphi^\top"
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class IntrinsicityResult:
    r"""Whether $\dot z = -M\,\nabla f(z)$ has $M = K(z)$ on a level set of the laws. Made by `intrinsic`.

    It has six answers, so it is no condition: `bool(verdict)` raises.

    Attributes:
        architecture: name of the network.
        answer: `"recoverable"` (θ is locally a function of z and the laws, and no other θ with another M was found),
            `"locally recoverable, several branches"` (another θ has the same z and laws and another M: an equation in
            z alone holds until two branches meet), `"intrinsic"` (on generic level sets),
            `"intrinsic on level sets"` (only on those in `where`, of the ones tested), `"not intrinsic"`, or
            `"undecided"`.
        reason: why, in words.
        where: names of the level sets on which the criterion was found to hold.
        kernel: the exact kernel test at random points, one for each prime; empty for a float verdict.
        lie: the law-free test, or `None` where it was not needed.
        level_sets: the float tests, the generic point first.
        laws: the laws with their certificate; `None` for a float verdict.
        is_complete: whether no law is missing; `None` if that is not known.
        seed: what all points were drawn from.
        seconds: the time it took, the search for laws included.
        interrupted: whether the user stopped it; undecided then, with the tests that were finished.
    """

    architecture: str
    answer: str
    reason: str
    where: tuple[str, ...]
    kernel: tuple[KernelTest, ...]
    lie: LieTest | None
    level_sets: tuple[LevelSetTest, ...]
    laws: ConservationLaws | None
    is_complete: bool | None
    seed: int
    seconds: float
    interrupted: bool = False

    def __bool__(self) -> bool:
        raise TypeError(
            f"The result has six answers ({', '.join(ANSWERS)}) and is no condition: compare `verdict.answer`, "
            f"here {self.answer!r}."
        )

    @property
    def primes(self) -> tuple[int, ...]:
        """The primes of the exact tests."""
        return tuple(test.prime for test in self.kernel)

    def at(self, name: str) -> LevelSetTest:
        """The float test on the level set of this name.

        Raises:
            ValueError: it was not tested.
        """
        for test in self.level_sets:
            if test.name == name:
                return test
        raise ValueError(
            f"Argument `name` must be one of {[test.name for test in self.level_sets]}, but is {name!r}."
        )

    def numbers(self) -> str:
        """The decisive numbers in one line, for a message that says why nothing applies."""
        parts = []
        if self.kernel:
            test = self.kernel[0]
            parts.append(
                f"{test.dimension} parameters, rank dphi {test.rank_phi}, rank dh {test.rank_laws}, "
                f"fibre of {test.fibre} dimensions with rank dM {test.defect} (exact mod {test.prime})"
            )
        if self.lie is not None:
            parts.append(
                f"law-free: dim L {self.lie.rank}, fibre {self.lie.fibre}, rank dM {self.lie.defect}"
            )
        for test in self.level_sets:
            if test.ratio is not None:
                spread = "" if test.spread is None else f", M spreads by {test.spread:.1e} on one fibre"
                parts.append(f"{test.name}: |dM v|/|M| = {test.ratio:.1e}{spread}")
        return "; ".join(parts)

    def __repr__(self) -> str:
        where = " {" + ", ".join(self.where) + "}" if self.answer == ON_LEVEL_SETS else ""
        mark = ", interrupted" if self.interrupted else ""
        return f"IntrinsicityResult({self.architecture}: {self.answer}{where}{mark})"

    def __str__(self) -> str:
        text = key_values(self._facts())
        return f"{text}\n\n{text_table(*self._table())}" if self.level_sets else text

    def _repr_html_(self) -> str:
        _, *facts = self._facts()
        tables = [self._table()] if self.level_sets else ()
        return card(f"Intrinsicity of {self.architecture}", formulas=CRITERION, facts=facts, tables=tables)

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {CRITERION}: \text{{{self.answer}}}$"

    def to_dict(self) -> dict[str, object]:
        """Everything but the laws themselves as JSON types."""
        return {
            "architecture": self.architecture,
            "answer": self.answer,
            "reason": self.reason,
            "where": list(self.where),
            "kernel": [dataclasses.asdict(test) for test in self.kernel],
            "lie": None if self.lie is None else dataclasses.asdict(self.lie),
            "level_sets": [dataclasses.asdict(test) for test in self.level_sets],
            "laws": None if self.laws is None else self.laws.to_dict(),
            "is_complete": self.is_complete,
            "seed": self.seed,
            "seconds": self.seconds,
        }

    def _facts(self) -> list[tuple[str, str]]:
        where = ": " + ", ".join(self.where) if self.answer == ON_LEVEL_SETS else ""
        rows = [
            ("network", self.architecture),
            ("answer", self.answer + where),
            ("reason", self.reason),
            ("laws", self._laws()),
        ]
        for number, test in enumerate(self.kernel, start=1):
            rows.append(
                (
                    f"point {number}",
                    f"{test.dimension} parameters, rank dphi {test.rank_phi}, rank dh {test.rank_laws}, "
                    f"fibre {test.fibre}, rank dM on it {test.defect}, modulo {test.prime}",
                )
            )
        if (lie := self.lie) is not None:
            depths = ", ".join(map(str, lie.ranks))
            rows.append(
                (
                    "law-free",
                    f"dim L {lie.rank} ({lie.status}; by depth {depths}), fibre {lie.fibre}, "
                    f"rank dM on it {lie.defect}, modulo {lie.prime}",
                )
            )
        rows.append(("seed, time", f"{self.seed}, {self.seconds:.2g} s"))
        return rows

    def _laws(self) -> str:
        complete = {True: "complete", False: "incomplete", None: "completeness not known"}[self.is_complete]
        if self.laws is None:
            return f"as given, {complete}"
        names = ", ".join(law.name for law in self.laws.laws) or "none"
        return f"{shorten(names, 70)}; {complete} ({self.laws.status})"

    def _table(self) -> tuple[list[tuple[object, ...]], tuple[str, ...]]:
        rows: list[tuple[object, ...]] = [
            (
                test.name,
                test.status,
                format_number(test.residual, 2),
                test.fibre,
                format_number(test.ratio, 2),
                format_number(test.spread, 2),
                ", ".join(f"{distance:.2g}" for distance in test.distances) or None,
                shorten(test.detail, 60),
            )
            for test in self.level_sets
        ]
        headers = (
            "level set",
            "criterion",
            "residual",
            "fibre",
            "|dM v|/|M|",
            "spread of M",
            "at distances",
            "remark",
        )
        return rows, headers
