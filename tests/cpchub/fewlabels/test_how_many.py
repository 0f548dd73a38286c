"""How many labels a target takes: the law through measured points, and the answer in words, numbers and an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.errors import ArgumentError
from cpchub.fewlabels import Calibrated, ClassMeans, how_many, how_many_labels, plot_labels_needed
from cpchub.fewlabels.how_many import LabelsNeeded, growth
from cpchub.fewlabels.power_law import PowerLaw
from tests.cpchub.fewlabels.test_calibration import clouds

SIZES = np.array([25, 50, 100, 200, 400])


def law(a: float, b: float, c: float, noise: float = 1e-3) -> PowerLaw:
    """The law through points without error."""
    return PowerLaw.fitted(400, SIZES, a * SIZES.astype(float) ** -b + c, np.eye(5) * noise**2)


def test_a_law_that_is_known_gives_the_number_that_it_implies() -> None:
    found = law(1.5, 0.3, 0.02).needed(0.85, 100_000)
    truth = (0.13 / 1.5) ** (-1 / 0.3)
    assert found.labels is not None
    assert truth / 2 < found.labels < 2 * truth
    assert found.low < truth


def test_a_target_above_the_limit_of_the_law_is_not_reached() -> None:
    found = law(3.0, 0.6, 0.2)
    assert found.needed(0.95, 1_000_000).labels is None
    middle, low, high = found.accuracy(4_000)
    assert low < middle < high < 0.9


def test_what_more_images_than_there_are_would_reach_is_not_reached() -> None:
    found = law(1.5, 0.3, 0.02)
    assert found.needed(0.85, 100_000).labels is not None
    assert found.needed(0.85, 600).labels is None


def test_points_that_are_less_certain_give_a_wider_answer() -> None:
    sure, unsure = (law(1.5, 0.3, 0.02, noise).needed(0.8, 10_000) for noise in (1e-3, 0.03))
    assert unsure.low < sure.low
    assert unsure.high is None or sure.high is None or unsure.high > sure.high


def needed(apart: float, count: int, target: float, most: int | None = None, seed: int = 0) -> LabelsNeeded:
    x, y = clouds(2000, 4, apart=apart, seed=seed)
    rows = np.random.default_rng(seed).permutation(2000)[:count]
    names = y[rows].astype(str)
    classifier = Calibrated(ClassMeans()).fit(x[rows], names)
    found = how_many_labels(x[rows], names.tolist(), classifier, dict.fromkeys("0123", 0.25), target, most)
    assert found is not None
    return found


def test_the_answer_is_a_sentence_and_a_number_with_an_interval() -> None:
    found = needed(0.25, 80, 0.75)
    assert found.more is not None
    assert found.low <= found.more <= (found.high or found.most)
    assert f"{found.more:,}" in found.sentence
    assert "more labels for 75 %" in found.sentence
    other = found.for_target(0.7)
    assert (other.target, other.more) == (0.7, needed(0.25, 80, 0.7).more)


def test_a_target_that_is_reached_takes_no_label() -> None:
    found = needed(2.0, 80, 0.9)
    assert (found.more, found.low, found.high) == (0, 0, 0)
    assert found.sentence == "90 % is about reached with the 80 labels there are"


def test_what_the_encoder_does_not_tell_apart_no_label_reaches() -> None:
    found = needed(0.0, 80, 0.95, most=2000)
    assert found.more is None
    assert "not reachable with this encoder: 2,000 labels would give about" in found.sentence


def test_of_very_many_labels_some_are_enough_for_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(how_many, "ENOUGH", 60)
    found = needed(0.25, 400, 0.9)
    assert found.sizes.max() == 54
    assert found.given == 400
    assert found.now[0] > found.law.accuracy(60)[0]


def test_labels_that_tell_nothing_yet_have_no_answer() -> None:
    x, y = clouds(20, 2, apart=1)
    classifier = ClassMeans().fit(x[:2], y[:2].astype(str))
    assert how_many_labels(x[:2], ["0", "1"], classifier, {"0": 0.5, "1": 0.5}) is None


@pytest.mark.parametrize("target", [0, 1, 95])
def test_a_target_that_is_no_share_is_refused(target: float) -> None:
    with pytest.raises(ArgumentError, match=r"such as 0\.95"):
        needed(1.0, 20, target)


def test_as_many_labels_of_each_class_stay_so_in_every_part() -> None:
    x, y = clouds(40, 4, apart=3)
    sizes, wrong = growth(x, y, ClassMeans())
    assert sizes.tolist() == [18, 36]
    assert wrong.shape == (40, 2)
    assert np.nanmax(wrong) == 0  # no part lacks a class


def test_the_growth_is_drawn_with_the_target(tmp_path: Path) -> None:
    for at, found in enumerate((needed(0.25, 80, 0.75), needed(0.0, 80, 0.95), needed(2.0, 80, 0.9))):
        out = plot_labels_needed(found, tmp_path / f"{at}.png")
        with Image.open(out) as image:
            assert image.size == (1080, 690)
