"""What labels say of the other images, and how sure that is; computed once for all visitors."""

from __future__ import annotations

import numpy as np
import pytest

from cpchub.fewlabels import AutoClassifier
from cpchub_serving.visit import learned
from cpchub_serving.visit.label_set import Labels, LabelSet
from cpchub_serving.visit.learned import Learned
from cpchub_serving.visit.predictions import predict
from cpchub_serving.visit.session import Session
from tests.serving.visit.clouds import COUNT, Features, labelled


def test_nothing_is_classified_until_two_classes_have_a_label(
    labels: LabelSet, session: Session, features: Features
) -> None:
    session.say(labels, [0], "cat")
    assert Learned().predictions(features, labels.now) is None
    assert Learned().judge(features, labels.now) is None
    session.say(labels, [1], "dog")
    found = Learned().predictions(features, labels.now)
    assert found is not None
    assert set(found.classes) == {"cat", "dog"}


def test_one_label_a_class_uses_class_means_and_two_what_predicts_them_best(
    labels: LabelSet, session: Session, features: Features
) -> None:
    assert labelled(labels, session, features, 1).method == "shrunk class means"
    two = labelled(labels, session, features, 2)
    assert isinstance(two.classifier, AutoClassifier)
    assert two.classifier.why_.startswith(f"{two.method}, with a log loss of 0.")


@pytest.mark.parametrize("per_class", [1, 3])
def test_clearly_separate_images_are_classified_right(
    labels: LabelSet, session: Session, features: Features, per_class: int
) -> None:
    found = labelled(labels, session, features, per_class)
    names = np.array(found.classes)[found.chosen]
    right = names == np.array(labels.now.classes)[np.arange(COUNT) % 3]
    assert right.mean() > 0.9
    assert ((found.confidence >= 1 / 3) & (found.confidence <= 1)).all()
    assert ((found.margin >= 0) & (found.margin <= found.confidence)).all()


def test_counts_leave_some_images_out_and_what_is_not_sure_enough(
    labels: LabelSet, session: Session, features: Features
) -> None:
    found = labelled(labels, session, features, 2)
    counts, unsaid = found.counts(labels.now.labels)
    assert (sum(counts.values()), unsaid) == (COUNT - 6, 0)
    middle = float(np.median(found.confidence[6:]))
    counts, unsaid = found.counts(labels.now.labels, middle)
    assert 0 < unsaid < COUNT - 6
    assert sum(counts.values()) + unsaid == COUNT - 6
    assert sum(found.counts(labels.now.labels, 1.0)[0].values()) == 0


def test_the_choice_of_before_learns_again_as_it_was_chosen(
    labels: LabelSet, session: Session, features: Features
) -> None:
    """So a click shows, within milliseconds, the classes that the comparison of all classifiers will show."""
    chosen = labelled(labels, session, features, 4)
    again = predict(features, labels.now.labels, chosen)
    assert again.method == chosen.method
    assert (again.chosen == chosen.chosen).all()
    assert np.abs(again.confidence - chosen.confidence).max() < 0.2


# -- shared


def test_what_one_visitor_has_computed_the_next_one_gets(
    labels: LabelSet, session: Session, features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled(labels, session, features, 2)
    shared = Learned()
    first = shared.predictions(features, labels.now)
    assert shared.predictions(features, labels.refresh()) is first
    judged = shared.judge(features, labels.now)
    monkeypatch.setattr(learned, "predict", None)  # nothing is computed any more
    assert shared.judge(features, labels.now) is judged
    assert judged is not None
    assert shared.predictions(features, labels.now) is judged.predictions


def test_new_labels_are_predicted_from_and_not_yet_judged(
    labels: LabelSet, session: Session, features: Features
) -> None:
    labelled(labels, session, features, 2)
    shared = Learned()
    shared.judge(features, labels.now)
    session.say(labels, [6], "cat")
    assert shared.known(labels.now) is None
    found = shared.predictions(features, labels.now)
    assert found is not None
    assert shared.predictions(features, labels.now) is found


# -- estimate


def estimate_of(features: Features, now: Labels) -> learned.Estimate | None:
    judged = Learned().judge(features, now)
    assert judged is not None
    return judged.estimate


def test_an_estimate_needs_two_labels_of_a_class(labels: LabelSet, session: Session, features: Features) -> None:
    labelled(labels, session, features, 1)
    assert estimate_of(features, labels.now) is None
    session.say(labels, [3], "cat")
    found = estimate_of(features, labels.now)
    assert found is not None
    assert found.accuracy.of == 2  # the dog and the bird are alone in their classes and cannot be held out


def test_held_out_labels_of_separate_classes_are_right_and_the_interval_says_how_sure_that_is(
    labels: LabelSet, session: Session, features: Features
) -> None:
    labelled(labels, session, features, 2)
    few = estimate_of(features, labels.now)
    labelled(labels, session, features, 8)
    many = estimate_of(features, labels.now)
    assert few is not None
    assert many is not None
    assert few.accuracy.right >= 5
    assert many.accuracy.value > 0.9
    assert many.accuracy.low <= many.accuracy.value <= many.accuracy.high
    assert many.accuracy.high - many.accuracy.low < few.accuracy.high - few.accuracy.low


def test_labels_given_at_random_are_estimated_near_chance(
    labels: LabelSet, session: Session, features: Features
) -> None:
    coin = np.random.default_rng(1).permutation(COUNT) % 2
    session.take(labels, {row: ("heads", "tails")[coin[row]] for row in range(COUNT)})
    found = estimate_of(features, labels.now)
    assert found is not None
    assert found.accuracy.of == COUNT
    assert found.accuracy.value < 0.7
