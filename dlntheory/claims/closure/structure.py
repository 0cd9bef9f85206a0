"""Claims about what closes: how many observables of which ranks, what does not close, and what does after hints."""

from __future__ import annotations

from ...families import linear_network
from ...reductions.closure import find_closure
from ..base import claim
from ..curves import Curves
from ..evidence import Evidence
from .systems import closure_of, start, velocities


@claim(
    statement=r"Numbers of observables, functional ranks, and ranks on a level set of the laws: $UV^\top$ 10, 9, 6 "
    r"($2\times3$); attention 20, 14, 10; $u\odot v$ 9, 6, 3 ($n=3$); $uv^\top$ 10, 4, 3; $abc$ 4, 3, 1; residual "
    "blocks 24, 8, 6.",
    source="derived here",
    tolerance=0.5,
    arguments={"fixed": True},
    control_arguments={"fixed": False},
    control="the laws are not fixed, so that the rank on a level set is the full one",
    breaks="prediction",
)
def closure_counts_and_ranks(fixed: bool) -> Evidence:
    """Counts and ranks of the closures of entries, for six architectures."""
    expected = {
        "two layers": (10, 9, 6),
        "attention": (20, 14, 10),
        "diagonal": (9, 6, 3),
        "neuron": (10, 4, 3),
        "scalar chain": (4, 3, 1),
        "residual": (24, 8, 6),
    }
    found = {}
    for name in expected:
        closure = closure_of(name, "entries")
        ranks = closure.ranks
        assert ranks is not None  # the architectures are small
        last = ranks.observables_on_level_set if fixed else ranks.observables
        found[name] = (len(closure.observables), ranks.observables, last)
    parts = {name: Evidence(expected[name], found[name]) for name in expected}
    return Evidence.worst(parts, detail="numbers of observables and ranks")


@claim(
    statement=r"With the conservation laws fixed, the observables of $u\odot v$, $uv^\top$, $abc$ are locally "
    r"functions of $z$: rank $[\partial O; \partial h]$ = rank $[\partial\varphi; \partial h]$. For $UV^\top$ with "
    "three hidden units they are not: 6 against 4.",
    source="derived here; compare [marcotte2026intrinsic] (intrinsic metric)",
    tolerance=0.5,
    arguments={"names": ("diagonal", "neuron", "scalar chain")},
    control_arguments={"names": ("two layers",)},
    control="a two-layer network with three hidden units has directions that z and the laws do not see",
)
def z_suffices_on_level_sets(names: tuple[str, ...]) -> Evidence:
    """On a level set z determines the observables of diagonal nets, neurons and scalar chains."""
    gaps = {}
    for name in names:
        ranks = closure_of(name, "entries").ranks
        assert ranks is not None  # the architectures are small
        gaps[name] = ranks.observables_on_level_set - ranks.z_on_level_set
    return Evidence(0, max(gaps.values()), detail=str(gaps))


@claim(
    statement=r"The closure of the word $W_3W_2W_1$ asks for $W_3(W_2W_2^\top)^kW_3^\top$, $W_3(W_2W_2^\top)^kW_2W_1$ "
    r"and $W_1^\top(W_2^\top W_2)^kW_1$ for every $k$; with one or both laws scalar it ends at 4 or 3 matrices.",
    source="derived here",
    tolerance=0.5,
    arguments={"scalar": False},
    control_arguments={"scalar": True},
    control="the second law is scalar",
)
def three_layers_do_not_close_in_words(scalar: bool) -> Evidence:
    """Three linear layers have no finite closure of words, unless a law is scalar."""
    arch = linear_network((2, 3, 3, 2))
    depths = []
    for degree in (4, 8, 12):
        found = find_closure(arch, level="words", max_degree=degree, balanced={2: 0.7} if scalar else None)
        depths.append(0 if found.is_closed else max(found.attempts[0].collected, key=len).count("W2 W2^T"))
    # Each bound on the degree is reached, by words with ever more factors W2.
    largest = find_closure(arch, level="words", max_degree=12, balanced={2: 0.7} if scalar else None)
    growing = tuple(sorted(set(depths))) == tuple(depths) and not largest.is_closed
    return Evidence(
        "open at every degree",
        "open at every degree" if growing else f"closed with {len(largest.observables)} matrices",
        detail=largest.explanation,
        curves=Curves(
            "largest degree that is allowed",
            "factors $W_2W_2^\\top$ in the longest word",
            {"words required (0: closed)": ((4, 8, 12), depths)},
        ),
    )


@claim(
    statement=r"The 1-2-2-1 linear network closes with 8 observables of rank 6, given $\mathrm{tr}\, W_2W_2^\top$ and "
    r"$\det W_2$; without them the search stops at degree $(1, 7, 1)$.",
    source="derived here (Cayley-Hamilton)",
    tolerance=5e-16,
    arguments={"hints": ("tr(W2 W2^T)", "det(W2)")},
    control_arguments={"hints": ()},
    control="no hints are given",
)
def spectral_hints_close_three_layers(hints: tuple[str, ...]) -> Evidence:
    """Trace and determinant of the middle layer close the 1-2-2-1 network."""
    arch = linear_network((1, 2, 2, 1))
    closure = find_closure(arch, hints, level="entries", propose=False)
    expected = "8 observables of rank 6"
    if not closure.is_closed:
        return Evidence(expected, "open", detail=f"stops at {closure.offending}")
    ranks = closure.ranks
    assert ranks is not None  # the architecture is small
    (found,) = velocities([closure], [start(arch)])
    measured = f"{len(closure.observables)} observables of rank {ranks.observables}"
    return Evidence.worst([found.evidence, Evidence(expected, measured)], detail=measured)


@claim(
    statement=r"A two-layer linear network of widths 3-50-4 has 350 parameters and a closed system of 37 numbers; the "
    "system is that of every hidden width.",
    source="derived here",
    tolerance=0.5,
    arguments={"hidden": (50, 500)},
    control_arguments={"hidden": (2, 3)},
    control="a narrow network has fewer parameters than its closed system has numbers",
)
def fifty_neurons_become_37_numbers(hidden: tuple[int, int]) -> Evidence:
    """350 parameters of a 3-50-4 network become 37 numbers, and 500 hidden units change nothing."""
    closures = [find_closure(linear_network((3, width, 4))) for width in hidden]
    assert closures[0].system is not None  # two layers always close
    assert closures[1].system is not None
    first, second = closures[0].system.lines(), closures[1].system.lines()
    saved = all(closure.sizes.state < closure.sizes.parameters for closure in closures)
    curves = Curves(
        "hidden width",
        "numbers",
        {
            "parameters of the network": (hidden, [closure.sizes.parameters for closure in closures]),
            "closed system": (hidden, [closure.sizes.state for closure in closures]),
        },
        scale="log-log",
    )
    parts = {
        "numbers": Evidence(37, [closure.sizes.state for closure in closures]),
        "fewer than parameters": Evidence("yes", "yes" if saved else "no"),
        "same system": Evidence("yes", "yes" if first == second else "no"),
    }
    return Evidence.worst(parts, detail=str(closures[0].sizes), curves=curves)
