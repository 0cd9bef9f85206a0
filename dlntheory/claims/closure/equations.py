"""Claims that the closed equations are those of the full gradient flow, at a point and integrated."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import numpy as np

from ...architecture import Architecture
from ...reductions.closure import Closure, find_closure
from ...training import GradientFlow, solve
from ..base import claim
from ..curves import TIME, Curves
from ..evidence import Evidence
from ..reference import LogCosh
from .systems import FAMILIES, Velocities, architecture, closure_of, start, velocities

_TIGHT: dict[str, Any] = {"method": "dopri8", "rtol": 1e-11, "step_to_ts": True, "ts": 6}
_WORDS = ("two layers", "shared query", "residual")
_ENTRIES = ("diagonal", "neuron", "scalar chain")


@claim(
    statement=r"For $UV^\top$, $(QK^\top, QV^\top)$ and two residual blocks the words that are found obey the closed "
    r"matrix equations that are found, at every $\theta$.",
    source="derived here",
    tolerance=2.5e-15,
    arguments={"factor": 1.0},
    control_arguments={"factor": 1.05},
    control="one factor learns 5 % faster, for which the equations are not derived",
)
def closed_matrix_equations(factor: float) -> Evidence:
    """Three closures of words: the velocity of each observable equals that of the full flow."""
    parts = {name: one.evidence for name, one in _families(_WORDS, "words", factor).items()}
    return Evidence.worst(parts, best=factor != 1.0)


@claim(
    statement=r"For $u \odot v$, $uv^\top$ and $abc$ the entries that are found obey the closed scalar equations "
    r"that are found, at every $\theta$.",
    source="derived here",
    tolerance=2.5e-15,
    arguments={"factor": 1.0},
    control_arguments={"factor": 1.05},
    control="one factor learns 5 % faster, for which the equations are not derived",
)
def closed_entry_equations(factor: float) -> Evidence:
    """Three closures of entries: the velocity of each observable equals that of the full flow."""
    parts = {name: one.evidence for name, one in _families(_ENTRIES, "entries", factor).items()}
    return Evidence.worst(parts, best=factor != 1.0)


@claim(
    statement=r"If $W_3^\top W_3 - W_2W_2^\top = \lambda I$, with $D_1$ arbitrary, then $Z = W_3W_2W_1$, $A = "
    r"W_3W_3^\top$, $B = W_1^\top W_1$, $C = W_1^\top W_2^\top W_2W_1$ obey $\dot Z = -(GC + AGB + (A^2 - \lambda "
    r"A)G)$, $\dot A = -(GZ^\top + ZG^\top)$, $\dot B = -(G^\top Z + Z^\top G)$, $\dot C = -(X + X^\top)$, $X = "
    r"G^\top(A - \lambda I)Z + BG^\top Z$.",
    source="derived here",
    tolerance=1.4e-14,
    arguments={"offset": 0.0},
    control_arguments={"offset": 0.1},
    control="the second law is not scalar at the start: one column of W3 is 10 % longer",
)
def scalar_law_closes_three_layers(offset: float) -> Evidence:
    """Three layers close with four matrices where the second law is scalar, the first arbitrary."""
    lam = 0.7
    arch, theta0 = _scalar_second_law(lam)
    theta0["W3"] = theta0["W3"] * np.array([1.0 + offset, 1.0, 1.0])
    closure = _closed_by_a_law(arch, lam)
    (found,) = velocities([closure], [theta0])
    spread = np.ptp(np.linalg.eigvalsh(theta0["W2"].T @ theta0["W2"] - theta0["W1"] @ theta0["W1"].T))
    parts = {"full flow": found.evidence, "stated": _stated(closure, found, lam)}
    return Evidence.worst(parts, detail=f"eigenvalues of the first law spread over {spread:.1f}")


@claim(
    statement=r"The closed system of two layers conserves $\mathrm{tr} A - \mathrm{tr} B$ and $\mathrm{tr} A^2 - "
    r"2\,\mathrm{tr} ZZ^\top + \mathrm{tr} B^2$: what is left of the laws $U^\top U - V^\top V$ in the observables.",
    source="derived here",
    tolerance=5e-16,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.05},
    control="one factor learns 5 % faster",
)
def observables_obey_the_laws(rate: float) -> Evidence:
    """The spectral invariants of the imbalance are conserved combinations of the observables."""
    closure = closure_of("two layers", "words")
    found = _families(_WORDS, "words", rate)["two layers"]
    laws = closure.laws[:2]
    changes = [float(jax.jvp(law.value, (found.state,), (found.exact,))[1]) for law in laws]
    return Evidence(0.0, changes, detail="; ".join(law.text for law in laws))


@claim(
    statement=r"Integrated from one start, the closed equations of $UV^\top$ with 50 hidden units, of two residual "
    r"blocks and of $U^3$ give the $z(t)$ of the full gradient flow, for a loss that is not quadratic.",
    source="derived here",
    tolerance=1.5e-12,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.05},
    control="the full flow trains one factor 5 % faster",
    tier="full",
)
def closed_flow_is_the_full_flow(rate: float) -> Evidence:
    # The cube has one factor: a faster rate would only rescale time.
    """Closed systems and full flows, integrated: one z(t), for three architectures."""
    names = ("50 hidden", "residual", "cube") if rate == 1.0 else ("50 hidden", "residual")
    parts, series = {}, {}
    for name in names:
        arch, theta0, loss = _problem(name)
        last = list(arch.shapes)[-1]
        full = solve(GradientFlow(arch, loss, rates={last: rate}), theta0, 1.0, **_TIGHT)
        parts[name] = Evidence(_closed_z(name), full.z, scale=float(np.max(np.abs(full.z))))
        series[name] = full.ts[1:], _errors_along(full.z, _closed_z(name))[1:]
    label = "error of $z$, relative to its largest entry"
    curves = Curves(TIME, label, series, scale="log-y", with_tolerance=True)
    return Evidence.worst(parts, best=rate != 1.0, detail="an entry of z", curves=curves)


def _errors_along(full: np.ndarray, closed: np.ndarray) -> np.ndarray:
    """The largest error of an entry of z at each time, relative to the largest entry at any."""
    gaps = np.abs(full - closed).reshape(len(full), -1)
    return np.max(gaps, axis=1) / np.max(np.abs(full))


@lru_cache(maxsize=3)
def _problem(name: str) -> tuple[Architecture, dict[str, np.ndarray], Any]:
    """A network, a start, and a loss that is not quadratic."""
    if name == "50 hidden":
        arch = Architecture(FAMILIES["two layers"][0], {"U": (4, 50), "V": (3, 50)}, name=name)
    else:
        arch = architecture(name)
    return (
        arch,
        start(arch, scale={"50 hidden": 0.3, "residual": 0.8, "cube": 0.5}[name]),
        LogCosh(arch.output_shape, seed=3),
    )


@lru_cache(maxsize=3)
def _closed_z(name: str) -> np.ndarray:
    """z over time by the closed equations, which is integrated once for all rates of the full flow."""
    arch, theta0, loss = _problem(name)
    return np.asarray(solve(find_closure(arch).dynamics(loss), theta0, 1.0, **_TIGHT).z)


@lru_cache(maxsize=4)
def _families(names: tuple[str, ...], level: str, factor: float) -> dict[str, Velocities]:
    starts = [start(architecture(name)) for name in names]
    found = velocities([closure_of(name, level) for name in names], starts, factor)
    return dict(zip(names, found, strict=True))


@lru_cache(maxsize=1)
def _chain_arch() -> Architecture:
    shapes = {"W1": (3, 2), "W2": (3, 3), "W3": (4, 3)}
    return Architecture(lambda p: p["W3"] @ p["W2"] @ p["W1"], shapes, name="three layers", try_out=False)


def _scalar_second_law(lam: float) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Three layers with the second law scalar and the first one generic."""
    arch = _chain_arch()
    theta = start(arch, seed=5, scale=1.2)
    u, s, _ = np.linalg.svd(theta["W2"])
    q, _ = np.linalg.qr(np.random.default_rng(6).standard_normal((4, 4)))
    theta["W3"] = q[:, :3] @ np.diag(np.sqrt(s**2 + lam)) @ u.T
    return arch, theta


@lru_cache(maxsize=1)
def _closed_by_a_law(arch: Architecture, lam: float) -> Closure:
    return find_closure(arch, balanced={2: lam})


def _stated(closure: Closure, found: Velocities, lam: float) -> Evidence:
    """The found equations against the stated ones, at the values of the observables."""
    assert closure.matrix_form is not None  # a scalar second law closes three layers
    of = {text: np.asarray(found.state[name]) for name, text in closure.matrix_form.items()}
    z, a, b, c = (of[text] for text in ("W3 W2 W1", "W3 W3^T", "W1^T W1", "W1^T W2^T W2 W1"))
    g = np.asarray(found.gradient)
    x = g.T @ (a @ z - lam * z) + b @ g.T @ z
    stated = {
        "W3 W2 W1": -(g @ c + a @ g @ b + (a @ a - lam * a) @ g),
        "W3 W3^T": -(g @ z.T + z @ g.T),
        "W1^T W1": -(g.T @ z + z.T @ g),
        "W1^T W2^T W2 W1": -(x + x.T),
    }
    texts = closure.matrix_form
    return Evidence(
        [stated[text] for text in texts.values()],
        [np.asarray(found.closed[name]) for name in texts],
        scale=float(max(np.max(np.abs(value)) for value in stated.values())),
    )
