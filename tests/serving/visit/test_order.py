"""The order in which a visitor sees the images."""

from __future__ import annotations

import numpy as np
import pytest

from cpchub.errors import LabelError, QueryError
from cpchub.fewlabels import label_next
from cpchub_serving.visit.rows import mixed_order
from cpchub_serving.visit.session import HELPFUL, Session
from tests.serving.visit.clouds import COUNT, Features, labelled


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


def test_unsure_begins_with_the_images_whose_labels_help_most_and_goes_on_by_the_margin(
    session: Session, features: Features
) -> None:
    typical = session.arrange(view="unsure", features=features)
    assert typical[:5].tolist() == [each.row for each in label_next(features, {}, 5)]
    assert sorted(typical.tolist()) == list(range(COUNT))
    found = labelled(session, features, 2).predictions
    assert found is not None
    order = session.arrange(features=features)
    assert order[:5].tolist() == [each.row for each in label_next(features, session.labels, 5)]
    assert len(order) == len(set(order.tolist())) == COUNT - 6
    assert (np.diff(found.margin[order[HELPFUL:]]) >= 0).all()


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
