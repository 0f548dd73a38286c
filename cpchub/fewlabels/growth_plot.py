"""The growth of the accuracy with labels, and where a target is reached, as an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter

from cpchub.common.files import replacing
from cpchub.fewlabels.how_many import LabelsNeeded
from cpchub.fewlabels.plot import COLOURS, GREY, INK, quiet

POINTS = 60  # of the line
BEYOND = 2.0  # how many times the answer the axis goes


def plot_labels_needed(found: LabelsNeeded, out: str | Path) -> Path:
    """Draw what was measured, the law with its 90 % interval, and the target with the answer.

    Writes a PNG (by any extension) and returns its path. Raises OutputError where `out` cannot be written.
    """
    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    answer = found.most if found.more is None else found.given + (found.high or found.more)
    labels = np.geomspace(found.sizes[0], max(BEYOND * found.given, min(found.most, BEYOND * answer)), POINTS)
    middle, low, high = np.array([found.law.accuracy(each) for each in labels]).T
    axes.fill_between(labels, low, high, color=COLOURS[0], alpha=0.15, linewidth=0)
    axes.plot(labels, middle, color=COLOURS[0], linewidth=2, label="power law, 90 % interval")
    axes.plot(found.sizes, found.accuracies, "o", color=INK, markersize=5, label="held-out labels")
    axes.axhline(
        found.target, color=COLOURS[1], linewidth=1.2, linestyle="--", label=f"target {100 * found.target:g} %"
    )
    axes.axvline(found.given, color=GREY, linewidth=1, linestyle=":", label=f"{found.given:,} labels given")
    if found.more:
        axes.plot(found.given + found.more, found.target, "D", color=COLOURS[1], markersize=7)
    _frame(axes, found)
    with replacing(Path(out)) as partial:
        figure.savefig(partial, format="png")
    return Path(out)


def _frame(axes: Any, found: LabelsNeeded) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(top=min(1.03, axes.get_ylim()[1] + 0.02))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.set_xlabel("labels", color=GREY)
    axes.set_ylabel("accuracy", color=GREY)
    quiet(axes)
    axes.legend(frameon=False, loc="lower right", labelcolor=INK)
    axes.set_title(found.sentence, loc="left", fontsize=11, fontweight="bold", color=INK, pad=12)
