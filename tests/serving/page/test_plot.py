"""Plots of the page: where points lie, round numbers at the axes, and nothing that is cut off."""

from __future__ import annotations

import re

import pytest

from cpchub_serving.page.plot import BOTTOM, LEFT, RIGHT, TOP, Plot, label_ticks, share_ticks


def test_the_ends_of_the_axes_are_the_ends_of_the_plot() -> None:
    plot = Plot(10, 1000, 0.5, 1.0)
    assert [plot.x(10), plot.x(100), plot.x(1000)] == [LEFT, (LEFT + 300 - RIGHT) / 2, 300 - RIGHT]
    assert [plot.y(0.5), plot.y(1.0)] == [170 - BOTTOM, TOP]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (0.57, 1.02, [0.6, 0.7, 0.8, 0.9, 1.0]),
        (0.1 + 0.2, 0.5, [0.3, 0.35, 0.4, 0.45, 0.5]),
        (-0.03, 1.02, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (0.91, 0.93, []),
    ],
)
def test_lines_across_are_at_round_shares_within_the_plot(low: float, high: float, ticks: list[float]) -> None:
    assert share_ticks(low, high) == ticks


@pytest.mark.parametrize(
    ("first", "last", "ticks"),
    [
        (10, 1000, [10, 50, 200, 1000]),
        (500, 50_000, [500, 2000, 10_000, 50_000]),
        (3, 4, [3, 4]),
        (7, 7, [7]),
        (0.5, 12, [1, 2, 5, 10]),
    ],
)
def test_numbers_of_labels_are_round_and_few(first: float, last: float, ticks: list[int]) -> None:
    assert label_ticks(first, last) == ticks


def test_numbers_at_the_ends_of_the_axis_stay_inside_and_words_are_escaped() -> None:
    drawn = Plot(10, 100_000, 0.2, 0.9).svg('<b title="x">')
    assert re.findall(r'text-anchor="(\w+)">([\d,]+)</text>', drawn) == [
        ("start", "10"),
        ("middle", "100"),
        ("middle", "1,000"),
        ("middle", "10,000"),
        ("end", "100,000"),
    ]
    assert "<b" not in drawn


def test_one_number_of_labels_and_one_share_are_drawn_too() -> None:
    plot = Plot(5, 5, 0.8, 0.8)
    assert 'cx="40.0" cy="8.0"' in plot.dots([(5, 0.8)], "one")
    assert "5 labels: 80.0%" in plot.dots([(5, 0.8)], "one")
