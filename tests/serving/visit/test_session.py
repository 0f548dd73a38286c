"""One visitor's labels: classes, clicks, undo, predictions, order, export."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cpchub.errors import LabelError, QueryError
from cpchub.fewlabels.classify import read_labels
from cpchub_serving.visit.session import MAX_CLASSES, Session, mixed_order

COUNT = 60
Features = npt.NDArray[np.float32]


@pytest.fixture
def features() -> Features:
    """Three clouds of unit vectors: row r belongs to cloud r % 3."""
    noise = np.random.default_rng(0).normal(scale=0.25, size=(COUNT, 8))
    vectors = np.eye(3, 8)[np.arange(COUNT) % 3] + noise
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture
def session() -> Session:
    session = Session(COUNT)
    session.add_classes("cat, dog, bird")
    return session


def labelled(session: Session, features: Features, per_class: int) -> Session:
    for row in range(3 * per_class):
        session.label(row, session.classes[row % 3])
    session.classify(features)
    return session


# -- classes


def test_several_classes_can_be_added_at_once_and_the_last_is_active() -> None:
    session = Session(COUNT)
    assert session.add_classes("cat,  big   dog ,, bird") == ["cat", "big dog", "bird"]
    assert session.classes == ["cat", "big dog", "bird"]
    assert session.active == "bird"


def test_a_class_that_is_there_is_activated_and_not_added_twice(session: Session) -> None:
    assert session.add_classes("CAT") == []
    assert session.classes == ["cat", "dog", "bird"]
    assert session.active == "cat"


@pytest.mark.parametrize("text", ["", " , ", "x" * 41, ",".join(f"c{n}" for n in range(MAX_CLASSES + 1))])
def test_names_that_cannot_be_classes_are_refused_and_change_nothing(text: str) -> None:
    session = Session(COUNT)
    with pytest.raises(LabelError):
        session.add_classes(text)
    assert session.classes == []
    assert not session.undo()


def test_removing_a_class_takes_its_labels_along_and_undo_brings_both_back(session: Session) -> None:
    session.label(4, "cat")
    session.label(5, "dog")
    session.remove_class("cat")
    assert session.labels == {5: "dog"}
    assert session.classes == ["dog", "bird"]
    session.undo()
    assert session.labels == {4: "cat", 5: "dog"}
    assert session.classes == ["cat", "dog", "bird"]


# -- labels


def test_a_click_labels_a_second_click_takes_the_label_away(session: Session) -> None:
    session.activate("dog")
    session.click(7)
    assert session.labels == {7: "dog"}
    session.click(7)
    assert session.labels == {}


def test_a_click_with_another_class_changes_the_label(session: Session) -> None:
    session.click(7)
    session.activate("cat")
    session.click(7)
    assert session.labels == {7: "cat"}
    assert session.counts() == {"cat": 1, "dog": 0, "bird": 0}


def test_a_click_before_any_class_is_named_says_what_to_do() -> None:
    with pytest.raises(LabelError, match="Name a class first"):
        Session(COUNT).click(0)


@pytest.mark.parametrize("row", [-1, COUNT, "60", "-1", "seven", "", "²"])
def test_a_row_that_is_not_there_is_refused(session: Session, row: Any) -> None:
    with pytest.raises(QueryError, match="no image"):
        session.check_row(row)


def test_undo_goes_back_step_by_step_to_the_start() -> None:
    session = Session(COUNT)
    session.add_classes("cat, dog")
    session.click(1)
    session.activate("cat")
    session.click(1)
    session.undo()
    assert session.labels == {1: "dog"}
    session.undo()
    assert session.labels == {}
    session.undo()
    assert session.classes == []
    assert session.undo() is False


def test_labels_of_one_visitor_do_not_reach_another(session: Session) -> None:
    other = Session(COUNT)
    session.click(3)
    assert other.labels == {}
    assert other.classes == []


# -- predictions


def test_nothing_is_classified_until_two_classes_have_a_label(session: Session, features: Features) -> None:
    session.label(0, "cat")
    assert session.classify(features) is None
    session.label(1, "dog")
    found = session.classify(features)
    assert found is not None
    assert set(found.classes) == {"cat", "dog"}


def test_one_label_a_class_uses_class_means_and_two_a_logistic_probe(session: Session, features: Features) -> None:
    one = labelled(session, features, 1).predictions
    assert one is not None
    assert one.method == "nearest class mean"
    two = labelled(session, features, 2).predictions
    assert two is not None
    assert two.method == "logistic regression"


@pytest.mark.parametrize("per_class", [1, 3])
def test_clearly_separate_images_are_classified_right(session: Session, features: Features, per_class: int) -> None:
    found = labelled(session, features, per_class).predictions
    assert found is not None
    names = np.array(found.classes)[found.chosen]
    right = names == np.array(session.classes)[np.arange(COUNT) % 3]
    assert right.mean() > 0.9
    assert ((found.confidence >= 1 / 3) & (found.confidence <= 1)).all()
    assert ((found.margin >= 0) & (found.margin <= found.confidence)).all()


def test_taking_labels_away_takes_the_predictions_away(session: Session, features: Features) -> None:
    labelled(session, features, 1)
    session.remove_class("cat")
    session.remove_class("dog")
    assert session.classify(features) is None
    assert session.predicted_counts() == {}


def test_predicted_counts_leave_the_labelled_images_out(session: Session, features: Features) -> None:
    labelled(session, features, 2)
    assert sum(session.predicted_counts().values()) == COUNT - 6


# -- order


def test_the_mixed_order_holds_every_image_once() -> None:
    assert sorted(mixed_order(COUNT).tolist()) == list(range(COUNT))


def test_unsure_first_starts_with_the_smallest_margin_and_leaves_labelled_images_out(
    session: Session, features: Features
) -> None:
    found = labelled(session, features, 2).predictions
    assert found is not None
    order = session.arrange(view="unsure")
    assert len(order) == COUNT - 6
    assert (np.diff(found.margin[order]) >= 0).all()


def test_sure_first_of_one_class_holds_that_class_only(session: Session, features: Features) -> None:
    found = labelled(session, features, 2).predictions
    assert found is not None
    session.arrange(view="sure")
    order = session.arrange(only="dog")
    assert len(order) > 5
    assert {found.classes[number] for number in found.chosen[order]} == {"dog"}
    assert (np.diff(found.confidence[order]) <= 0).all()


def test_the_order_stays_while_labels_come_in(session: Session, features: Features) -> None:
    labelled(session, features, 1)
    before = session.arrange(view="unsure").tolist()
    session.label(int(before[0]), "cat")
    session.classify(features)
    assert session.order.tolist() == before
    assert before[0] not in session.arrange(view="unsure")


def test_removing_the_class_that_is_shown_alone_shows_all_images_again(session: Session, features: Features) -> None:
    labelled(session, features, 1)
    assert len(session.arrange(only="cat")) < COUNT
    session.label_page = 1
    session.remove_class("cat")
    session.classify(features)
    assert session.only is None
    assert session.order.tolist() == mixed_order(COUNT).tolist()
    assert session.label_page == 0


def test_undoing_the_class_that_is_shown_alone_shows_all_images_again(session: Session) -> None:
    session.add_classes("fish")
    assert len(session.arrange(only="fish")) == 0
    session.undo()
    assert session.only is None
    assert session.order.tolist() == mixed_order(COUNT).tolist()


def test_images_shown_again_are_sorted_without_the_class_that_went(session: Session, features: Features) -> None:
    labelled(session, features, 2)
    session.arrange(view="unsure", only="cat")
    session.remove_class("cat")
    found = session.classify(features)
    assert found is not None
    assert len(session.order) == COUNT - 4
    assert (np.diff(found.margin[session.order]) >= 0).all()


def test_removing_another_class_leaves_the_order_as_it_is(session: Session, features: Features) -> None:
    labelled(session, features, 1)
    before = session.arrange(only="cat").tolist()
    session.remove_class("dog")
    session.classify(features)
    assert session.only == "cat"
    assert session.order.tolist() == before


def test_the_labelled_order_has_the_newest_first(session: Session) -> None:
    for row in (9, 2, 30):
        session.label(row, "cat")
    assert session.arrange(view="labelled").tolist() == [30, 2, 9]


def test_an_order_or_class_that_is_not_there_is_refused(session: Session) -> None:
    with pytest.raises(QueryError, match="mixed, unsure, sure, labelled"):
        session.arrange(view="backwards")
    with pytest.raises(LabelError, match="fish"):
        session.arrange(only="fish")


# -- estimate


def test_an_estimate_needs_two_labels_of_a_class(session: Session, features: Features) -> None:
    labelled(session, features, 1)
    assert session.estimate(features) is None
    session.label(3, "cat")
    session.classify(features)
    found = session.estimate(features)
    assert found is not None
    assert found.total == 2  # the dog and the bird are alone in their classes and cannot be held out


def test_held_out_labels_of_separate_classes_are_right_and_the_interval_says_how_sure_that_is(
    session: Session, features: Features
) -> None:
    few = labelled(session, features, 2).estimate(features)
    many = labelled(session, features, 8).estimate(features)
    assert few is not None
    assert many is not None
    assert many.accuracy > 0.9
    assert many.low <= many.accuracy <= many.high
    assert many.high - many.low < few.high - few.low


def test_two_labels_a_class_are_not_estimated_below_what_they_are(session: Session, features: Features) -> None:
    found = labelled(session, features, 2).estimate(features)
    assert found is not None
    assert found.correct >= 5


def test_labels_given_at_random_are_estimated_near_chance(features: Features) -> None:
    session = Session(COUNT)
    session.add_classes("heads, tails")
    coin = np.random.default_rng(1).permutation(COUNT) % 2
    for row in range(COUNT):
        session.label(row, session.classes[coin[row]])
    session.classify(features)
    found = session.estimate(features)
    assert found is not None
    assert found.total == COUNT
    assert found.accuracy < 0.7


# -- export


def test_exported_labels_are_what_cpchub_classify_reads(session: Session, tmp_path: Any) -> None:
    paths = [f"cats, and dogs/{row}.png" for row in range(COUNT)]
    session.label(4, "cat")
    session.label(8, "dog")
    file = tmp_path / "labels.csv"
    file.write_text(session.labels_csv(paths), encoding="utf-8")
    assert read_labels(file) == {paths[4]: "cat", paths[8]: "dog"}


def test_exported_predictions_cover_every_image_and_keep_the_labels(session: Session, features: Features) -> None:
    labelled(session, features, 2)
    session.label(9, "bird")  # against its cloud: what the visitor says counts
    session.classify(features)
    rows = list(csv.DictReader(io.StringIO(session.predictions_csv([f"{row}.png" for row in range(COUNT)]))))
    assert len(rows) == COUNT
    assert rows[9] == {"path": "9.png", "predicted": "bird", "confidence": "1.0000"}
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)


def test_there_is_nothing_to_export_before_there_are_labels(session: Session) -> None:
    with pytest.raises(LabelError):
        session.labels_csv([])
    with pytest.raises(LabelError):
        session.predictions_csv([])
