"""Confidence: no surer than the labels support, and right about as often as it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpchub.fewlabels import Calibrated, ClassMeans, KNNClassifier, LogisticProbe
from cpchub.fewlabels.calibration import best_temperature, deal, supported

CLASSIFIERS = [LogisticProbe(), Calibrated(ClassMeans()), Calibrated(KNNClassifier())]


def clouds(n: int, classes: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features `[n, 64]` around a centre for each class, and their class numbers."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return (rng.normal(size=(classes, 64))[y] * apart + rng.normal(size=(n, 64))).astype(np.float32), y


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=str)
def test_four_labels_make_nothing_surer_than_five_in_six(classifier: Any) -> None:
    x, y = clouds(400, 2, apart=5)
    p = classifier.fit(x[:4], y[:4]).predict_proba(x)
    assert classifier.score(x, y) > 0.95
    assert p.max() <= 5 / 6 + 1e-6
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=str)
def test_classes_that_cannot_be_told_apart_leave_no_confidence(classifier: Any) -> None:
    x, y = clouds(600, 3, apart=0)
    p = classifier.fit(x[:60], y[:60]).predict_proba(x[60:])
    assert p.max(axis=1).mean() < 0.5


def test_many_labels_of_clear_classes_are_believed() -> None:
    x, y = clouds(600, 3, apart=2)
    assert LogisticProbe().fit(x[:300], y[:300]).predict_proba(x[300:]).max(axis=1).mean() > 0.95


@pytest.mark.parametrize("classifier", CLASSIFIERS[1:], ids=str)
def test_calibrating_changes_no_prediction(classifier: Calibrated) -> None:
    x, y = clouds(300, 3, apart=0.4)
    plain = classifier.classifier.fit(x[:30], y[:30])
    assert np.array_equal(classifier.fit(x[:30], y[:30]).predict(x), plain.predict(x))


def test_labels_are_dealt_over_the_folds_and_one_of_a_kind_stays() -> None:
    fold_of = deal(np.array(["a"] * 3 + ["b"] * 7 + ["c"]), folds=5)
    assert sorted(fold_of[:3]) == [0, 1, 2]
    assert np.bincount(fold_of[3:10]).tolist() == [2, 2, 1, 1, 1]
    assert fold_of[10] == -1


def test_the_temperature_is_that_of_the_held_out_labels_where_there_are_many() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5000, 4)) * 2
    shares = supported(logits, 3.0, 5000)
    y = (rng.random(5000)[:, None] > shares.cumsum(axis=1)).sum(axis=1).clip(max=3)
    assert best_temperature(logits, y, 5000)[0] == pytest.approx(3, rel=0.1)
    few, _ = best_temperature(logits[:4], logits[:4].argmax(axis=1), 4)
    assert 0.4 < few < 1  # four of four are right, and that is not enough to be cold


def test_a_class_with_one_label_takes_part() -> None:
    x, y = clouds(100, 3, apart=3)
    rows = [0, 3, 6, 1, 4, 7, 2]  # three, three and one
    assert LogisticProbe().fit(x[rows], y[rows]).score(x, y) > 0.9
