"""The label-efficiency curve of an encoder as SVG: accuracy over the number of labels, frozen and from scratch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

WIDTH, HEIGHT = 320, 190
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 10, 26  # room around the plot

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
    """The curve, with labels on a logarithmic axis."""
    labels = [count for count, _ in (*curve.frozen, *curve.scratch)]
    values = [value for _, value in (*curve.frozen, *curve.scratch)]
    low = math.floor(10 * min(values)) / 10
    high = min(1.0, math.ceil(10 * max(values)) / 10)
    first, last = math.log(min(labels)), math.log(max(labels))

    def x(count: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log(count) - first) / ((last - first) or 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / ((high - low) or 1)

    ticks = [tick / 10 for tick in range(round(10 * low), round(10 * high) + 1, 1 if high - low < 0.45 else 2)]
    lines = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.0%}</text>'
        for tick in ticks
    )
    ends = ((min(labels), "start"), (max(labels), "end"))
    below = "".join(
        f'<text x="{x(count):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{count:,}</text>' for count, anchor in ends
    )
    below += f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">labels</text>'
    drawn = _line(curve.frozen, x, y, "cpc-frozen") + _line(curve.scratch, x, y, "cpc-scratch")
    return (
        f'<svg class="cpc-curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_said(curve, name))}">'
        f"{lines}{below}{drawn}</svg>"
    )


def _line(points: Sequence[Point], x: Any, y: Any, kind: str) -> str:
    if not points:
        return ""
    places = [f"{x(count):.1f},{y(value):.1f}" for count, value in points]
    dots = "".join(
        f'<circle cx="{x(count):.1f}" cy="{y(value):.1f}" r="3"><title>{count:,} labels: {value:.1%}</title></circle>'
        for count, value in points
    )
    return f'<g class="{kind}"><polyline points="{" ".join(places)}"/>{dots}</g>'


def _said(curve: Curve, name: str) -> str:
    """The curve for somebody who does not see it."""
    count, value = curve.frozen[0]
    said = f"{name} on {curve.data}: {value:.1%} right with {count:,} labels"
    rival = dict(curve.scratch).get(count)
    return said + ("" if rival is None else f", {rival:.1%} when trained from scratch")
