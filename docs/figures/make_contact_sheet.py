"""Draw `docs/figures/contact-sheet.png`: every figure function of `dlntheory.plotting`, each with its name.

Run `python docs/figures/make_contact_sheet.py`; it takes one or two minutes, most of it compilation.
"""

import io
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import jax
import matplotlib

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")

import jax.numpy as jnp  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import dlntheory as dln  # noqa: E402
from dlntheory.plotting import style  # noqa: E402
from dlntheory.reductions.parsimony import (  # noqa: E402
    ObservedEntries,
    active_subspaces,
    complete,
    compress,
    descent,
    plots as parsimony,
)
from dlntheory.theory import alignment as separable, mean_field as limit, saddles as paths  # noqa: E402
from dlntheory.theory.alignment import plots as alignment  # noqa: E402
from dlntheory.theory.collapse import collapse_metrics  # noqa: E402
from dlntheory.theory.collapse.plots import plot_collapse  # noqa: E402
from dlntheory.theory.landscape import (  # noqa: E402
    critical_points,
    plots as landscape,
)
from dlntheory.theory.mean_field import plots as mean_field  # noqa: E402
from dlntheory.theory.saddles import (  # noqa: E402
    phase_diagram_plots as phase_diagram,
    plots as saddles,
)
from dlntheory.training import plots as training  # noqa: E402

#: Figures by name, each drawn on new axes when called.
Figures = dict[str, Callable[[], object]]

DPI, COLUMNS = 72, 3
#: Width and height of one cell in inches: a single figure with its name above.
CELL = (4.8, 3.65)


def orthogonal(rng: np.random.Generator, widths: tuple[int, ...], scale: float) -> dict[str, np.ndarray]:
    """Square orthogonal layers times a scale."""
    sizes = enumerate(pairwise(widths), start=1)
    return {f"W{i}": scale * np.linalg.qr(rng.standard_normal((b, a)))[0] for i, (a, b) in sizes}


def training_figures() -> Figures:
    """One full and one reduced run, and gradient descent with its drift."""
    arch = dln.linear_network((6, 10, 4))
    loss = dln.SquaredLoss.from_target(np.eye(4, 6) * np.array([[3.0], [2.0], [1.0], [0.5]]))
    theta0 = dln.gaussian(arch, jax.random.key(0), scale=0.03)
    flow = dln.GradientFlow(arch, loss)
    both = dln.compare(flow, dln.reduce(arch, theta0), theta0, 14.0, ts=200, timing=False)
    deep = dln.linear_network((4, 6, 5, 3))
    target = dln.SquaredLoss.from_target(np.eye(3, 4) * np.array([[2.0], [1.0], [0.5]]))
    start = dln.gaussian(deep, jax.random.key(1), scale=0.3)
    discrete = dln.iterate(dln.GradientDescent(deep, target, 0.01), start, 1500, ts=100)

    def two(plot):
        ax = plot(both.full, **style.FULL_STYLE)
        plot(both.reduced, ax, **style.REDUCED_STYLE)
        style.legend(ax)

    return {
        "training.plot_loss": lambda: two(training.plot_loss),
        "training.plot_singular_values": lambda: two(training.plot_singular_values),
        "training.plot_drift": lambda: training.plot_drift(discrete),
        "training.plot_comparison": lambda: training.plot_comparison(both),
    }


def alignment_figures() -> Figures:
    """Separable data: three depths, three step rules, two digits."""
    data = dln.data.simplex_margin(jax.random.key(0), samples=30, dimension=4, margin=0.3)
    task = separable.SeparableProblem(data.inputs, data.targets, name=data.name)
    key = jax.random.key(1)
    runs = [
        separable.log_time_flow(
            task, separable.admissible_start(task, task.network(depth), key), 1e4, ts=60, rtol=1e-8
        )
        for depth in (1, 2, 3)
    ]
    logistic = separable.SeparableProblem(data.inputs, data.targets, "logistic", name=data.name)
    start = separable.admissible_start(logistic, logistic.network(2), key)
    steps = np.unique(np.geomspace(1, 3000, 40).round().astype(int))
    rules = ("paper", "sharper", "normalised")
    descents = [separable.gradient_descent(logistic, start, rule, 3000, ts=steps) for rule in rules]
    digits = dln.data.digit_pair(0, 1)
    pair = separable.SeparableProblem(digits.inputs, digits.targets, "logistic", name=digits.name)
    small = separable.admissible_start(pair, pair.network(2, 4), key, scale=0.1)
    images = separable.log_time_flow(pair, small, 1e3, method="stiff", rtol=1e-8)
    return {
        "alignment.plot_alignment": lambda: alignment.plot_alignment(runs[2]),
        "alignment.plot_margin_gap": lambda: alignment.plot_margin_gap(runs),
        "alignment.plot_spectra": lambda: alignment.plot_spectra(runs[2]),
        "alignment.plot_descent": lambda: alignment.plot_descent(descents),
        "alignment.plot_directions": lambda: alignment.plot_directions(images, (8, 8)),
    }


def saddle_figures() -> Figures:
    """Paths from small starts, distances at the start, the landscape between."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    target = (left * [3.0, 1.8, 1.0]) @ right.T
    cost = dln.SquaredLoss.from_target(target)

    def start(depth, width=5, side=3, size=0.5):
        draw, widths = np.random.default_rng(1), [side, *[width] * (depth - 1), side]
        shapes = enumerate(pairwise(widths), start=1)
        return {f"W{i}": size * draw.standard_normal((b, a)) for i, (a, b) in shapes}

    near = np.diag([2.0, 1.0, 0.6])
    studies = [paths.phase_transition(near, 2, gamma, (16, 32, 64, 128)) for gamma in (0.8, 1.0, 1.5)]
    run, shallow = (
        paths.follow_path(cost, start(depth), alpha, method="stiff")
        for depth, alpha in ((3, 1e-3), (2, 1e-5))
    )
    alphas = (1e-1, 3e-2, 1e-2, 3e-3)
    law = paths.escape_time(target, start(3), 1e-2)
    times = [paths.measured_half_time(target, start(3), alpha, rtol=1e-8) for alpha in alphas]
    approach = [
        paths.approach_study(
            [
                paths.follow_path(cost, start(depth, size=0.2), alpha, method="stiff", rtol=1e-8)
                for alpha in (1e-2, 1e-3, 1e-4)
            ],
            target,
        )
        for depth in (2, 3)
    ]
    problem = paths.completion_problem(8, 2)
    completed = [paths.completion_study(problem, start(depth, 8, 8, 0.3), (1e-1, 1e-2)) for depth in (2, 3)]
    cases = [(3, 3), (5, 3), (4, 4), (6, 4), (4, 2)]
    return {
        "saddles.plot_plateaus": lambda: saddles.plot_plateaus(shallow, paths.plateaus(shallow)),
        "saddles.plot_path": lambda: saddles.plot_path(run, quantity="gradient", found=paths.plateaus(run)),
        "saddles.plot_approach": lambda: saddles.plot_approach(approach),
        "saddles.plot_escape_times": lambda: saddles.plot_escape_times(law, alphas, times),
        "saddles.plot_bottleneck": lambda: saddles.plot_bottleneck(cases, np.geomspace(1e-4, 1e-1, 7)),
        "saddles.plot_recovery": lambda: saddles.plot_recovery(completed),
        "saddles.plot_distances": lambda: saddles.plot_distances(studies),
        "phase_diagram.plot_phase_diagram": lambda: phase_diagram.plot_phase_diagram(
            near, 2, studies=studies
        ),
        "landscape.plot_critical_points": lambda: landscape.plot_critical_points(
            critical_points(np.diag([3.0, 2.0, 1.0, 0.5]), 3)
        ),
        "landscape.plot_mode_landscape": lambda: landscape.plot_mode_landscape(
            1.5, 3, [0.0, 0.3, 0.6, 0.68, 0.8]
        ),
    }


def parsimony_figures() -> Figures:
    """Orthogonal layers on a target of rank two, and a matrix completed from half of its entries."""
    rng = np.random.default_rng(0)
    arch = dln.linear_network((16,) * 4)
    phi = rng.standard_normal((16, 2)) @ rng.standard_normal((2, 16)) / 16
    theta0, loss = orthogonal(rng, (16,) * 4, 0.7), dln.SquaredLoss.from_target(phi)
    full = dln.iterate(dln.GradientDescent(arch, loss, 0.05), theta0, 400, ts=81)
    flow = compress(arch, loss, theta0)
    small = dln.iterate(descent(flow, 0.05), theta0, 400, ts=81)
    states = {name: jnp.asarray(values) for name, values in small.states.items()}
    naive, predicted = jax.vmap(flow.without_rho)(states), jax.vmap(flow.error_without_rho)(states)
    basis, layer = active_subspaces(list(theta0.values()), phi).bases[0], full.states["W1"]
    truth = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 40))
    truth /= np.linalg.norm(truth, 2)
    entries = ObservedEntries.from_mask(truth, rng.random(truth.shape) < 0.5)
    options = {"learning_rate": 1.0, "scale": 1e-2, "reference": truth}
    completions = {
        rate: complete(entries, 6, discrepant_rate=rate, steps=2500, **options) for rate in (0.0, 0.01, 0.1)
    }
    ranks = [4, 6, 8, 12]
    milliseconds, seconds = {}, {}
    for kernel in ("sparse", "dense"):
        settings = {"kernel": kernel, "discrepant_rate": 0.1, "steps": 2500, **options}
        for _ in range(2):  # again, now that each shape is compiled
            runs = [complete(entries, rank, **settings) for rank in ranks]
        milliseconds[kernel] = [1e3 * run.seconds / run.iterations[-1] for run in runs]
        seconds[kernel] = [run.seconds if run.converged else math.nan for run in runs]
    return {
        "parsimony.plot_compression": lambda: parsimony.plot_compression(
            full.ts, full.z, small.z, naive, predicted
        ),
        "parsimony.plot_layer_spectrum": lambda: parsimony.plot_layer_spectrum(full.ts, layer, 4),
        "parsimony.plot_completion_cost": lambda: parsimony.plot_completion_cost(
            ranks, milliseconds, seconds
        ),
        "parsimony.plot_vector_angles": lambda: parsimony.plot_vector_angles(full.ts[1:], layer[1:], basis),
        "parsimony.plot_completion": lambda: parsimony.plot_completion(completions),
        "parsimony.plot_leakage": lambda: parsimony.plot_leakage(*leakage(arch, theta0, phi)),
        "parsimony.plot_closure_dimensions": lambda: parsimony.plot_closure_dimensions(*closure_dimensions()),
        "collapse.plot_collapse": lambda: plot_collapse(collapse(), 4),
    }


def leakage(arch, theta0: dict[str, np.ndarray], phi: np.ndarray) -> tuple[list[float], list[float]]:
    """What leaves the subspaces when the inputs are not quite white."""
    noise = np.random.default_rng(1).standard_normal(phi.shape)
    noise = (noise + noise.T) / np.linalg.norm(noise + noise.T, 2)
    white, deltas, leaks = active_subspaces(list(theta0.values()), phi), [1e-4, 1e-3, 1e-2, 1e-1], []
    for delta in deltas:
        root = np.linalg.cholesky(np.eye(len(phi)) + delta * noise).T
        tilted = dln.SquaredLoss(root, np.linalg.solve(root.T, phi.T), reduction="sum")
        final = dln.iterate(dln.GradientDescent(arch, tilted, 0.05), theta0, 200, ts=2).final
        leaks.append(float(np.max(white.leakage(list(final.values())))))
    return deltas, leaks


def closure_dimensions() -> tuple[list[int], dict[str, list[int]], dict[str, list[int]]]:
    """Dimensions of the active subspace at a hidden layer: measured and predicted, by kind of start."""
    rng, width, rank = np.random.default_rng(2), 20, 2
    hidden = [20, 24, 28, 32]
    phi = rng.standard_normal((width, rank)) @ rng.standard_normal((rank, width)) / width
    dims: dict[str, list[int]] = {"orthogonal": [], "Gaussian": []}
    for w in hidden:
        tall = np.linalg.qr(rng.standard_normal((w, width)))[0]
        wide = np.linalg.qr(rng.standard_normal((w, width)))[0].T
        layers = [tall, np.linalg.qr(rng.standard_normal((w, w)))[0], wide]
        dims["orthogonal"].append(active_subspaces(layers, phi).dims[1])
        dims["Gaussian"].append(
            active_subspaces([rng.standard_normal(one.shape) for one in layers], phi).dims[1]
        )
    predicted = {"orthogonal": [2 * rank + 2 * (w - width) for w in hidden], "Gaussian": hidden}
    return hidden, dims, predicted


def collapse() -> dict[tuple[float, int], np.ndarray]:
    """Collapse metrics of trained classifiers, three classes of four samples."""
    classes, samples = 3, 4
    inputs = np.linalg.qr(np.random.default_rng(3).standard_normal((12, 12)))[0]
    labels = np.repeat(np.arange(classes), samples)
    loss = dln.SquaredLoss(inputs, np.eye(classes)[labels], reduction="sum")
    metrics = {}
    for depth, scale in ((4, 0.5), (4, 0.25), (6, 0.5)):
        rng = np.random.default_rng(4)
        deep = dln.linear_network((12,) * depth + (classes,))
        start = orthogonal(rng, (12,) * depth, scale)
        start[f"W{depth}"] = scale * np.linalg.qr(rng.standard_normal((12, classes)))[0].T
        packed = compress(deep, loss, start)
        end = dln.iterate(
            descent(packed, 0.02), start, 20_000, ts=2, stop=dln.LossBelow(1e-18), save_states=False
        )
        layers = packed.layers({name: jnp.asarray(value) for name, value in end.final.items()})
        metrics[scale, depth] = np.asarray(collapse_metrics(deep, layers, inputs, labels)[:-1])
    return metrics


def mean_field_figures() -> Figures:
    """The limit of wide networks against finite ones, and along its parameters."""
    config = limit.MeanFieldConfig(T=101, L=2, eta=0.05, nu=1.0, alpha=2.0, sigma=0.5)
    population = config.replace(alpha=math.inf, sigma=0.0)
    both = limit.compare(limit.solve(config), limit.simulate(config, 64, 24))
    widths = limit.width_sweep(population.replace(T=41))
    short = population.replace(T=9)
    transfer = limit.width_transfer(short, (1.0, 2.0, 4.0, 8.0, 16.0), factor=1.3)
    best = limit.best_rate(short, 0.01, 1.5, factor=1.2)
    return {
        "mean_field.plot_against_networks": lambda: mean_field.plot_against_networks(both),
        "mean_field.plot_sweep": lambda: mean_field.plot_sweep(widths),
        "mean_field.plot_rate_transfer": lambda: mean_field.plot_rate_transfer(transfer),
        "mean_field.plot_rates": lambda: mean_field.plot_rates(best.grid),
    }


def rendered(name: str, draw: Callable[[], object]) -> Image.Image:
    """One figure with its name above it."""
    draw()
    figure = plt.gcf()
    figure.set_size_inches(CELL[0] * round(figure.get_size_inches()[0] / CELL[0]), CELL[1])
    figure.suptitle(name, fontsize="medium", fontweight="bold")
    memory = io.BytesIO()
    figure.savefig(memory, dpi=DPI)
    plt.close(figure)
    return Image.open(memory).convert("RGB")


def main() -> None:
    """Draw all of them and lay them out in rows."""
    sheets = (training_figures, alignment_figures, saddle_figures, parsimony_figures, mean_field_figures)
    figures = {name: draw for make in sheets for name, draw in make().items()}
    cells = [rendered(name, draw) for name, draw in figures.items()]
    width, height = cells[0].size
    rows: list[list[Image.Image]] = []
    for cell in cells:
        # The first row with room for it.
        row = next(
            (row for row in rows if sum(one.width for one in row) + cell.width <= COLUMNS * width), None
        )
        if row is None:
            rows.append(row := [])
        row.append(cell)
    sheet = Image.new("RGB", (COLUMNS * width, len(rows) * height), "white")
    for down, row in enumerate(rows):
        for along, cell in enumerate(row):
            sheet.paste(cell, (sum(one.width for one in row[:along]), down * height))
    # A palette makes the file less than a third as large and moves hardly a colour by more than a few steps of 256.
    small = sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    small.save(Path(__file__).parent / "contact-sheet.png", optimize=True)
    print(f"{len(cells)} figures")


if __name__ == "__main__":
    main()
