"""Write `docs/gallery.md`: laws, verdict, closure and its error for many architectures.

Run `python docs/make_gallery.py`; it takes some minutes, most of it compilation. The tests compute the rows again and
compare them with the page.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from gallery_rows import ENTRIES, FURTHER as FURTHER, GROUPS, KNOWN, Entry  # noqa: E402
from scipy.integrate import solve_ivp  # noqa: E402

import dlntheory as dln  # noqa: E402

PAGE = Path(__file__).parent / "gallery.md"
#: The verdict of larger networks takes minutes; smaller ones of the same kind have it.
MAX_VERDICT = 64
MAX_LINES = 8
MAX_CHARACTERS = 400
END = 1.0
HEADER = ("network", "$\\varphi$", "laws", "$z$ alone", "closure", "size", "ranks", "error")
#: A space and a hyphen at which browsers do not break a line.
SPACE, HYPHEN = "\u00a0", "\u2011"
ON_LEVEL_SETS = "intrinsic on level sets"

State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the library says about one architecture.

    Attributes:
        cells: the row of the table without the error.
        error: of the closed flow against the full flow, `None` where nothing closes.
        closure: the closure.
    """

    cells: tuple[str, ...]
    error: float | None
    closure: dln.Closure

    @property
    def line(self) -> str:
        """The row of the table in Markdown."""
        error = "" if self.error is None else f"{self.error:.0e}".replace("-", HYPHEN)
        return f"| {' | '.join((*self.cells, error))} |"


def facts(entry: Entry, *, verdict: bool = True) -> Facts:
    """Compute a row.

    Args:
        entry: the architecture.
        verdict: whether to decide about equations in z alone.
    """
    arch = entry.build()
    closure = dln.find_closure(arch, **entry.options)
    small = arch.size <= MAX_VERDICT
    cells = (
        entry.title,
        f"${entry.formula}$",
        _laws(dln.conservation_laws(arch)),
        _answer(dln.intrinsic(arch)) if small and verdict else "",
        _status(closure),
        *_sizes(arch, closure),
    )
    return Facts(cells, _error(entry, arch, closure) if closure.is_closed else None, closure)


def _laws(laws: dln.ConservationLaws) -> str:
    bounds = laws.certificate
    return f"{bounds.lower} to {bounds.upper}" if laws.count is None else str(laws.count)


def _answer(verdict: dln.IntrinsicityResult) -> str:
    if verdict.answer != ON_LEVEL_SETS:
        return verdict.answer
    return "on h = " + ", ".join(where.removeprefix("h = ") for where in verdict.where)


def _status(closure: dln.Closure) -> str:
    status = closure.status.partition(":")[0]
    assumed = f", {len(closure.rules)} scalar law{'s' * (len(closure.rules) > 1)}" if closure.rules else ""
    hints = f", hints {', '.join(closure.hints)}" if closure.is_closed and closure.hints else ""
    return f"{status if closure.is_closed else 'open'}, {closure.level}{assumed}{hints}"


def _sizes(arch: dln.Architecture, closure: dln.Closure) -> tuple[str, str]:
    if not closure.is_closed:
        return str(arch.size), ""
    ranks = closure.ranks
    assert ranks is not None  # the architectures are small
    return (
        SPACE.join((str(arch.size), "→", str(closure.sizes.state))),
        f"{ranks.observables}, {ranks.observables_on_level_set}, {ranks.z_on_level_set}",
    )


def _error(entry: Entry, arch: dln.Architecture, closure: dln.Closure) -> float:
    """Largest difference of z, relative to the largest z, for a loss that is not quadratic."""
    rng = np.random.default_rng(0)
    target = rng.standard_normal(arch.output_shape)
    if entry.start is None:
        theta0 = {name: entry.scale * rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    else:
        theta0 = entry.start(arch)

    def loss(z):
        return jnp.sum(jnp.logaddexp(z - target, target - z))

    flow = dln.GradientFlow(arch, loss)
    start = flow.check_start(theta0)
    # `Closure.dynamics` checks the assumptions; it may integrate factors, and here the equations themselves are wanted.
    closure.dynamics(loss).check_start(theta0)
    system = closure.system
    assert system is not None
    gradient = jax.grad(loss)
    full = _integrated(flow.initial(start), lambda state: flow.velocity(0.0, state), flow.output)
    closed = _integrated(
        system.initial(start),
        lambda state: system.velocity(state, gradient(system.output(state))),
        system.output,
    )
    return float(np.max(np.abs(full - closed)) / np.max(np.abs(full)))


def _integrated(
    initial: State, velocity: Callable[[State], State], output: Callable[[State], Any]
) -> np.ndarray:
    """z at six times, by SciPy's DOP853: an integrator that knows nothing of the library."""
    state = {name: np.asarray(value) for name, value in initial.items()}
    cuts = np.cumsum([value.size for value in state.values()])[:-1]

    def unpack(y: Any) -> State:
        parts = jnp.split(y, cuts)
        return {
            name: jnp.reshape(part, np.shape(state[name])) for name, part in zip(state, parts, strict=True)
        }

    @jax.jit
    def field(y):
        change = velocity(unpack(y))
        return jnp.concatenate([jnp.ravel(change[name]) for name in state])

    y0 = np.concatenate([np.ravel(value) for value in state.values()])
    times = np.linspace(0.0, END, 6)
    run = solve_ivp(
        lambda t, y: np.asarray(field(y)),
        (0.0, END),
        y0,
        method="DOP853",
        t_eval=times,
        rtol=1e-12,
        atol=1e-14,
    )
    seen = jax.jit(jax.vmap(lambda y: output(unpack(y))))
    return np.asarray(seen(run.y.T))


def section(entry: Entry, closure: dln.Closure) -> str:
    """Observables and equations of a network in LaTeX, the first ones where there are many."""
    known = "; the closure is known by hand" if entry in KNOWN else ""
    size = closure.architecture.size
    parts = [f"### {entry.title}", f"$\\varphi = {entry.formula}$, {size} parameters{known}."]
    if closure.system is None:
        return "\n\n".join([*parts, f"Open: {closure.explanation}."])
    named = [(o.name, o.latex) for o in closure.observables if o.name != o.latex]
    equations = closure.system.latex_lines()
    for lines in ([f"{_subscripted(name)} &= {latex}" for name, latex in named], equations):
        kept = [line for line in lines[:MAX_LINES] if len(line) <= MAX_CHARACTERS]
        rest = len(lines) - len(kept)
        shown = " \\\\\n".join(kept)
        if kept:
            parts.append(f"```math\n\\begin{{aligned}}\n{shown}\n\\end{{aligned}}\n```")
        if rest:
            kind = "equations" if lines is equations else "observables"
            parts.append(f"… and {rest} more {kind}.")
    laws = closure.laws[:4]
    if laws:
        more = f" and {len(closure.laws) - len(laws)} more" if len(closure.laws) > len(laws) else ""
        parts.append("Conserved: " + ", ".join(f"${law.latex}$" for law in laws) + more + ".")
    return "\n\n".join(parts)


def _subscripted(name: str) -> str:
    stem = name.rstrip("0123456789")
    return name if stem == name or not stem.isalpha() else f"{stem}_{{{name[len(stem) :]}}}"


def page(lines: Mapping[str, str], sections: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        lines: the row of the table by title.
        sections: the equations by title.
    """
    parts = []
    for heading, titles in GROUPS.items():
        head = [f"| {' | '.join(HEADER)} |", f"| {' | '.join(['---'] * len(HEADER))} |"]
        table = "\n".join([*head, *(lines[title] for title in titles)])
        parts += [f"## {heading}", table, *(sections[title] for title in titles)]
    return _TEXT + "\n\n".join(parts) + "\n"


def main() -> None:
    """Compute all rows and write the page."""
    lines, sections = {}, {}
    for entry in ENTRIES:
        found = facts(entry)
        lines[entry.title], sections[entry.title] = found.line, section(entry, found.closure)
        sys.stderr.write(found.line + "\n")
    PAGE.write_text(page(lines, sections), encoding="utf-8")


_TEXT = r"""# Gallery

What closes, and what does not: for each architecture its conservation laws, whether $z$ has equations of its own, the
closed system that `find_closure` finds, and how far its $z(t)$ is from the one of the full gradient flow. The
library computes every entry ([script](make_gallery.py), [architectures](gallery_rows.py)), and the tests compute them
again. A row of one's own:

```python
import jax

jax.config.update("jax_enable_x64", True)

import dlntheory as dln

shapes = {"U": (2, 3), "V": (2, 3)}
arch = dln.Architecture(lambda p: p["U"] @ p["V"].T, shapes, name="two layers")
laws, verdict, closure = dln.conservation_laws(arch), dln.intrinsic(arch), dln.find_closure(arch)
print(laws.count, laws.status, verdict.answer, closure.status, closure.sizes)
assert (laws.count, closure.status, closure.sizes.state) == (6, "closed", 12)
print(closure)
```

How to read the tables:

- **laws**: the number of independent conservation laws of gradient flow, proved by a
  [certificate](concepts/certificates.md); a range where only bounds are proved.
- **z alone**: the verdict of [`intrinsic`](theory/intrinsic.md). *Recoverable*: the parameters are locally functions of
  $z$ and the laws, and at one random start no other ones with another equation were found (at others there may be
  some, as for the cube); *several branches*: others were found, so an equation in $z$ alone holds until two branches
  meet. *Intrinsic*: $z$ has equations of its own on each level set of the laws; *on h = …*: only on those,
  $D_l = h_l I$. *Not intrinsic*: not on generic ones, and on no special one that could be decided. Empty: not tested
  above {limit} parameters.
- **closure**: the status, and whether whole matrices (words) or single entries were [closed](theory/closure.md). *Full
  space* means that the observables determine the parameters up to finitely many choices: the equations hold, but
  reduce nothing. *Scalar laws* and *hints* are assumptions and observables that were given.
- **size**: parameters of the network → numbers in the closed system.
- **ranks**: how many observables are independent, how many of them are left where the laws are fixed, and how many of
  those $z$ accounts for. Where the last two agree, $z$ and the laws determine all observables locally.
- **error**: $\max_t \lvert z_\mathrm{closed} - z_\mathrm{full}\rvert / \max \lvert z\rvert$ for $t \le 1$. The
  equations below the table are integrated as they stand; both flows by SciPy's DOP853 at a relative tolerance of
  $10^{-12}$, for the loss $\sum \log(2\cosh(z - S))$ and random starts (on the assumed laws where there are any).

In the equations below each table, $G = \nabla f(z)$ with the shape of $z$; $G_1, G_2, …$ are its blocks where $z$ has
several. Entries count from one; $Q_{[0]}$, $Q_{[1]}$, … are the slices of an array, from zero.

""".replace("{limit}", str(MAX_VERDICT))


if __name__ == "__main__":
    main()
