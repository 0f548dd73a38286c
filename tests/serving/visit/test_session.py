"""One visitor: classes, clicks, undo and redo, also where another visitor works on the same set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cpchub.errors import ArgumentError, LabelError, QueryError
from cpchub_serving.visit.label_set import UNSURE, Labels, LabelSet
from cpchub_serving.visit.rows import check_row
from cpchub_serving.visit.session import MAX_CLASSES, Session
from tests.serving.visit.clouds import COUNT, label_set

# -- classes


def test_several_classes_can_be_added_at_once_and_the_last_is_active(tmp_path: Path) -> None:
    labels, session = label_set(tmp_path), Session("me")
    assert session.add_classes(labels, "cat,  big   dog ,, bird") == ["cat", "big dog", "bird"]
    assert labels.now.classes == ("cat", "big dog", "bird")
    assert session.active == "bird"


def test_a_class_that_is_there_is_activated_and_not_added_twice(labels: LabelSet, session: Session) -> None:
    assert session.add_classes(labels, "CAT") == []
    assert labels.now.classes == ("cat", "dog", "bird")
    assert session.active == "cat"


@pytest.mark.parametrize(
    "text", ["", " , ", "x" * 41, "cat; dog", "a\0b", ",".join(f"c{n}" for n in range(MAX_CLASSES + 1))]
)
def test_names_that_cannot_be_classes_are_refused_and_change_nothing(tmp_path: Path, text: str) -> None:
    labels, session = label_set(tmp_path), Session("me")
    with pytest.raises(LabelError):
        session.add_classes(labels, text)
    assert labels.now.classes == ()
    assert not session.undo(labels)
    assert not (tmp_path / "labels").exists()


def test_removing_a_class_takes_its_labels_along_and_undo_brings_both_back(labels: LabelSet, session: Session) -> None:
    session.say(labels, [4], "cat")
    session.say(labels, [5], "dog")
    session.remove_class(labels, "cat")
    assert labels.now.labels == {5: "dog"}
    assert labels.now.classes == ("dog", "bird")
    session.undo(labels)
    assert labels.now.labels == {4: "cat", 5: "dog"}
    assert labels.now.classes == ("cat", "dog", "bird")


def test_the_active_class_that_is_gone_gives_way_to_another(labels: LabelSet, session: Session) -> None:
    labels.change("other", {}, remove=["bird"])
    assert session.active_in(labels.now) == "cat"
    labels.change("other", {}, remove=["cat", "dog"])
    assert session.active_in(labels.now) is None


# -- labels


def test_what_is_drawn_while_classes_are_added_does_not_choose_one(labels: LabelSet, session: Session) -> None:
    before = Labels()
    session.add_classes(labels, "fish")
    assert session.active_in(before) is None
    assert session.active_in(labels.now) == "fish"


def test_a_click_labels_a_second_click_takes_the_label_away(labels: LabelSet, session: Session) -> None:
    session.activate(labels, "dog")
    session.click(labels, 7)
    assert labels.now.labels == {7: "dog"}
    session.click(labels, 7)
    assert labels.now.labels == {}


def test_a_click_with_another_class_changes_the_label(labels: LabelSet, session: Session) -> None:
    session.click(labels, 7)
    session.activate(labels, "cat")
    session.click(labels, 7)
    assert labels.now.labels == {7: "cat"}
    assert labels.now.counts() == {"cat": 1, "dog": 0, "bird": 0}


def test_a_click_before_any_class_is_named_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="Name a class first"):
        Session("me").click(label_set(tmp_path), 0)


@pytest.mark.parametrize("row", [-1, COUNT, "60", "-1", "seven", "", "²"])
def test_a_row_that_is_not_there_is_refused(row: Any) -> None:
    with pytest.raises(QueryError, match="no image"):
        check_row(row, COUNT)


def test_a_row_that_is_not_there_cannot_be_labelled(labels: LabelSet, session: Session) -> None:
    with pytest.raises(QueryError, match="no image"):
        session.say(labels, [3, COUNT], "cat")
    assert labels.now.labels == {}


def test_an_unsure_image_is_kept_apart_from_the_labels(labels: LabelSet, session: Session) -> None:
    session.say(labels, [7], "cat")
    session.say(labels, [7], UNSURE)
    assert labels.now.labels == {}
    assert labels.now.unsure == {7}
    session.say(labels, [7], "dog")
    assert labels.now.labels == {7: "dog"}
    assert labels.now.unsure == set()


def test_many_images_are_one_step_and_a_new_class_comes_and_goes_with_it(labels: LabelSet, session: Session) -> None:
    session.say(labels, [1], "dog")
    session.say(labels, range(10), "fish")
    assert len(labels.now.labels) == 10
    assert labels.now.classes == ("cat", "dog", "bird", "fish")
    session.undo(labels)
    assert labels.now.labels == {1: "dog"}
    assert labels.now.classes == ("cat", "dog", "bird")
    session.redo(labels)
    assert labels.now.labels == dict.fromkeys(range(10), "fish")


# -- undo and redo


def test_undo_goes_back_step_by_step_to_the_start_and_redo_forth_again(tmp_path: Path) -> None:
    labels, session = label_set(tmp_path), Session("me")
    session.add_classes(labels, "cat, dog")
    session.click(labels, 1)
    session.activate(labels, "cat")
    session.click(labels, 1)
    session.undo(labels)
    assert labels.now.labels == {1: "dog"}
    session.undo(labels)
    assert labels.now.labels == {}
    session.undo(labels)
    assert labels.now.classes == ()
    assert session.undo(labels) is False
    for expected in ({}, {1: "dog"}, {1: "cat"}):
        assert session.redo(labels)
        assert labels.now.labels == expected
    assert session.redo(labels) is False


def test_a_new_step_leaves_nothing_to_redo(labels: LabelSet, session: Session) -> None:
    session.click(labels, 1)
    session.undo(labels)
    session.click(labels, 2)
    assert session.redo(labels) is False
    assert labels.now.labels == {2: "bird"}


def test_undo_takes_back_the_visitors_own_steps_only(labels: LabelSet, session: Session) -> None:
    other = Session("other")
    session.say(labels, [1, 2, 3], "cat")
    other.say(labels, [2], "dog")
    other.say(labels, [3], "dog")
    other.say(labels, [3], "cat")  # the same word, but theirs
    other.say(labels, [4], "dog")
    session.undo(labels)
    assert labels.now.labels == {2: "dog", 3: "cat", 4: "dog"}
    session.redo(labels)
    assert labels.now.labels == {1: "cat", 2: "dog", 3: "cat", 4: "dog"}
    while other.undo(labels):
        pass
    assert labels.now.labels == {1: "cat", 2: "cat", 3: "cat"}


def test_a_step_of_which_nothing_is_left_is_passed_over(labels: LabelSet, session: Session) -> None:
    session.say(labels, [1], "cat")
    session.say(labels, [2], "cat")
    Session("other").say(labels, [2], "dog")
    assert session.undo(labels)
    assert labels.now.labels == {2: "dog"}


def test_undoing_a_class_that_another_visitor_uses_leaves_it(labels: LabelSet, session: Session) -> None:
    session.add_classes(labels, "fish, bear")
    Session("other").say(labels, [2], "fish")
    session.undo(labels)
    assert labels.now.classes == ("cat", "dog", "bird", "fish")
    assert labels.now.labels == {2: "fish"}


def test_a_label_brought_back_brings_the_class_that_another_visitor_removed(labels: LabelSet, session: Session) -> None:
    session.say(labels, [1], "cat")
    session.say(labels, [1], None)
    Session("other").remove_class(labels, "cat")
    session.undo(labels)
    assert labels.now.labels == {1: "cat"}
    assert set(labels.now.classes) == {"dog", "bird", "cat"}


def test_steps_of_one_set_cannot_be_undone_in_another(labels: LabelSet, session: Session, tmp_path: Path) -> None:
    session.say(labels, [1], "cat")
    session.open("second")
    assert session.undo(label_set(tmp_path, "second")) is False
    assert labels.now.labels == {1: "cat"}


# -- the target


def test_a_target_that_is_no_share_is_refused(session: Session) -> None:
    with pytest.raises(ArgumentError):
        session.aim_at(1.0)
    assert session.target == 0.95


def test_to_open_the_set_that_is_open_changes_nothing(labels: LabelSet, session: Session) -> None:
    session.activate(labels, "dog")
    session.click(labels, 7)
    session.open(session.set_name)
    assert session.active == "dog"
    assert session.can_undo
    session.open("another")
    assert session.active is None
    assert not session.can_undo
