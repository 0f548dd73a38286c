"""Near-duplicates among results are folded under the first of them."""

from __future__ import annotations

import numpy as np
import pytest

from cpchub_serving.visit import alike
from cpchub_serving.visit.alike import Group, copy_threshold, folded


def at(*degrees: float) -> np.ndarray:
    """Unit vectors in a plane, by their angles."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


FIVE_DEGREES = float(np.cos(np.deg2rad(5.01)))


def test_results_are_put_under_the_first_that_they_are_like() -> None:
    assert folded(at(0, 40, 3, 80, 42, 1), FIVE_DEGREES) == [Group(0, [2, 5]), Group(1, [4]), Group(3)]


def test_a_chain_of_similar_images_does_not_become_one_group() -> None:
    assert folded(at(0, 4, 8, 12), FIVE_DEGREES) == [Group(0, [1]), Group(2, [3])]


def test_more_results_change_nothing_for_those_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = at(*np.random.default_rng(0).uniform(0, 360, 97))
    whole = folded(vectors, FIVE_DEGREES)
    firsts = [group.first for group in whole]
    assert len(firsts) < 97
    for count in (1, 10, 50):
        assert [g.first for g in folded(vectors[:count], FIVE_DEGREES)] == [first for first in firsts if first < count]
    monkeypatch.setattr(alike, "AT_ONCE", 10)  # in blocks
    assert folded(vectors, FIVE_DEGREES) == whole


def test_nothing_is_folded_where_there_is_nothing() -> None:
    assert folded(np.empty((0, 2), np.float32), 0.9) == []


def test_the_threshold_is_a_share_of_the_usual_distance_of_two_images() -> None:
    vectors = at(*np.linspace(0, 360, 50, endpoint=False))  # the median distance is that of a right angle, nearly
    assert copy_threshold(vectors) == pytest.approx(1 - (0.2 * np.sqrt(2)) ** 2 / 2, abs=0.003)
    assert copy_threshold(vectors[:1]) < 1
