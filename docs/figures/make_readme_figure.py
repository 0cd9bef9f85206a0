"""Draw `docs/figures/digits.png`: full gradient flow of a network on the digits against its end-to-end equation.

Run `python docs/figures/make_readme_figure.py`; it takes some twenty seconds, most of it compilation.
"""

from pathlib import Path

import jax
import matplotlib

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

import dlntheory as dln  # noqa: E402
from dlntheory.plotting.style import COLOURS, FULL_STYLE, REDUCED_STYLE  # noqa: E402
from dlntheory.training import plots as training  # noqa: E402

END = 400.0
SETTINGS = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def main() -> None:
    """Train, compare, draw."""
    arch = dln.linear_network((64, 100, 100, 10))
    flow = dln.GradientFlow(arch, dln.data.digits(centred=True).loss())
    theta0 = dln.balanced(arch, jax.random.key(0), scale=0.1)
    both = dln.compare(flow, dln.reduce(arch, theta0), theta0, END, ts=200, timing=False)
    print(both)

    with plt.rc_context(SETTINGS):
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10.2, 3.0), layout="constrained")
        sizes = [sum(array.size for array in run.final.values()) for run in (both.full, both.reduced)]
        labels = [f"all layers ({sizes[0]:,} variables)", f"$z$ alone ({sizes[1]} variables)"]
        styles = (FULL_STYLE, REDUCED_STYLE)
        for run, style, label in zip((both.full, both.reduced), styles, labels, strict=True):
            training.plot_loss(run, left, **{**style, "label": label})
            training.plot_singular_values(run, middle, **style)
        left.set_ylim(0.19, 0.52)
        left.legend(loc="upper right", borderaxespad=0.0)
        left.set_title("Loss on the handwritten digits")
        middle.set_title("Modes of $z$ are learnt one after another")
        # A logarithmic axis has no place for the exact zero at the start.
        error = np.maximum(both.error, np.finfo(float).eps)
        right.plot(both.full.ts, error, color=COLOURS["error"], linewidth=1.4)
        right.set(yscale="log", ylim=(1e-16, 1e-8), xlabel=left.get_xlabel())
        right.set_ylabel(r"$\|z_{\rm full} - z_{\rm red}\| \,/\, \max\, \|z_{\rm full}\|$")
        right.set_yticks(10.0 ** np.arange(-16, -7, 2))
        right.minorticks_off()
        right.set_title("Relative error of the reduced run")
        for axes in (left, middle, right):
            axes.set_xlim(0.0, END)
        figure.savefig(Path(__file__).parent / "digits.png", dpi=136, pil_kwargs={"optimize": True})
        plt.close(figure)


if __name__ == "__main__":
    main()
