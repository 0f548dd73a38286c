"""The table of the family in the guide to training, and its plot, both from the JSON file alone."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.family.settings import TITLES, WITH_LABELS
from cpchub.common.files import replacing
from cpchub.hub.card_tables import table

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "training.md"
PLOT = "family.png"  # beside the guide
BEGIN, END = "<!-- family -->", "<!-- end of the family -->"
BLOCK = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
HEADS = {
    "knn": "kNN",
    "linear": "linear",
    "labels_1_percent": "1 % of the labels",
    "labels_10_percent": "10 % of the labels",
}
MARKS = {
    "knn": ("o", "#2f6fb5"),
    "linear": ("s", "#1c6b50"),
    "labels_1_percent": ("v", "#c8641b"),
    "labels_10_percent": ("^", "#a8457f"),
}

Numbers = Mapping[str, list[float]]


def write(report: Mapping[str, Any], guide: Path = GUIDE) -> None:
    """Put the table into the guide and draw the plot beside it."""
    text = guide.read_text(encoding="utf-8")
    draw(report, guide.with_name(PLOT))
    with replacing(guide) as partial:
        partial.write_text(BLOCK.sub(lambda _: block(report), text), encoding="utf-8")


def block(report: Mapping[str, Any]) -> str:
    """The section with its markers, best linear probe first."""
    heads = ("Method", *HEADS.values(), "images seen", "processor minutes", "chosen")
    rows = []
    for method, numbers in ordered(report):
        of_method = [row for row in report["results"] if row["method"] == method]
        minutes = statistics.mean(row["processor_minutes"] for row in of_method)
        setting = ", ".join(f"{name} {value:g}" for name, value in of_method[0]["setting"].items())
        title = TITLES[method] + (" (with labels)" if method in WITH_LABELS else "")
        cells = [percent(numbers[column]) for column in HEADS]
        rows.append((title, *cells, f"{of_method[0]['images_seen']:,}", f"{minutes:.1f}", setting))
    seeds = max(len(numbers["knn"]) for _, numbers in ordered(report))
    words = (
        f"{report['images']:,} training images of CIFAR-10, {seeds} seeds with one standard deviation, the final step. "
        f"One network for all: a ResNet of four blocks with {report['network']['channels'][-1]} features (CMC has two, "
        "side by side). Settings: the best of four by kNN on held-out training images, "
        f"{report['choice_minutes']:g} processor minutes each."
    )
    picture = f"![Accuracy of each method]({PLOT})"
    return f"{BEGIN}\n{table(heads, rows)}\n\n{words}\n\n{picture}\n{END}"


def ordered(report: Mapping[str, Any]) -> list[tuple[str, Numbers]]:
    """The methods with their numbers over the seeds, the best linear probe first."""
    found = {
        method: {column: [row[column] for row in report["results"] if row["method"] == method] for column in HEADS}
        for method in TITLES
        if any(row["method"] == method for row in report["results"])
    }
    return sorted(found.items(), key=lambda item: -statistics.mean(item[1]["linear"]))


def percent(values: list[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread} %"


def draw(report: Mapping[str, Any], out: Path) -> None:
    """The four accuracies of each method, with their spread over the seeds."""
    rows = ordered(report)[::-1]
    figure = Figure(figsize=(7.2, 1.2 + 0.34 * len(rows)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for column, (mark, colour) in MARKS.items():
        means = [statistics.mean(numbers[column]) for _, numbers in rows]
        spreads = [statistics.stdev(numbers[column]) if len(numbers[column]) > 1 else 0.0 for _, numbers in rows]
        axes.errorbar(means, range(len(rows)), xerr=spreads, fmt=mark, color=colour, label=HEADS[column], markersize=5)
    axes.set_yticks(range(len(rows)), [TITLES[method] for method, _ in rows])
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.grid(axis="x", color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", fontsize=8)
    axes.set_xlabel("accuracy on the test images")
    with replacing(out) as partial:
        figure.savefig(partial, format="png")
