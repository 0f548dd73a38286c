"""The label curve as an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from cpchub.common.files import replacing
from cpchub.errors import LabelError
from cpchub.fewlabels.curve import LabelCurve

# Okabe & Ito's colours, told apart by people with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, GREY = "#222222", "#6b6b6b"


def plot_label_curve(
    curves: Mapping[str, LabelCurve], out: str | Path, *, title: str | None = None, unit: str = "labels a class"
) -> Path:
    """Draw accuracy against labels, one named line per curve with one standard deviation around it.

    Writes a PNG (by any extension) and returns its path. Raises LabelError without curves, OutputError where `out`
    cannot be written.
    """
    if not curves:
        raise LabelError("no curves to draw")
    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, curve) in enumerate(curves.items()):
        _draw(axes, name, curve, number)
    _frame(axes, curves, unit)
    axes.set_title(title or "What a few labels buy", loc="left", fontsize=13, fontweight="bold", color=INK, pad=12)
    with replacing(Path(out)) as partial:
        figure.savefig(partial, format="png")
    return Path(out)


def _draw(axes: Any, name: str, curve: LabelCurve, number: int) -> None:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    x, mean, std = curve.labels, curve.mean, curve.std
    axes.fill_between(x, (mean - std).clip(0), (mean + std).clip(max=1), color=colour, alpha=0.15, linewidth=0)
    axes.plot(x, mean, color=colour, marker=marker, markersize=6, linewidth=2, label=name)
    above = number % 2 == 0
    for at, value in zip(x, mean, strict=True):
        axes.annotate(
            f"{100 * value:.1f}",
            (at, value),
            textcoords="offset points",
            xytext=(0, 8 if above else -15),
            ha="center",
            fontsize=9,
            color=colour,
        )


def _frame(axes: Any, curves: Mapping[str, LabelCurve], unit: str) -> None:
    """Axes, ticks and legend; the numbers of labels are spread evenly by a log scale."""
    ticks = sorted({n for curve in curves.values() for n in curve.labels})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08, y=0.15)
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.set_xlabel(unit, color=GREY)
    axes.set_ylabel("accuracy on the test images", color=GREY)
    quiet(axes)
    seeds = max(len(curve.values) for curve in curves.values())
    heading = f"mean of {seeds} choices of labels, ± 1 std" if seeds > 1 else None
    axes.legend(frameon=False, loc="best", labelcolor=INK, title=heading, title_fontsize=9, alignment="left")


def quiet(axes: Any) -> None:
    """Axes that stay behind what is drawn: light horizontal lines, no box, no ticks."""
    axes.tick_params(colors=GREY, length=0)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#cccccc")
