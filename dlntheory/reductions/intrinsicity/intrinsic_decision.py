"""`intrinsic`: can the training of $z$ be written in $z$ alone?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from ..._errors import UnsupportedPrimitiveError
from ..._precision import require_float64
from ...architecture import Architecture
from ...display.progress import keeps_partial, waiting
from ...exact.reading import require_derivative
from ...laws import ConservationLaws, Law, NotConservedError, conservation_laws
from ...laws.proof.lie_rank import random_point
from ...laws.systems import GradientSystem
from .float_metric import InterpretedMetric
from .gauss_newton import FAILS, CompiledMetric, FloatMetric, is_late
from .intrinsicity_result import (
    BRANCHES,
    INTRINSIC,
    NOT_INTRINSIC,
    ON_LEVEL_SETS,
    RECOVERABLE,
    UNDECIDED,
    IntrinsicityResult,
)
from .kernel_criterion import KernelTest, ModularMetric, generic_kernel_tests
from .level_set_tests import (
    LAMBDAS,
    LevelSetTest,
    special_level_sets,
    start_level_set,
    tested_point,
)
from .lie_criterion import LieTest, lie_test

GENERIC = "generic"
_LAW_DEFECT = 1e-9
_GENERIC_POINTS = 3


def intrinsic(
    arch: Architecture,
    theta0: Mapping[str, Any] | None = None,
    *,
    laws: Any = None,
    level_sets: str | Sequence[float] = "auto",
    exact: bool = True,
    seed: int = 0,
    time_limit: float | None = 60.0,
    progress: bool | None = None,
) -> IntrinsicityResult:
    r"""Whether $\dot z = -\partial\varphi\,\partial\varphi^\top \nabla f(z)$ closes in $z$ on level sets of the laws.

    The kernel criterion $\ker\partial\varphi \cap \ker\partial h \subset \ker\partial M$ is decided exactly modulo two
    primes at random points; where it fails or laws are missing, once more with the span of the brackets of the
    gradients in place of $\ker\partial h$; then in floats on special level sets, and by comparing $M$ at different
    points of one fibre.

    Not jit-compatible (runs on the host).

    Args:
        arch: the architecture; φ polynomial or rational.
        theta0: a start whose level set is tested too.
        laws: what to use instead of `conservation_laws(arch)`: its result, or `Law`s and SymPy polynomials. With
            `exact=False` functions of the dict of factors.
        level_sets: `"auto"` for $h = 0$ and each matrix law $= \pm 0.7 I$, tried where the criterion fails at generic
            points; or the multiples $\lambda$ to try always; `()` for none.
        exact: `False` for a φ that is neither polynomial nor rational: floats only, and no negative answer.
        seed: determines every random point.
        time_limit: seconds for all searches together; what was not tested by then is said in the reason.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Returns:
        An `IntrinsicityResult`. `"not intrinsic"` is only said with complete laws, or by the law-free test. After
        Ctrl-C it is undecided, with `interrupted` set, the laws and the tests that were finished; before anything is
        known about the laws `KeyboardInterrupt` is raised.

    Raises:
        ValueError: a law that is not conserved, malformed `theta0` or `level_sets`.
        UnsupportedPrimitiveError: φ is neither polynomial nor rational.
        PrecisionError: JAX is in float32 mode.

    Validity:
        That the criterion holds is wrong with probability at most degree / $2^{31}$ for each point. It is necessary;
        it is sufficient locally, where the rank of $(\partial\varphi, \partial h)$ is constant. Whether several
        pieces of a fibre share one $M$ is only sampled.

    References:
        [marcotte2026intrinsic] (the criterion with laws). The law-free form is derived here.

    Example:
        >>> import dlntheory as dln
        >>> intrinsic(dln.linear_network((2, 2, 3)), level_sets=(0.7,)).answer
        'intrinsic on level sets'
    """
    require_float64("intrinsic")
    started = time.perf_counter()
    lambdas = _checked_lambdas(level_sets)
    start = None if theta0 is None else np.asarray(arch.ravel(arch.check(theta0)))
    require_derivative(arch)
    with waiting(f"deciding about {arch.name}", progress):
        if not exact:
            return _float_verdict(arch, start, laws, seed, started)
        known = _known_laws(arch, laws, seed, time_limit)
        deadline = None if time_limit is None else started + time_limit
        auto = isinstance(level_sets, str)
        stopped = known.interrupted and known is not laws
        return _exact_verdict(arch, start, known, lambdas, auto, seed, started, deadline, stopped)


def _exact_verdict(
    arch: Architecture,
    start: np.ndarray | None,
    known: ConservationLaws,
    lambdas: Sequence[float],
    auto: bool,
    seed: int,
    started: float,
    deadline: float | None,
    interrupted: bool,
) -> IntrinsicityResult:
    is_complete = known.status == "complete"
    kernel: tuple[KernelTest, ...] = ()
    lie = None
    tests: list[LevelSetTest] = []
    try:
        if not interrupted:
            metric = ModularMetric(arch)
            kernel = generic_kernel_tests(metric, known.laws, seed)
            floats = InterpretedMetric(arch, known.laws)
            if not kernel[0].holds or (not is_complete and kernel[0].fibre):
                lie = _law_free(metric, kernel[0], seed, deadline)
            fails = not kernel[0].holds and (lie is None or lie.defect > 0)
            # Where z and the known laws determine theta, further laws change nothing.
            if (is_complete or not kernel[0].fibre) and not fails:
                tests.append(_generic(floats, seed, deadline))
            if lambdas and (fails or not auto):
                tests += special_level_sets(floats, known.laws, lambdas, seed, deadline)
            if start is not None and not is_late(deadline):
                tests.append(start_level_set(floats, start, seed, deadline))
    except KeyboardInterrupt:
        if not keeps_partial():
            raise
        interrupted = True
    if not is_complete:
        tests = [_tempered(test) for test in tests]
    late = is_late(deadline)
    if interrupted:
        # Half of the tests may point the wrong way: no answer is drawn from them.
        answer, reason = UNDECIDED, "interrupted"
    else:
        answer, reason = _answer(kernel, lie, is_complete, tests)
        if late:
            reason += "; the time limit was reached, further level sets were not tested"
    return IntrinsicityResult(
        architecture=arch.name,
        answer=answer,
        reason=reason,
        where=tuple(test.name for test in tests if test.status == "holds"),
        kernel=kernel,
        lie=lie,
        level_sets=tuple(tests),
        laws=known,
        is_complete=is_complete,
        seed=seed,
        seconds=time.perf_counter() - started,
        interrupted=interrupted,
    )


def _answer(
    kernel: Sequence[KernelTest], lie: LieTest | None, is_complete: bool, tests: Sequence[LevelSetTest]
) -> tuple[str, str]:
    test = kernel[0]
    branches = next((one for one in tests if one.name == GENERIC and one.status != "holds"), None)
    if test.fibre == 0:
        reason = "z and the laws determine theta locally: ker dphi and ker dh meet in 0 only"
        if branches is not None and (branches.spread or 0) > FAILS:
            reason += (
                "; but another theta far away has the same z and laws and another M "
                f"(by {format(branches.spread, '.1e')}): K is a branch, followed until two of them meet"
            )
            return BRANCHES, reason
        return RECOVERABLE, reason
    if test.holds:
        if branches is not None:
            return UNDECIDED, (
                f"M is constant along the connected fibres of dimension {test.fibre}, but at a "
                f"generic point {branches.detail or 'floats disagree'}"
                + ("" if branches.spread is None else f" (spread {branches.spread:.1e})")
            )
        extra = "; z is one-dimensional, so that training only changes the speed along one curve"
        return INTRINSIC, (
            f"dM vanishes on the {test.fibre} directions that change neither z nor the laws"
            + (extra if test.rank_phi == 1 else "")
        )
    if lie is not None and lie.defect == 0:
        if lie.is_open:
            return UNDECIDED, (
                f"the known laws leave directions along which M changes (rank {test.defect}), but they are not "
                f"complete, and the search for brackets ended early ({lie.status})"
            )
        extra = (
            ": dphi has rank 1, so that all trajectories run along one curve" if test.rank_phi == 1 else ""
        )
        return INTRINSIC, (
            "M is a function of z on what training can reach (law-free test)"
            + extra
            + ("" if is_complete else "; the known laws alone, which are incomplete, would not show it")
        )
    generic = f"at generic points M changes in {test.defect} of the {test.fibre} directions of the fibre"
    held = [one.name for one in tests if one.status == "holds"]
    if held:
        return ON_LEVEL_SETS, f"{generic}; it does not on {', '.join(held)} (floats)"
    how = "the laws are complete" if is_complete else "law-free test"
    reason = f"{generic} ({how})"
    if tested := [one.name for one in tests if one.status == "fails"]:
        reason += f", and also on {', '.join(tested)}"
    if open_sets := [one.name for one in tests if one.status == "undecided"]:
        reason += f"; {', '.join(open_sets)} could not be decided"
    return NOT_INTRINSIC, reason


def _law_free(metric: ModularMetric, test: KernelTest, seed: int, deadline: float | None) -> LieTest:
    point = random_point(metric.system, test.prime, seed)
    system = GradientSystem(metric.system.architecture)
    room = test.dimension - test.rank_laws
    return lie_test(metric, system, point, test.prime, room=room, seed=seed, deadline=deadline)


def _generic(floats: FloatMetric, seed: int, deadline: float | None = None) -> LevelSetTest:
    """The worst of a few random points: where a fibre has several pieces, only some points may have companions."""
    tests = []
    for trial in range(_GENERIC_POINTS):
        rng = np.random.default_rng([seed, 1, trial])
        point = rng.standard_normal(floats.arch.size)
        tests.append(tested_point(floats, GENERIC, point, rng, residual=0.0, deadline=deadline))
        if is_late(deadline):
            break
    return max(tests, key=lambda test: (test.status != "holds", test.spread or 0.0, test.ratio or 0.0))


def _tempered(test: LevelSetTest) -> LevelSetTest:
    """Missing laws make fibres too large, so that a failure on them proves nothing."""
    if test.status != "fails":
        return test
    return LevelSetTest(
        **{
            **vars(test),
            "status": "undecided",
            "detail": f"{test.detail}, but the laws are incomplete".lstrip(", "),
        }
    )


def _known_laws(arch: Architecture, laws: Any, seed: int, time_limit: float | None) -> ConservationLaws:
    if isinstance(laws, ConservationLaws):
        return laws
    if laws is not None and not isinstance(laws, Sequence):
        laws = (laws,)
    if laws is not None and any(not isinstance(law, (Law, sympy.Expr)) for law in laws):
        raise ValueError(
            "Argument `laws` must hold `Law`s or SymPy polynomials, but holds a plain function: it can only be used "
            "with `exact=False`."
        )
    try:
        return conservation_laws(arch, laws=laws, seed=seed, time_limit=time_limit, progress=False)
    except UnsupportedPrimitiveError as error:
        raise UnsupportedPrimitiveError(
            f"{error} An exact verdict is not possible; the float tests are: "
            "`intrinsic(arch, theta0, exact=False, laws=[h])` with your laws as functions of the factors.",
            primitive=error.primitive,
            location=error.location,
        ) from error
    except NotConservedError as error:
        raise ValueError(_not_conserved(arch, error)) from error


def _not_conserved(arch: Architecture, error: NotConservedError) -> str:
    found = error.verification
    entry = "an entry"
    if isinstance(found.generator, int):
        place = ", ".join(str(int(i) + 1) for i in np.unravel_index(found.generator, arch.output_shape))
        entry = f"the entry z[{place}]" if place else "z"
    return (
        f"Argument `laws` must be conserved, but entry {found.entry} of the law {found.law.name} changes along the "
        f"gradient of {entry} of phi: {found.reason}."
    )


def _float_verdict(
    arch: Architecture, start: np.ndarray | None, laws: Any, seed: int, started: float
) -> IntrinsicityResult:
    functions: tuple[Callable[..., Any], ...]
    if isinstance(laws, ConservationLaws):
        functions = laws.laws
    else:
        functions = () if laws is None else tuple(laws) if isinstance(laws, Sequence) else (laws,)
    floats = CompiledMetric(arch, functions)
    _require_conserved(floats, seed)
    tests = [_generic(floats, seed)]
    if start is not None:
        tests.append(start_level_set(floats, start, seed))
    generic = tests[0]
    tests = [generic, *(_tempered(test) for test in tests[1:])]
    if generic.status == "holds":
        answer = RECOVERABLE if generic.fibre == 0 else INTRINSIC
        reason = "the kernel criterion holds at a random point, in floats only"
    elif generic.fibre == 0:
        answer, reason = RECOVERABLE, "z and the laws determine theta locally, in floats only"
    else:
        answer = UNDECIDED
        reason = f"at a random point |dM v|/|M| = {generic.ratio:.1e}, but floats cannot tell whether laws are missing"
    return IntrinsicityResult(
        architecture=arch.name,
        answer=answer,
        reason=reason,
        where=tuple(test.name for test in tests if test.status == "holds"),
        kernel=(),
        lie=None,
        level_sets=tuple(tests),
        laws=None,
        is_complete=None,
        seed=seed,
        seconds=time.perf_counter() - started,
    )


def _require_conserved(floats: CompiledMetric, seed: int) -> None:
    if not floats.laws:
        return
    point = np.random.default_rng([seed, 4]).standard_normal(floats.arch.size)
    _, _, jacobian, gradients = floats.values(point)
    rates = np.abs(gradients @ jacobian.T)
    sizes = np.outer(np.linalg.norm(gradients, axis=1), np.linalg.norm(jacobian, axis=1))
    relative = rates / np.where(sizes > 0, sizes, 1.0)
    if not np.all(relative <= _LAW_DEFECT):
        entry, output = np.unravel_index(
            int(np.argmax(np.nan_to_num(relative, nan=math.inf))), relative.shape
        )
        place = ", ".join(str(int(i) + 1) for i in np.unravel_index(output, floats.arch.output_shape))
        raise ValueError(
            f"Argument `laws` must be conserved, but entry {entry} of the law values changes along the gradient of the "
            f"entry z[{place}] of phi, at the relative rate {relative[entry, output]:.1e} at a random point."
        )


def _checked_lambdas(level_sets: str | Sequence[float]) -> tuple[float, ...]:
    if isinstance(level_sets, str):
        if level_sets != "auto":
            raise ValueError(f'Argument `level_sets` must be "auto" or numbers, but is {level_sets!r}.')
        return LAMBDAS
    values = tuple(float(value) for value in level_sets)
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"Argument `level_sets` must hold finite numbers, but is {level_sets!r}.")
    return values
