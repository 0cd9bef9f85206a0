"""Claims about what closes: how many observables of which ranks, what does not close, and what does after hints."""

from __future__ import annotations

from ...families import linear_network
from ...reductions.closure import find_closure
from ..base import Evidence, claim
from ..curves import Curves
from .systems import closure_of, start, velocities


@claim(
    id="closure-counts-and-ranks",
    paper="closure",
    statement=r"Numbers of observables, functional ranks, and ranks on a level set of the laws: $UV^\top$ 10, 9, 6 "
    r"($2\times3$); attention 20, 14, 10; $u\odot v$ 9, 6, 3 ($n=3$); $uv^\top$ 10, 4, 3; $abc$ 4, 3, 1; residual "
    "blocks 24, 8, 6.",
    summary="Counts and ranks of the closures of entries, for six architectures.",
    source="derived here",
    tolerance=0.5,
    holds={"fixed": True},
    violated={"fixed": False},
    control="the laws are not fixed, so that the rank on a level set is the full one",
)
def closure_counts_and_ranks(fixed: bool) -> Evidence:
    expected = {
        "two layers": (10, 9, 6),
        "attention": (20, 14, 10),
        "diagonal": (9, 6, 3),
        "neuron": (10, 4, 3),
        "scalar chain": (4, 3, 1),
        "residual": (24, 8, 6),
    }
    wrong = 0
    found = {}
    for name, numbers in expected.items():
        closure = closure_of(name, "entries")
        ranks = closure.ranks
        assert ranks is not None  # the architectures are small
        last = ranks.observables_on_level_set if fixed else ranks.observables
        found[name] = (len(closure.observables), ranks.observables, last)
        wrong += found[name] != numbers
    return Evidence(
        predicted="as stated",
        measured=f"{wrong} of {len(expected)} differ",
        error=float(wrong),
        detail=str(found),
    )


@claim(
    id="z-suffices-on-level-sets",
    paper="closure",
    statement=r"With the conservation laws fixed, the observables of $u\odot v$, $uv^\top$, $abc$ are locally "
    r"functions of $z$: rank $[\partial O; \partial h]$ = rank $[\partial\varphi; \partial h]$. For $UV^\top$ with "
    "three hidden units they are not: 6 against 4.",
    summary="On a level set z determines the observables of diagonal nets, neurons and scalar chains.",
    source="derived here; compare [marcotte2026intrinsic] (intrinsic metric)",
    tolerance=0.5,
    holds={"names": ("diagonal", "neuron", "scalar chain")},
    violated={"names": ("two layers",)},
    control="a two-layer network with three hidden units has directions that z and the laws do not see",
)
def z_suffices_on_level_sets(names: tuple[str, ...]) -> Evidence:
    gaps = {}
    for name in names:
        ranks = closure_of(name, "entries").ranks
        assert ranks is not None  # the architectures are small
        gaps[name] = ranks.observables_on_level_set - ranks.z_on_level_set
    return Evidence(
        predicted=0, measured=max(gaps.values()), error=float(max(gaps.values())), detail=str(gaps)
    )


@claim(
    id="three-layers-do-not-close-in-words",
    paper="closure",
    statement=r"The closure of the word $W_3W_2W_1$ asks for $W_3(W_2W_2^\top)^kW_3^\top$, $W_3(W_2W_2^\top)^kW_2W_1$ "
    r"and $W_1^\top(W_2^\top W_2)^kW_1$ for every $k$; with one or both laws scalar it ends at 4 or 3 matrices.",
    summary="Three linear layers have no finite closure of words, unless a law is scalar.",
    source="derived here",
    tolerance=0.5,
    holds={"scalar": False},
    violated={"scalar": True},
    control="the second law is scalar",
)
def three_layers_do_not_close_in_words(scalar: bool) -> Evidence:
    arch = linear_network((2, 3, 3, 2))
    depths = []
    for degree in (4, 8, 12):
        found = find_closure(arch, level="words", max_degree=degree, balanced={2: 0.7} if scalar else None)
        depths.append(0 if found.is_closed else max(found.attempts[0].collected, key=len).count("W2 W2^T"))
    # Each bound on the degree is reached, by words with ever more factors W2.
    grows = depths[0] < depths[1] < depths[2]
    largest = find_closure(arch, level="words", max_degree=12, balanced={2: 0.7} if scalar else None)
    return Evidence(
        predicted="open at every degree",
        measured=f"closed with {len(largest.observables)} matrices"
        if largest.is_closed
        else "open at every degree",
        error=0.0 if grows and not largest.is_closed else 1.0,
        detail=largest.explanation,
        curves=Curves(
            "largest degree that is allowed",
            "factors $W_2W_2^\\top$ in the longest word",
            {"words asked for (0: closed)": ((4, 8, 12), depths)},
        ),
    )


@claim(
    id="spectral-hints-close-three-layers",
    paper="closure",
    statement=r"The 1-2-2-1 linear network closes with 8 observables of rank 6, given $\mathrm{tr}\, W_2W_2^\top$ and "
    r"$\det W_2$; without them the search stops at degree $(1, 7, 1)$.",
    summary="Trace and determinant of the middle layer close the 1-2-2-1 network.",
    source="derived here (Cayley-Hamilton)",
    tolerance=5e-16,
    holds={"hints": ("tr(W2 W2^T)", "det(W2)")},
    violated={"hints": ()},
    control="no hints are given",
)
def spectral_hints_close_three_layers(hints: tuple[str, ...]) -> Evidence:
    arch = linear_network((1, 2, 2, 1))
    closure = find_closure(arch, hints, level="entries", propose=False)
    if not closure.is_closed:
        return Evidence(
            predicted="8 observables of rank 6",
            measured="open",
            error=1.0,
            detail=f"stops at {closure.offending}",
        )
    ranks = closure.ranks
    assert ranks is not None  # the architecture is small
    (found,) = velocities([closure], [start(arch)])
    error = found.error
    if (len(closure.observables), ranks.observables) != (8, 6):
        error = max(error, 1.0)
    return Evidence(
        predicted="8 observables of rank 6",
        measured=f"{len(closure.observables)} observables of rank {ranks.observables}",
        error=error,
    )


@claim(
    id="fifty-neurons-become-37-numbers",
    paper="closure",
    statement=r"A two-layer linear network of widths 3-50-4 has 350 parameters and a closed system of 37 numbers; the "
    "system is that of every hidden width.",
    summary="350 parameters of a 3-50-4 network become 37 numbers, and 500 hidden units change nothing.",
    source="derived here",
    tolerance=0.5,
    holds={"hidden": (50, 500)},
    violated={"hidden": (2, 3)},
    control="a narrow network has fewer parameters than its closed system has numbers",
)
def fifty_neurons_become_37_numbers(hidden: tuple[int, int]) -> Evidence:
    closures = [find_closure(linear_network((3, width, 4))) for width in hidden]
    assert closures[0].system is not None  # two layers always close
    assert closures[1].system is not None
    saved = all(closure.sizes.state < closure.sizes.parameters for closure in closures)
    same = closures[0].system.lines() == closures[1].system.lines()
    numbers = closures[0].sizes.state
    right = saved and same and numbers == 37
    curves = Curves(
        "hidden width",
        "numbers",
        {
            "parameters of the network": (hidden, [closure.sizes.parameters for closure in closures]),
            "closed system": (hidden, [closure.sizes.state for closure in closures]),
        },
        scale="log-log",
    )
    error = 0.0 if right else 1.0
    return Evidence(predicted=37, measured=numbers, error=error, detail=str(closures[0].sizes), curves=curves)
