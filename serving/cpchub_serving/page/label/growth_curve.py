"""The growth of the accuracy with labels, drawn as SVG in the page's own colours."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from math import log

import numpy as np

from cpchub.fewlabels.how_many import LabelsNeeded

WIDTH, HEIGHT = 280, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 8, 22  # room for the words of the axes
POINTS = 40
BEYOND = 2.0  # how many times the answer the axis goes
TICKS = (1, 2, 5)
Scale = Callable[[float], float]


def growth_curve(found: LabelsNeeded) -> str:
    """What was measured, the law with its 90 % interval, the labels there are, and the target with the answer."""
    answer = found.most if found.more is None else found.given + (found.high or found.more)
    first, last = float(found.sizes[0]), max(BEYOND * found.given, min(found.most, BEYOND * answer))
    labels = np.geomspace(first, last, POINTS)
    middle, low, high = np.array([found.law.accuracy(each) for each in labels]).T
    floor = min(float(low.min()), float(found.accuracies.min()), found.target) - 0.03

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * log(value / first) / log(last / first)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1.02 - value) / (1.02 - floor)

    def line(values: np.ndarray) -> str:
        return " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(labels, values, strict=True))

    band = f"{line(high)} " + " ".join(reversed(line(low).split()))
    dots = "".join(
        f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="2.6"/>'
        for at, value in zip(found.sizes.tolist(), found.accuracies.tolist(), strict=True)
    )
    goal = f'<path class="cpc-goal" d="M{LEFT} {y(found.target):.1f}H{WIDTH - RIGHT}"/>'
    here = f'<path class="cpc-here" d="M{x(found.given):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
    mark = ""
    if found.more:
        at, height = x(found.given + found.more), y(found.target)
        mark = f'<path class="cpc-answer" d="M{at:.1f} {height - 5:.1f}l5 5-5 5-5-5z"/>'
    return (
        f'<svg class="cpc-growth" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Accuracy against labels. '
        f'{escape(found.sentence)}">{_axes(first, last, floor, x, y)}<polygon points="{band}"/>'
        f'<polyline points="{line(middle)}"/>{here}{goal}<g class="cpc-measured">{dots}</g>{mark}</svg>'
    )


def _axes(first: float, last: float, floor: float, x: Scale, y: Scale) -> str:
    step = next(step for step in (0.05, 0.1, 0.2, 0.25, 0.5) if (1.0 - floor) / step <= 5)
    heights = [1.0 - step * k for k in range(6) if 1.0 - step * k > floor]
    across = "".join(
        f'<path class="cpc-line" d="M{LEFT} {y(each):.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 5}" y="{y(each) + 3.5:.1f}" text-anchor="end">{each:.0%}</text>'
        for each in heights
    )
    rounds = [digit * 10**power for power in range(8) for digit in TICKS if first <= digit * 10**power <= last]
    every = -(-len(rounds) // 5)
    along = "".join(
        f'<text x="{min(x(each), WIDTH - 14):.1f}" y="{HEIGHT - 7}" text-anchor="middle">{each:,}</text>'
        for each in rounds[::every]
    )
    return across + along
