"""The queues in which a visitor sees the images."""

from __future__ import annotations

import numpy as np
import pytest

from cpchub.errors import LabelError, QueryError
from cpchub.fewlabels import label_next
from cpchub_serving.visit.label_set import UNSURE, LabelSet
from cpchub_serving.visit.queues import HELPFUL, queue
from cpchub_serving.visit.rows import mixed_order
from cpchub_serving.visit.session import Session
from tests.serving.visit.clouds import COUNT, Features, labelled


def test_the_mixed_queue_holds_every_image_once(labels: LabelSet, features: Features) -> None:
    assert sorted(queue("mixed", features, labels.now, None).rows.tolist()) == list(range(COUNT))


def test_the_most_uncertain_come_with_the_smallest_margin_first_and_without_what_is_done(
    labels: LabelSet, session: Session, features: Features
) -> None:
    found = labelled(labels, session, features, 2)
    session.say(labels, [20, 21], UNSURE)
    rows = queue("uncertain", features, labels.now, found).rows
    assert sorted(rows.tolist()) == [row for row in range(6, COUNT) if row not in (20, 21)]
    assert (np.diff(found.margin[rows]) >= 0).all()


def test_label_next_begins_with_the_images_whose_labels_help_most_and_goes_on_by_the_margin(
    labels: LabelSet, session: Session, features: Features
) -> None:
    typical = queue("next", features, labels.now, None).rows
    assert typical[:5].tolist() == [each.row for each in label_next(features, {}, 5)]
    assert sorted(typical.tolist()) == list(range(COUNT))
    found = labelled(labels, session, features, 2)
    rows = queue("next", features, labels.now, found).rows
    assert rows[:5].tolist() == [each.row for each in label_next(features, labels.now.labels, 5)]
    assert len(rows) == len(set(rows.tolist())) == COUNT - 6
    assert (np.diff(found.margin[rows[HELPFUL:]]) >= 0).all()


def test_skipped_images_are_not_offered_again(labels: LabelSet, session: Session, features: Features) -> None:
    found = labelled(labels, session, features, 2)
    first = queue("next", features, labels.now, found).rows[:3].tolist()
    session.say(labels, first, UNSURE)
    for name in ("next", "uncertain", "class:cat", "labelled"):
        assert not set(first) & set(queue(name, features, labels.now, found).rows.tolist())
    assert queue("skipped", features, labels.now, found).rows.tolist() == sorted(first)


def test_one_class_holds_what_is_predicted_as_it_the_surest_first(
    labels: LabelSet, session: Session, features: Features
) -> None:
    found = labelled(labels, session, features, 2)
    rows = queue("class:dog", features, labels.now, found).rows
    assert len(rows) > 5
    assert {found.classes[number] for number in found.chosen[rows]} == {"dog"}
    assert (np.diff(found.confidence[rows]) <= 0).all()
    assert not set(rows.tolist()) & set(labels.now.labels)


def test_a_wrong_label_is_among_those_that_are_likely_wrong_with_what_the_others_say(
    labels: LabelSet, session: Session, features: Features
) -> None:
    assert len(queue("errors", features, labels.now, None).rows) == 0
    labelled(labels, session, features, 8)
    session.say(labels, [9], "bird")  # of the first cloud, the cats
    found = queue("errors", features, labels.now, None)
    assert found.rows[0] == 9
    assert found.doubts[9] == ("bird", "cat")


def test_a_queue_stays_as_it_is_while_labels_come_in(labels: LabelSet, session: Session, features: Features) -> None:
    found = labelled(labels, session, features, 1)
    session.offer("uncertain", queue("uncertain", features, labels.now, found))
    assert session.queued is not None
    before = session.queued.tolist()
    session.say(labels, [before[0]], "cat")
    assert session.queued.tolist() == before
    session.offer("uncertain", queue("uncertain", features, labels.now, found))
    assert before[0] not in session.queued


def test_the_labelled_queue_has_the_newest_first(labels: LabelSet, session: Session, features: Features) -> None:
    for row in (9, 2, 30):
        session.say(labels, [row], "cat")
    session.say(labels, [9], "dog")
    assert queue("labelled", features, labels.now, None).rows.tolist() == [9, 30, 2]


def test_before_there_are_predictions_the_uncertain_ones_are_mixed(labels: LabelSet, features: Features) -> None:
    assert queue("uncertain", features, labels.now, None).rows.tolist() == mixed_order(COUNT).tolist()
    assert len(queue("class:cat", features, labels.now, None).rows) == 0


def test_a_queue_or_class_that_is_not_there_is_refused(labels: LabelSet, features: Features) -> None:
    with pytest.raises(QueryError, match="mixed, next, uncertain"):
        queue("backwards", features, labels.now, None)
    with pytest.raises(LabelError, match="fish"):
        queue("class:fish", features, labels.now, None)
