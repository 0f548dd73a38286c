"""The figures of a report, each written as one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cpchub.common.files import replacing
from cpchub.common.vectors import unit_length
from cpchub.fewlabels import plot_label_curve
from cpchub.fewlabels.curve import LabelCurve
from cpchub.media.contact_sheet import Tile, contact_sheet
from cpchub_training.evaluate.job import WAYS
from cpchub_training.report.subject import Subject

INK, GREY, LINE, ACCENT, SECOND = "#222222", "#6b6b6b", "#e6e6e6", "#1c6b50", "#c8641b"
# Twelve hues that stay apart on white, for points without letters on them.
HUES = (
    "#2f6fb5", "#c8641b", "#2b8a57", "#a8457f", "#7a5cc0", "#9a7d0a", "#16899a", "#bd3b3b", "#6b7280", "#8a5a36",
    "#4b4b9f", "#5c8a1e",
)  # fmt: skip
MAPPED = 2000  # test images on the map
QUERIES, NEIGHBOURS = 8, 7
BEFORE = 2000  # training images that the untrained network chooses from


def label_efficiency(subjects: Sequence[Subject], out: Path) -> Path | None:
    """Accuracy against labels: every way of one encoder, or the probes of several, and training from scratch."""
    drawn: dict[str, LabelCurve] = {}
    scratch = [subject.by_way["scratch"] for subject in subjects if "scratch" in subject.by_way]
    one_rival = all(rows == scratch[0] for rows in scratch)  # encoders of one network have the same
    for subject in subjects:
        for way, rows in subject.by_way.items():
            if len(subjects) > 1 and way not in ("linear", "scratch"):
                continue
            name = WAYS.get(way, way)
            if len(subjects) > 1 and not (way == "scratch" and one_rival):
                name = subject.name if way == "linear" else f"{name}, network of {subject.name}"
            drawn[name] = LabelCurve.of_points({row["labels"]: row.get("values") or [row["value"]] for row in rows})
    if not any(len(curve.labels) > 1 for curve in drawn.values()):
        return None
    return plot_label_curve(drawn, out, unit="labelled images (log scale)", title="Accuracy against labels")


def confusion(subject: Subject, out: Path) -> Path:
    """Which class is taken for which, by the linear probe on all labels; rows sum to 100 %."""
    classes, y = subject.data.classes, subject.data.test.labels
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (y, subject.predicted), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.52 * len(classes)
    figure, axes = _figure(side + 0.6, side)
    axes.imshow(share, cmap="Greens", vmin=0, vmax=1)
    if len(classes) <= 20:
        for i, j in np.ndindex(share.shape):
            if round(100 * share[i, j]):
                colour = "white" if share[i, j] > 0.55 else INK
                axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("is")
    _plain(axes, grid=False)
    return _save(figure, out)


def embedding_map(subject: Subject, out: Path) -> Path:
    """t-SNE of test images' features, coloured by class; names stand at the middle of their class."""
    from sklearn.manifold import TSNE

    x, y = subject.features("test"), subject.data.test.labels
    rows = np.random.default_rng(0).permutation(len(x))[:MAPPED]
    perplexity = min(30.0, (len(rows) - 1) / 3)
    points = TSNE(perplexity=perplexity, metric="cosine", init="pca", random_state=0).fit_transform(x[rows])
    figure, axes = _figure(8.4, 6.6)
    for code, name in enumerate(subject.data.classes):
        mine = points[y[rows] == code]
        colour = HUES[code % len(HUES)]
        axes.scatter(mine[:, 0], mine[:, 1], s=11, color=colour, alpha=0.65, linewidths=0)
        if len(mine) and len(subject.data.classes) <= 30:
            box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour, "alpha": 0.9}
            middle = np.median(mine, axis=0)
            axes.text(*middle, name, color=colour, fontsize=10, fontweight="bold", ha="center", va="center", bbox=box)
    axes.set_axis_off()
    return _save(figure, out)


def neighbours(subject: Subject, out: Path) -> Path:
    """Test images, one a class, and the training images nearest to them."""
    queries = _queries(subject)
    return _sheet(subject, queries, subject.features("test")[queries] @ subject.features("train").T, out)


def neighbours_before(subject: Subject, out: Path) -> Path:
    """The same test images, and the nearest of `BEFORE` training images by the network with new weights."""
    data, queries = subject.data, _queries(subject)
    rows = np.random.default_rng(0).permutation(len(data.train))[:BEFORE]
    x, q = (
        subject.untrained.encode([_readable(part.images[row]) for row in chosen])
        for part, chosen in ((data.train, rows), (data.test, queries))
    )
    similarity = np.full((len(queries), len(data.train)), -np.inf, np.float32)
    similarity[:, rows] = unit_length(q) @ unit_length(x).T
    return _sheet(subject, queries, similarity, out)


def _queries(subject: Subject) -> list[int]:
    """Rows of test images, one of each class, or of some."""
    rng, labels = np.random.default_rng(0), subject.data.test.labels
    classes = rng.permutation(len(subject.data.classes))[:QUERIES]
    return [int(rng.choice(np.flatnonzero(labels == code))) for code in classes]


def _sheet(subject: Subject, queries: Sequence[int], similarity: Any, out: Path) -> Path:
    """Test images, and beside each the training images of the largest similarity, `[queries, N]`."""
    data, rows = subject.data, []
    for row, of_row in zip(queries, similarity, strict=True):
        code = data.test.labels[row]
        tiles = [Tile(_readable(data.test.images[row]), data.classes[code], highlighted=True)]
        for each in np.argsort(-of_row)[:NEIGHBOURS]:
            label = data.classes[data.train.labels[each]]
            tiles.append(
                Tile(_readable(data.train.images[each]), label if label == data.classes[code] else f"({label})")
            )
        rows.append(tiles)
    return contact_sheet(rows, out)


def training_curves(subject: Subject, out: Path) -> Path | None:
    """Loss and kNN accuracy over the epochs of a run."""
    lines = subject.training
    if len(lines) < 2:
        return None
    watched = [line for line in lines if "knn_train" in line]
    panels = [("loss", "loss", lines, ACCENT), ("knn_train", "kNN, training images", watched, SECOND)]
    panels = [panel for panel in panels if len(panel[2]) > 1]
    figure = Figure(figsize=(4.6 * len(panels), 3.3), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (key, title, points, colour) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        axes.plot([p["epoch"] for p in points], [p[key] for p in points], color=colour, linewidth=2)
        axes.set_title(title, loc="left", fontsize=11, color=INK)
        axes.set_xlabel("epoch")
        if key == "knn_train":
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        _plain(axes)
    return _save(figure, out)


def _readable(image: Any) -> Any:
    return np.ascontiguousarray(image) if isinstance(image, np.ndarray) else image


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _plain(axes: Any, grid: bool = True) -> None:
    axes.tick_params(colors=GREY, length=0, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(GREY)
    for side in axes.spines.values():
        side.set_visible(False)
    if grid:
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)


def _save(figure: Figure, out: Path) -> Path:
    with replacing(out) as partial:
        figure.savefig(partial, format="png")
    return out


def draw(subject: Subject, folder: Path, prefix: str) -> Mapping[str, Path | None]:
    """Every figure of one encoder, by what it shows; the names of the files begin with `prefix`."""
    return {
        "training": training_curves(subject, folder / f"{prefix}-training.png"),
        "confusion": confusion(subject, folder / f"{prefix}-confusion.png"),
        "neighbours": neighbours(subject, folder / f"{prefix}-neighbours.png"),
        "before": neighbours_before(subject, folder / f"{prefix}-neighbours-before.png"),
        "map": embedding_map(subject, folder / f"{prefix}-map.png"),
    }
