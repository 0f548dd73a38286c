"""The growth of the accuracy with labels: what was measured, and the law that carries it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cpchub_serving.page.plot import Plot

if TYPE_CHECKING:
    from cpchub.fewlabels.how_many import LabelsNeeded

POINTS = 40
BEYOND = 2.0  # how many times the answer the axis goes


def growth_curve(found: LabelsNeeded) -> str:
    """What was measured, the law with its 90 % interval, the labels there are, and the target with the answer."""
    answer = found.most if found.more is None else found.given + (found.high or found.more)
    first, last = float(found.sizes[0]), max(BEYOND * found.given, min(found.most, BEYOND * answer))
    labels = np.geomspace(first, last, POINTS)
    middle, low, high = np.array([found.law.accuracy(each) for each in labels]).T
    bottom = min(float(low.min()), float(found.accuracies.min()), found.target) - 0.03
    plot = Plot(first, last, bottom, 1.02)

    def points(values: np.ndarray) -> list[tuple[float, float]]:
        return list(zip(labels.tolist(), values.tolist(), strict=True))

    measured = zip(found.sizes.tolist(), found.accuracies.tolist(), strict=True)
    return plot.svg(
        f"Accuracy against labels. {found.sentence}",
        plot.band(points(low), points(high), "cpc-interval"),
        plot.line(points(middle), "cpc-law"),
        plot.upright(found.given, "cpc-here"),
        plot.across(found.target, "cpc-goal"),
        plot.dots(measured, "cpc-measured"),
        plot.diamond((found.given + found.more, found.target), "cpc-answer") if found.more else "",
    )
