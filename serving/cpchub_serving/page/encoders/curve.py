"""The label-efficiency curve of an encoder: accuracy over the number of labels, frozen and from scratch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cpchub_serving.page.plot import Plot

Point = tuple[int, float]  # labels, accuracy


class Curve(NamedTuple):
    """Accuracies by the number of labels, fewest first: with the frozen encoder, and trained from scratch."""

    data: str
    frozen: tuple[Point, ...]
    scratch: tuple[Point, ...]


def curve_of(evaluation: Mapping[str, Any]) -> Curve | None:
    """The curve that was measured; None where fewer than two numbers of labels were."""
    by_data: dict[str, list[Mapping[str, Any]]] = {}
    for row in evaluation.get("results", []):
        if row.get("task") == "low-label" and not row.get("published") and isinstance(row.get("labels"), int):
            by_data.setdefault(row["dataset"], []).append(row)
    if not by_data:
        return None
    data, rows = max(by_data.items(), key=lambda item: len(item[1]))
    rivals = [
        row
        for row in evaluation.get("rivals", [])
        if row["dataset"] == data and row["config"].startswith("scratch") and isinstance(row["labels"], int)
    ]
    frozen, scratch = _points(rows), _points(rivals)
    return Curve(data, frozen, scratch) if len(frozen) > 1 else None


def _points(rows: Sequence[Mapping[str, Any]]) -> tuple[Point, ...]:
    return tuple(sorted({row["labels"]: float(row["value"]) for row in rows}.items()))


def svg(curve: Curve, name: str) -> str:
    """The curve as SVG."""
    labels, values = zip(*curve.frozen, *curve.scratch, strict=True)
    low, high = math.floor(10 * min(values)) / 10, min(1.0, math.ceil(10 * max(values)) / 10)
    plot = Plot(min(labels), max(labels), low, high)
    lines = ((curve.scratch, "cpc-scratch"), (curve.frozen, "cpc-frozen"))
    drawn = [plot.line(points, kind) + plot.dots(points, kind) for points, kind in lines if points]
    return plot.svg(_said(curve, name), *drawn)


def _said(curve: Curve, name: str) -> str:
    """The curve for somebody who does not see it."""
    count, value = curve.frozen[0]
    said = f"{name} on {curve.data}: {value:.1%} right with {count:,} labels"
    rival = dict(curve.scratch).get(count)
    return said + ("" if rival is None else f", {rival:.1%} when trained from scratch")
