"""One visitor's classes and labels: clicks, undo, and the files that a visitor takes home."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from cpchub.errors import LabelError, QueryError
from cpchub.fewlabels.given_labels import read_labels
from cpchub_serving.visit.rows import check_row
from cpchub_serving.visit.session import MAX_CLASSES, Session
from tests.serving.visit.clouds import COUNT, Features, labelled

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
        check_row(row, session.count)


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
