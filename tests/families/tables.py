"""The reference tables of conservation laws: every second row, as architecture, training rule and expected counts.

The suites list dimensions from output to input, the catalogue from input to output, and factorisations as they are
written, U before V. `D` counts the state, which with momentum is time, parameters and velocities.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlntheory import families as c
from dlntheory.architecture import Architecture

DATA = Path(__file__).parents[1] / "data"
METRICS = {"nmf": {"U": "theta", "V": "theta"}, "icnn": {"U": "theta"}}
MIRROR = {"nmf": {"U": "mirror", "V": "mirror"}, "icnn": {"U": "mirror"}}


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Attributes:
        id: table and index.
        build: makes the architecture.
        dimension: D of the table.
        laws: the number of laws.
        explicit: how many of them polynomials of degree at most two give; less than `laws` in the gap cases.
        ranks: the generic ranks by depth, where the table has them.
        depth: the depth at which the certificate closes, where the table has it.
        options: momentum and metric, as arguments of `conservation_laws`.
    """

    id: str
    build: Callable[[], Architecture]
    dimension: int
    laws: int
    explicit: int
    ranks: tuple[int, ...] | None = None
    depth: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


def load(name: str) -> Any:
    """A table as it is stored."""
    return json.loads((DATA / f"conservation_{name}_half.json").read_text())


def network(kind: str, row: dict[str, Any]) -> Architecture:
    """The architecture of a row of a suite."""
    dims, bias = row["dims"], row.get("bias", False)
    if kind == "linear":
        return c.linear_network(dims[::-1])
    if kind == "relu":
        return c.relu_network(dims[::-1], bias)
    if kind == "nmf":
        return c.nonnegative_factorisation(*dims)
    return c.input_convex(*dims, bias=bias)


def suite_cases() -> list[Case]:
    """The published random suites."""
    cases = []
    for suite, table in load("suites").items():
        kind = suite.removeprefix("momentum_").removesuffix("_momentum")
        for row in table["rows"]:
            assert row["certified"]
            assert row["lie_rank"] + row["n_laws"] == row["D"]
            options = {"metric": METRICS[kind]} if kind in METRICS else {}
            if "momentum" in suite:
                options["momentum"] = row["tau"]
            if suite == "nmf_momentum":
                options["metric"] = MIRROR[kind]
            cases.append(
                Case(
                    id=f"{suite}-{row['index']}",
                    build=lambda kind=kind, row=row: network(kind, row),
                    dimension=row["D"],
                    laws=row["n_laws"],
                    explicit=row["n_laws"],
                    ranks=tuple(row["ranks_by_depth"]),
                    depth=row["bracket_depth"],
                    options=options,
                )
            )
    return cases


def extended_cases() -> list[Case]:
    """The variants of the suites with momentum: other frictions, biases and metrics."""
    cases = []
    for variant, rows in load("extended").items():
        if not isinstance(rows, list):
            continue
        kind = variant.removeprefix("momentum_").split("_")[0]
        for row in rows:
            options = {"momentum": row["tau"]}
            if kind in METRICS:
                # The suites have diag(U) for input-convex networks in one run and diag(tau U + U') in another.
                options["metric"] = METRICS[kind] if variant.endswith("_U") else MIRROR[kind]
            cases.append(
                Case(
                    id=f"{variant}-{row['index']}",
                    build=lambda kind=kind, row=row: network(kind, row),
                    dimension=row["D"],
                    laws=row["n_laws"],
                    explicit=row["n_laws"],
                    depth=row.get("depth"),
                    options=options,
                )
            )
    return cases


def catalogue_cases() -> list[Case]:
    """The catalogue of models."""
    return [
        Case(
            id=f"catalogue-{row['index']}",
            build=CATALOGUE[row["name"]],
            dimension=row["D"],
            laws=row["n_laws"],
            explicit=row["rank_deg12"],
            ranks=tuple(row["ranks"]),
        )
        for row in load("catalogue")
    ]


CATALOGUE: dict[str, Callable[[], Architecture]] = {
    "linear [2, 3, 2]": lambda: c.linear_network((2, 3, 2)),
    "linear [3, 1, 3]": lambda: c.linear_network((3, 1, 3)),
    "linear [2, 3, 3, 1]": lambda: c.linear_network((2, 3, 3, 1)),
    "linear [1, 3, 3, 1]": lambda: c.linear_network((1, 3, 3, 1)),
    "linear [2, 1, 2, 2, 1]": lambda: c.linear_network((2, 1, 2, 2, 1)),
    "linear+all biases [2, 2, 2]": lambda: c.linear_network((2, 2, 2), bias=True),
    "linear+all biases [2, 2, 2, 2]": lambda: c.linear_network((2, 2, 2, 2), bias=True),
    "linear+all biases [1, 3, 2]": lambda: c.linear_network((1, 3, 2), bias=True),
    "relu path lifting [2, 2, 2] bias=True": lambda: c.relu_network((2, 2, 2), bias=True),
    "relu path lifting [1, 2, 1] bias=False": lambda: c.relu_network((1, 2, 1)),
    "relu path lifting [2, 3, 2, 2] bias=False": lambda: c.relu_network((2, 3, 2, 2)),
    "residual prod(I+W_l) n=2 L=3": lambda: c.residual_network(2, 3),
    "residual prod(I+W_l) n=1 L=3": lambda: c.residual_network(1, 3),
    "two-layer residual blocks prod(I+B_lA_l) n=2 h=2 L=2": lambda: c.residual_blocks(2, (2, 2)),
    "two-layer residual blocks prod(I+B_lA_l) n=2 h=3 L=2": lambda: c.residual_blocks(2, (3, 3)),
    "W2W1+W3 (trainable skip) n=2": lambda: c.shortcut_network(2, 2, 2),
    "tied W^2 n=3": lambda: c.tied_network(3, 2),
    "tied W^3 n=3": lambda: c.tied_network(3, 3),
    "linear RNN CA^kB k<2n, state n=2 io=2": lambda: c.recurrent_network(2, 2, 2),
    "W3 W^2 W1 tied middle n=2 d=2": lambda: c.sandwich(2, 2, 2),
    "symmetric W^T W, W 2x2": lambda: c.gram_factorisation(2, 2),
    "symmetric W^T W, W 4x2": lambda: c.gram_factorisation(4, 2),
    "UU^T - VV^T n=2 k=2": lambda: c.difference_of_grams(2, 2),
    "UU^T - VV^T n=2 k=1": lambda: c.difference_of_grams(2, 1),
    "diagonal depth 3 n=3": lambda: c.diagonal_network(3, 3),
    "diagonal u^2-v^2 n=3": lambda: c.difference_of_squares(3),
    "circular conv full width n=3 L=2": lambda: c.convolutional_network((3, 3), 3),
    "circular conv full width n=5 L=2": lambda: c.convolutional_network((5, 5), 5),
    "circular conv full width n=6 L=2": lambda: c.convolutional_network((6, 6), 6),
    "circular conv n=6 filters=[3, 2]": lambda: c.convolutional_network((3, 2), 6),
    "circular conv n=8 filters=[2, 2, 2]": lambda: c.convolutional_network((2, 2, 2), 8),
    "circular conv n=4 filters=[3, 3]": lambda: c.convolutional_network((3, 3), 4),
    "circular conv n=6 filters=[6, 3]": lambda: c.convolutional_network((6, 3), 6),
    "multichannel conv c=(2,2,2) k=2": lambda: c.multichannel_network((2, 2, 2), 2),
    "low-rank adapters W0+BA, widths [2, 2] r=1 (frozen W0)": lambda: c.low_rank_adapter((2, 2), 1),
    "low-rank adapters W0+BA, widths [2, 2, 2] r=2 (frozen W0)": lambda: c.low_rank_adapter((2, 2, 2), 2),
    "softmax attention head QK^T, VO d=3 h=2": lambda: c.attention(3, 2),
    "linear attention 1 head (QK^T)x(VO) d=2 h=1": lambda: c.linear_attention(2, 1),
    "linear attention 2 heads sum (QK^T)x(VO) d=2 h=1": lambda: c.linear_attention(2, 1, heads=2),
    "merged linear attention 2 heads sum A x B d=2": lambda: c.merged_attention(2, heads=2),
    "CP [2, 2, 2] R=2": lambda: c.cp_decomposition((2, 2, 2), 2),
    "CP [3, 2, 2] R=2": lambda: c.cp_decomposition((3, 2, 2), 2),
    "CP [2, 2, 2, 2] R=2": lambda: c.cp_decomposition((2, 2, 2, 2), 2),
    "Tucker 2x2x2 core 2x2x2": lambda: c.tucker_decomposition((2, 2, 2), (2, 2, 2)),
    "quadratic activation sum a_k w_k w_k^T d=3 m=1": lambda: c.quadratic_activation(3, 1),
    "quadratic activation sum a_k w_k w_k^T d=2 m=2": lambda: c.quadratic_activation(2, 2),
    "W2W1X, X of rank 1 in dimension 3, h=2 o=2": lambda: c.linear_network((3, 2, 2)).restricted_to(
        [[1, 2, -1]]
    ),
    "softmax output layer (logit differences) k=3 d=2": lambda: c.softmax_output((2, 3)),
}
