"""What to label next: typical images first, then those in doubt, never a copy, and the same each time."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from cpchub.cli import next_labels
from cpchub.errors import ArgumentError, LabelError
from cpchub.fewlabels import label_next
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.choice import pool
from cpchub.fewlabels.choice.cover import Cover, Space
from cpchub.fewlabels.choice.doubt import ENOUGH, doubt_of
from cpchub.fewlabels.choice.next_rows import Next, Strategy
from tests.cpchub.fewlabels.test_calibration import clouds

NAMES = np.array(["ant", "bee", "cat", "dog", "elk"])
ON_UNLABELLED = [name for name in get_args(Strategy) if name != "errors"]


def rows(found: list[Next]) -> list[int]:
    return [each.row for each in found]


def given(y: np.ndarray, count: int) -> dict[int, str]:
    return {row: str(NAMES[y[row]]) for row in range(count)}


def test_without_labels_one_image_of_each_cluster_comes_first_the_largest_before_the_others() -> None:
    x, y = clouds(200, 5, apart=3)
    keep = np.concatenate([np.flatnonzero(y == code)[: 40 - 7 * code] for code in range(5)])
    found = label_next(x[keep], {}, 5)
    assert sorted(y[keep][rows(found)]) == [0, 1, 2, 3, 4]
    assert y[keep][found[0].row] == 0
    assert found[0].reason == "stands for 40 images"


def test_a_cluster_without_a_label_comes_before_those_that_have_one() -> None:
    x, y = clouds(200, 5, apart=3)
    labels = {row: str(NAMES[code]) for row, code in enumerate(y[:10].tolist()) if code != 3}
    for strategy in ("auto", "typical"):
        assert y[label_next(x, labels, 1, strategy=strategy)[0].row] == 3


@pytest.mark.parametrize("strategy", ON_UNLABELLED)
def test_no_copy_of_a_chosen_or_labelled_image_is_chosen(strategy: Strategy) -> None:
    x, y = clouds(40, 4, apart=1)
    thrice = np.repeat(x, 3, axis=0) + 0.01 * np.random.default_rng(1).normal(size=(120, 64)).astype(np.float32)
    labels = {3 * row: str(NAMES[code]) for row, code in enumerate(y[:8].tolist())}
    found = label_next(thrice, labels, 120, strategy=strategy)
    assert sorted(np.array(rows(found)) // 3) == list(range(8, 40))


@pytest.mark.parametrize("strategy", ON_UNLABELLED)
def test_each_strategy_gives_as_many_rows_as_asked_for_with_reasons_and_the_same_again(strategy: Strategy) -> None:
    x, y = clouds(120, 3, apart=0.5)
    found = label_next(x, given(y, 9), 25, strategy=strategy)
    assert len(set(rows(found))) == 25
    assert min(rows(found)) >= 9
    assert all(each.reason for each in found)
    assert found == label_next(x.astype(np.float64), given(y, 9), 25, strategy=strategy)


def test_images_between_two_classes_come_before_those_that_are_certain() -> None:
    x, y = clouds(300, 3, apart=0.6)
    labels = given(y, 60)
    doubt = doubt_of(unit_rows(x[:60]), list(labels.values()), unit_rows(x), 0)
    assert doubt is not None
    usual = doubt.small_lead()[60:].mean()
    for strategy in ("auto", "margin", "density"):
        assert doubt.small_lead()[rows(label_next(x, labels, 10, strategy=strategy))].mean() > usual


def test_where_two_classifiers_differ_they_are_asked() -> None:
    x, y = clouds(300, 3, apart=0.2)
    labels = given(y, 60)
    doubt = doubt_of(unit_rows(x[:60]), list(labels.values()), unit_rows(x), 0)
    assert doubt is not None
    found = label_next(x, labels, 10, strategy="disagreement")
    assert all(doubt.regression[each.row].argmax() != doubt.means[each.row].argmax() for each in found)
    assert "% by regression, " in found[0].reason


def test_a_batch_of_doubtful_images_is_spread() -> None:
    """Images between ant and bee come, and some between cat and dog, though the first are in more doubt."""
    rng = np.random.default_rng(0)
    centres = 3 * np.eye(8, dtype=np.float32)
    middles = np.stack([(centres[0] + centres[1]) / 2, 0.45 * centres[2] + 0.55 * centres[3]])
    x = np.concatenate([np.repeat(centres[:4], 3, axis=0), middles[np.arange(60) % 2]]).astype(np.float32)
    x += 0.2 * rng.normal(size=x.shape).astype(np.float32)
    labels = {row: str(NAMES[row // 3]) for row in range(12)}
    for strategy in ("auto", "margin", "density"):
        assert {(row - 12) % 2 for row in rows(label_next(x, labels, 4, strategy=strategy))} == {0, 1}


def test_labels_that_the_others_contradict_are_looked_at_again() -> None:
    x, y = clouds(90, 3, apart=1)
    labels = {row: str(NAMES[code]) for row, code in enumerate(y.tolist())} | {4: "cat"}
    (worst,) = label_next(x, labels, 1, strategy="errors")
    assert worst.row == 4
    assert worst.reason.startswith("cat? The other labels give it ")
    assert worst.reason.endswith(", and say bee")


def test_of_many_images_some_are_looked_at_and_what_they_stand_for_is_estimated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "MOST", 50)
    x, _ = clouds(1000, 2, apart=3)
    first = label_next(x, {}, 2)
    assert [each.reason.split()[:3] for each in first] == [["stands", "for", "about"]] * 2
    assert sum(int(each.reason.split()[3].replace(",", "")) for each in first) == 1000
    assert rows(first) != rows(label_next(x, {}, 2, seed=1))


def test_more_labels_than_a_classifier_needs_leave_every_class_in() -> None:
    x, y = clouds(ENOUGH + 500, 2, apart=1)
    names = NAMES[y].tolist()
    names[7] = "elk"
    doubt = doubt_of(unit_rows(x), names, unit_rows(x[:5]), 0)
    assert doubt is not None
    assert doubt.classes == ("ant", "bee", "elk")


def test_one_class_or_no_class_is_enough_for_typical_images_and_too_little_for_doubt() -> None:
    x, _ = clouds(30, 3, apart=1)
    for labels in ({}, {0: "ant", 3: "ant"}):
        assert rows(label_next(x, labels, 3)) == rows(label_next(x, labels, 3, strategy="typical"))
        for strategy in ("margin", "density", "disagreement"):
            with pytest.raises(LabelError, match=f"strategy '{strategy}' needs labels of two classes"):
                label_next(x, labels, 3, strategy=strategy)
    with pytest.raises(LabelError, match="no labels to look at again"):
        label_next(x, {}, strategy="errors")


def test_fewer_images_than_asked_for_and_none_are_no_error() -> None:
    x, y = clouds(12, 3, apart=1)
    assert sorted(rows(label_next(x, given(y, 9), 20))) == [9, 10, 11]
    assert label_next(x, given(y, 12), 20) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n": 0}, "n=0: give the number of images"),
        ({"strategy": "best"}, "no strategy 'best'; there are auto, typical, margin"),
        ({"labels": {99: "ant"}}, "a label for row 99; there are rows 0 to 11"),
        ({"vectors": np.zeros(3)}, r"vectors: shape \(3,\)"),
        ({"vectors": np.array([[1.0, 0], [np.nan, 1]])}, "vectors: row 1 is zero or not finite"),
    ],
)
def test_what_cannot_be_is_said(change: dict[str, object], said: str) -> None:
    asked = {"vectors": clouds(12, 3, apart=1)[0], "labels": {}} | change
    with pytest.raises(ArgumentError, match=said):
        label_next(**asked)  # type: ignore[arg-type]


def test_equal_vectors_stand_for_each_other_once() -> None:
    assert len(label_next(np.ones((20, 4), np.float32), {}, 5)) == 1


def test_the_greedy_choice_is_that_of_computing_every_gain_each_time() -> None:
    x, _ = clouds(80, 4, apart=0.5)
    space, weights = Space(x), np.random.default_rng(0).random(80)
    similarity = space.similarity(space.points)
    covered = np.zeros(80)
    cover, taken = Cover(similarity, weights), []
    for _ in range(80):
        gain = np.maximum(similarity - covered, 0) @ weights
        gain[taken] = -1
        place = cover.best()
        assert place is not None
        assert gain[place] == pytest.approx(gain.max(), abs=1e-4)
        taken.append(place)
        covered = np.maximum(covered, similarity[place])
        cover.take(place)
    assert cover.best() is None


def test_the_command_offers_the_strategies_that_there_are() -> None:
    assert get_args(next_labels.Strategy) == get_args(Strategy)
