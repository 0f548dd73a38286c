"""The accuracy that few labels tell: near the truth, with an interval that holds it, by class as well."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cpchub.fewlabels import Calibrated, ClassMeans, LogisticProbe
from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.estimate import Estimate, estimate_accuracy, estimate_of, wilson_interval
from cpchub.fewlabels.held_out import HeldOut, as_many_of_each, held_out, settled
from tests.cpchub.fewlabels.test_calibration import CLASSIFIERS, clouds

NAMES = np.array(["ant", "bee", "cat"])


def estimated(
    x: np.ndarray, y: np.ndarray, rows: np.ndarray, classifier: FeatureClassifier | None = None
) -> tuple[Estimate | None, float]:
    """The estimate from the labels of some rows, and the accuracy on the others."""
    classifier = classifier or LogisticProbe()
    classifier.fit(x[rows], NAMES[y[rows]])
    rest = np.setdiff1d(np.arange(len(x)), rows)
    p = classifier.predict_proba(x)
    shares = dict(zip(classifier.classes_.tolist(), p.mean(axis=0).tolist(), strict=True))
    return estimate_accuracy(x[rows], NAMES[y[rows]].tolist(), classifier, shares), classifier.score(
        x[rest], NAMES[y[rest]]
    )


def test_the_interval_holds_the_true_accuracy_nine_times_in_ten() -> None:
    inside = []
    for seed in range(20):
        x, y = clouds(600, 3, apart=0.2, seed=seed)
        rows = np.random.default_rng(seed).permutation(600)[:45]
        found, truth = estimated(x, y, rows, Calibrated(ClassMeans()))
        assert found is not None
        inside.append(found.accuracy.low <= truth <= found.accuracy.high)
    assert np.mean(inside) >= 0.85


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=str)
def test_more_labels_are_surer(classifier: FeatureClassifier) -> None:
    x, y = clouds(600, 3, apart=0.6)
    few, _ = estimated(x, y, np.arange(15), classifier)
    many, truth = estimated(x, y, np.arange(150), classifier)
    assert few is not None
    assert many is not None
    assert many.accuracy.high - many.accuracy.low < few.accuracy.high - few.accuracy.low
    assert abs(many.accuracy.value - truth) < 0.1


def test_a_class_counts_by_its_share_of_the_collection() -> None:
    codes = np.repeat([0, 1], 50)
    taken = np.eye(2)[np.where(np.arange(100) % 2 == 0, 0, codes)]  # every second bee is taken for an ant
    found = HeldOut(("ant", "bee"), codes, taken, np.ones(100, bool))
    rare, usual = (estimate_of(found, {"ant": share, "bee": 1 - share}).accuracy for share in (0.05, 0.95))
    assert rare.value == pytest.approx(0.53, abs=0.02)
    assert usual.value == pytest.approx(0.97, abs=0.02)


def test_the_confusion_table_counts_every_held_out_label_once() -> None:
    x, y = clouds(300, 3, apart=0.3)
    found, _ = estimated(x, y, np.arange(60))
    assert found is not None
    table = np.array(found.confusion)
    assert table.sum(axis=1).tolist() == [20, 20, 20]
    for at, each in enumerate(found.classes):
        assert each.recall is not None
        assert each.recall.value == table[at, at] / 20
        assert each.precision is not None
        assert each.precision.low <= each.precision.value <= each.precision.high
    assert Estimate.of_json(found.as_json()) == found


def test_a_class_with_one_label_is_not_tested_and_none_with_two_is_no_estimate() -> None:
    x, y = clouds(60, 3, apart=3)
    found, _ = estimated(x, y, np.array([0, 3, 6, 1, 4, 2]))
    assert found is not None
    assert found.alone == ["cat"]
    assert found.classes[2].recall is None
    assert found.accuracy.of == 5
    assert estimated(x, y, np.array([0, 1, 2]))[0] is None


def test_a_class_that_cannot_be_tested_counts_as_wrong_at_the_lower_end() -> None:
    codes = np.array([0] * 50 + [1])
    p = np.vstack([np.tile([1.0, 0.0], (50, 1)), [np.nan, np.nan]])
    found = HeldOut(("ant", "bee"), codes, p, codes == 0)
    usual, rare = (estimate_of(found, {"ant": 1 - share, "bee": share}).accuracy for share in (0.5, 0.01))
    assert usual.value > 0.9
    assert usual.low < 0.5 < rare.low


def test_what_a_probe_has_chosen_is_kept_while_labels_are_held_out() -> None:
    x, y = clouds(60, 3, apart=1)
    probe = LogisticProbe().fit(x, y)
    assert settled(probe).get_params()["C"] == probe.C_
    found = held_out(x, y.tolist(), settled(probe))
    assert found is not None
    assert found.tested.all()
    assert np.allclose(found.probabilities.sum(axis=1), 1)


def test_twenty_labels_drawn_at_random_from_ten_classes_tell_of_the_classes_that_they_miss() -> None:
    names, inside, errors = np.array([f"class {at}" for at in range(10)]), [], []
    for seed in range(24):
        x, y = clouds(500, 10, apart=0.6, seed=seed)
        rows = np.random.default_rng(seed).permutation(500)[:20]
        classifier = Calibrated(ClassMeans()).fit(x[rows], names[y[rows]])
        p = classifier.predict_proba(x)
        shares = dict(zip(classifier.classes_.tolist(), p.mean(axis=0).tolist(), strict=True))
        found = estimate_accuracy(x[rows], names[y[rows]].tolist(), classifier, shares)
        truth = float(np.delete(classifier.classes_[p.argmax(axis=1)] == names[y], rows).mean())
        assert found is not None
        inside.append(found.accuracy.low <= truth <= found.accuracy.high)
        errors.append(found.accuracy.value - truth)
    assert np.mean(inside) >= 0.8
    assert abs(np.mean(errors)) < 0.1


def test_a_label_that_is_alone_counts_as_wrong_where_labels_were_drawn_at_random() -> None:
    codes = np.array([0] * 12 + [1] * 6 + [2])
    p = np.where(np.arange(19)[:, None] < 18, np.eye(3)[codes], np.nan)
    shares = {"ant": 0.63, "bee": 0.32, "cat": 0.05}
    chosen, drawn = (
        estimate_of(HeldOut(("ant", "bee", "cat"), codes, p, codes < 2, even=even), shares).accuracy
        for even in (True, False)
    )
    assert drawn.value < chosen.value - 0.01
    assert (drawn.right, drawn.of) == (18, 18)


def test_labels_of_as_many_images_a_class_were_chosen_and_others_drawn() -> None:
    assert as_many_of_each(np.repeat(np.arange(10), 5))
    assert as_many_of_each(np.repeat(np.arange(4), [10, 11, 9, 12]))
    random = [np.unique(np.random.default_rng(seed).integers(0, 10, 50), return_inverse=True)[1] for seed in range(20)]
    assert not any(as_many_of_each(each) for each in random)


def test_a_class_that_a_fold_loses_is_held_to_be_impossible_there() -> None:
    x, y = clouds(24, 2, apart=3)
    rows = np.r_[np.flatnonzero(y == 0)[:9], np.flatnonzero(y == 1)[:2]]
    found = held_out(x[rows], NAMES[y[rows]].tolist(), ClassMeans(), at_random=True)
    assert found is not None
    assert found.tested.all()
    assert np.allclose(found.probabilities.sum(axis=1), 1)
    assert 0.8 < found.learned_from < 0.95


def test_an_interval_stays_within_none_and_all() -> None:
    assert wilson_interval(0, 5)[0] == 0
    assert wilson_interval(1, 5)[1] == 1
    low, high = wilson_interval(0.5, 100)
    assert (low, high) == (pytest.approx(0.4188, abs=1e-3), pytest.approx(0.5812, abs=1e-3))


def test_two_labels_of_each_of_many_classes_are_no_reason_for_a_warning() -> None:
    x, y = clouds(400, 200, apart=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ClassMeans().fit(x, y)
