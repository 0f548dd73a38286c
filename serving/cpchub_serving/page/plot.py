"""A plot as SVG in the page's own colours: shares upwards, numbers of labels along a logarithmic axis.

What is drawn has a class each, whose colours are in the style sheet of the tab; the axes look alike everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log

LEFT, RIGHT, TOP, BOTTOM = 40, 8, 8, 22  # room for the words of the axes
STEPS = (5, 10, 20, 25, 50)  # percent between two lines across
MOST_TICKS = 5  # of each axis
AT_THE_EDGE = 16  # a number this near to an end of the axis begins or ends there, else it would be cut or overlap

Point = tuple[float, float]  # number of labels, share


@dataclass(frozen=True)
class Plot:
    """Numbers of labels from `first` to `last`, above 0; shares from `low` to `high`."""

    first: float
    last: float
    low: float
    high: float
    width: int = 300
    height: int = 170

    def x(self, labels: float) -> float:
        """Where a number of labels lies, from the left."""
        return LEFT + (self.width - LEFT - RIGHT) * log(labels / self.first) / (log(self.last / self.first) or 1)

    def y(self, share: float) -> float:
        """Where a share lies, from the top."""
        return TOP + (self.height - TOP - BOTTOM) * (self.high - share) / ((self.high - self.low) or 1)

    def line(self, points: Iterable[Point], kind: str) -> str:
        """A line through points."""
        return f'<polyline class="{kind}" points="{self._places(points)}"/>'

    def band(self, lower: Sequence[Point], upper: Sequence[Point], kind: str) -> str:
        """The area between two lines."""
        return f'<polygon class="{kind}" points="{self._places([*upper, *reversed(lower)])}"/>'

    def dots(self, points: Iterable[Point], kind: str) -> str:
        """Points, each with its numbers for the pointer that rests on it."""
        drawn = "".join(
            f'<circle cx="{self.x(labels):.1f}" cy="{self.y(share):.1f}" r="2.8"><title>{labels:,.0f} labels: '
            f"{share:.1%}</title></circle>"
            for labels, share in points
        )
        return f'<g class="{kind}">{drawn}</g>'

    def across(self, share: float, kind: str) -> str:
        """A line at a share, from end to end."""
        return f'<path class="{kind}" d="M{LEFT} {self.y(share):.1f}H{self.width - RIGHT}"/>'

    def upright(self, labels: float, kind: str) -> str:
        """A line at a number of labels, from bottom to top."""
        return f'<path class="{kind}" d="M{self.x(labels):.1f} {TOP}V{self.height - BOTTOM}"/>'

    def diamond(self, point: Point, kind: str) -> str:
        """A point that stands out."""
        return f'<path class="{kind}" d="M{self.x(point[0]):.1f} {self.y(point[1]) - 5:.1f}l5 5-5 5-5-5z"/>'

    def svg(self, said: str, *drawn: str) -> str:
        """The plot; `said` is for those who do not see it."""
        return (
            f'<svg class="cpc-plot" viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(said)}">'
            f"{self._axes()}{''.join(drawn)}</svg>"
        )

    def _places(self, points: Iterable[Point]) -> str:
        return " ".join(f"{self.x(labels):.1f},{self.y(share):.1f}" for labels, share in points)

    def _axes(self) -> str:
        lines = "".join(
            f'{self.across(share, "cpc-axis")}<text x="{LEFT - 5}" y="{self.y(share) + 3.5:.1f}" text-anchor="end">'
            f"{share:.0%}</text>"
            for share in share_ticks(self.low, self.high)
        )
        numbers = "".join(
            f'<text x="{self.x(labels):.1f}" y="{self.height - 7}" text-anchor="{self._anchor(labels)}">{labels:,}'
            "</text>"
            for labels in label_ticks(self.first, self.last)
        )
        return f'{lines}{numbers}<text x="{LEFT - 5}" y="{self.height - 7}" text-anchor="end">labels</text>'

    def _anchor(self, labels: float) -> str:
        if self.x(labels) < LEFT + AT_THE_EDGE:
            return "start"
        return "end" if self.x(labels) > self.width - RIGHT - AT_THE_EDGE else "middle"


def share_ticks(low: float, high: float) -> list[float]:
    """Round shares within two ends, `MOST_TICKS` at most."""
    bottom, top = round(100 * low, 6), round(100 * high, 6)  # 0.30000000000000004 is 30 %
    for step in STEPS:
        ticks = range(ceil(bottom / step), floor(top / step) + 1)
        if len(ticks) <= MOST_TICKS:
            break
    return [step * tick / 100 for tick in ticks]


def label_ticks(first: float, last: float) -> list[int]:
    """Numbers that begin with 1, 2 or 5 within two ends, `MOST_TICKS` at most; without any, the ends."""
    powers = range(floor(log(first, 10)), ceil(log(last, 10)) + 1)
    rounds = [digit * 10**power for power in powers if power >= 0 for digit in (1, 2, 5)]
    within = [each for each in rounds if first <= each <= last]
    if len(within) < 2:
        return sorted({round(first), round(last)})
    return within[:: ceil(len(within) / MOST_TICKS)]
