"""What a visitor's labels say of the other images, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from cpchub.fewlabels import AutoClassifier
from cpchub_serving.visit.session import Session
from tests.serving.visit.clouds import COUNT, Features, labelled


def test_nothing_is_classified_until_two_classes_have_a_label(session: Session, features: Features) -> None:
    session.label(0, "cat")
    assert session.classify(features) is None
    session.label(1, "dog")
    found = session.classify(features)
    assert found is not None
    assert set(found.classes) == {"cat", "dog"}


def test_one_label_a_class_uses_class_means_and_two_what_predicts_them_best(
    session: Session, features: Features
) -> None:
    one = labelled(session, features, 1).predictions
    assert one is not None
    assert one.method == "shrunk class means"
    two = labelled(session, features, 2).predictions
    assert two is not None
    assert isinstance(two.classifier, AutoClassifier)
    assert two.classifier.why_.startswith(f"{two.method}, with a log loss of 0.")


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


# -- estimate


def test_an_estimate_needs_two_labels_of_a_class(session: Session, features: Features) -> None:
    labelled(session, features, 1)
    assert session.estimate(features) is None
    session.label(3, "cat")
    session.classify(features)
    found = session.estimate(features)
    assert found is not None
    assert found.accuracy.of == 2  # the dog and the bird are alone in their classes and cannot be held out


def test_held_out_labels_of_separate_classes_are_right_and_the_interval_says_how_sure_that_is(
    session: Session, features: Features
) -> None:
    few = labelled(session, features, 2).estimate(features)
    many = labelled(session, features, 8).estimate(features)
    assert few is not None
    assert many is not None
    assert many.accuracy.value > 0.9
    assert many.accuracy.low <= many.accuracy.value <= many.accuracy.high
    assert many.accuracy.high - many.accuracy.low < few.accuracy.high - few.accuracy.low


def test_two_labels_a_class_are_not_estimated_below_what_they_are(session: Session, features: Features) -> None:
    found = labelled(session, features, 2).estimate(features)
    assert found is not None
    assert found.accuracy.right >= 5


def test_labels_given_at_random_are_estimated_near_chance(features: Features) -> None:
    session = Session(COUNT)
    session.add_classes("heads, tails")
    coin = np.random.default_rng(1).permutation(COUNT) % 2
    for row in range(COUNT):
        session.label(row, session.classes[coin[row]])
    session.classify(features)
    found = session.estimate(features)
    assert found is not None
    assert found.accuracy.of == COUNT
    assert found.accuracy.value < 0.7
