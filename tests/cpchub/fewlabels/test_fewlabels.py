"""The few-label classifiers: scikit-learn's habits, their papers' arithmetic, and the curve over numbers of labels."""

from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cpchub.errors import LabelError
from cpchub.fewlabels import (
    AutoClassifier,
    Calibrated,
    ClassMeans,
    KNNClassifier,
    LabelCurve,
    LogisticProbe,
    RidgeProbe,
    ShrunkMeans,
    label_curve,
    label_subsets,
    plot_label_curve,
)
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.knn import knn
from cpchub.fewlabels.logistic import C_GRID, C_USUAL

CLASSIFIERS = [
    KNNClassifier(),
    ClassMeans(),
    Calibrated(ClassMeans()),
    LogisticProbe(),
    RidgeProbe(),
    ShrunkMeans(),
    AutoClassifier(),
]


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = load_digits(return_X_y=True)
    return pixels.astype(np.float32), labels


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda c: type(c).__name__)
class TestEveryClassifier:
    def test_predicts_names_with_probabilities_that_sum_to_one(self, classifier: Any, digits: Any) -> None:
        pixels, labels = digits
        names = np.array([f"digit {n}" for n in labels])
        fitted = clone(classifier).fit(pixels[:400], names[:400])
        assert set(fitted.predict(pixels[400:])) <= set(names)
        assert np.allclose(fitted.predict_proba(pixels[400:]).sum(axis=1), 1, atol=1e-5)
        assert fitted.score(pixels[400:], names[400:]) > 0.8

    def test_works_from_one_label_a_class(self, classifier: Any, digits: Any) -> None:
        pixels, labels = digits
        rows = label_subsets(labels, [1], seed=0)[1]
        assert clone(classifier).fit(pixels[rows], labels[rows]).score(pixels, labels) > 0.5

    def test_only_the_direction_of_a_feature_counts(self, classifier: Any, digits: Any) -> None:
        pixels, labels = digits
        lengths = np.linspace(0.1, 10, 200, dtype=np.float32)[:, None]
        fitted = clone(classifier).fit(pixels[:200], labels[:200])
        stretched = clone(classifier).fit(pixels[:200] * lengths, labels[:200])
        ours, theirs = fitted.predict_proba(pixels[200:300]), stretched.predict_proba(7 * pixels[200:300])
        assert np.allclose(ours, theirs, atol=1e-3)

    def test_one_class_is_refused_by_name(self, classifier: Any, digits: Any) -> None:
        with pytest.raises(LabelError, match="one class only \\(cat\\)"):
            clone(classifier).fit(digits[0][:3], ["cat"] * 3)

    def test_goes_into_pipelines_and_cross_validation(self, classifier: Any, digits: Any) -> None:
        pixels, labels = digits
        scores = cross_val_score(make_pipeline(StandardScaler(), classifier), pixels[:300], labels[:300], cv=2)
        assert scores.mean() > 0.8


def test_knn_weighs_its_neighbours_as_in_instance_discrimination() -> None:
    train = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    labels = ["a", "b", "b"]
    query = np.array([[0.6, 0.8]])
    proba = KNNClassifier(k=3, temperature=0.1).fit(train, labels).predict_proba(query)[0]
    votes = np.exp(np.array([0.6, 0.96, 0.8]) / 0.1)
    assert np.allclose(proba, [votes[0] / votes.sum(), votes[1:].sum() / votes.sum()])
    nearest = KNNClassifier(k=1).fit(train, labels).predict_proba(query)[0]
    assert np.allclose(nearest, [0, 1])


def test_knn_lets_everyone_vote_where_fewer_than_k_are_labelled(digits: Any) -> None:
    pixels, labels = digits
    by_many = KNNClassifier(k=200).fit(pixels[:50], labels[:50]).predict_proba(pixels[50:60])
    assert np.array_equal(by_many, KNNClassifier(k=50).fit(pixels[:50], labels[:50]).predict_proba(pixels[50:60]))


def test_knn_gives_the_same_answer_in_batches(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = digits
    whole = KNNClassifier().fit(pixels[:300], labels[:300]).predict_proba(pixels[300:400])
    monkeypatch.setattr("cpchub.fewlabels.knn.QUERIES_AT_ONCE", 7)
    monkeypatch.setattr("cpchub.fewlabels.knn.BANK_AT_ONCE", 37)
    pieces = KNNClassifier().fit(pixels[:300], labels[:300]).predict_proba(pixels[300:400])
    assert np.allclose(whole, pieces, atol=1e-6)


def test_knn_for_several_k_is_the_classifier_for_each(digits: Any) -> None:
    pixels, labels = digits
    codes = np.asarray(labels)
    found = knn(pixels[:300], codes[:300], pixels[300:400], (1, 5, 20, 1000))
    for k, predicted in found.items():
        assert np.array_equal(predicted, KNNClassifier(k=k).fit(pixels[:300], codes[:300]).predict(pixels[300:400]))


def test_knn_takes_memory_that_cannot_be_written(digits: Any) -> None:
    pixels, labels = digits
    fitted = KNNClassifier(k=5).fit(pixels[:100], labels[:100])
    expected = fitted.predict_proba(pixels[100:120])
    fitted._features.flags.writeable = fitted._codes.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(fitted.predict_proba(pixels[100:120]), expected)


def test_knn_of_many_classes_needs_little_memory() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(4000, 8)).astype(np.float32), np.arange(4000) % 2000
    tracemalloc.start()
    probabilities = KNNClassifier().fit(features, labels).predict_proba(features[:256])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert probabilities.dtype == np.float32
    assert peak < 100e6  # a vote for each of 200 neighbours and 2,000 classes would be 400 MB


@pytest.mark.parametrize("classifier", [KNNClassifier(k=5), ClassMeans(), LogisticProbe(C=10.0)])
def test_features_in_half_precision_and_in_batches_are_classified_alike(
    digits: Any, classifier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, labels = digits
    fitted = classifier.fit(pixels[:200].astype(np.float16), labels[:200])
    whole = fitted.predict_proba(pixels[200:300].astype(np.float32))
    monkeypatch.setattr("cpchub.fewlabels.base.AT_ONCE", 7)
    halves = fitted.predict_proba(pixels[200:300].astype(np.float16))
    assert halves.dtype == np.float32
    assert np.allclose(whole, halves, atol=5e-3)


def tables(features: np.ndarray) -> dict[str, Any]:
    """The same float32 numbers in every container, type and memory layout that people have them in."""
    import pandas as pd

    wide = np.zeros((len(features), 2 * features.shape[1]), np.float32)
    wide[:, ::2] = features
    return {
        "fortran": np.asfortranarray(features),
        "transposed": np.ascontiguousarray(features.T).T,
        "strided": wide[:, ::2],
        "reversed": np.ascontiguousarray(features[::-1])[::-1],
        "float64": features.astype(np.float64),
        "float64, fortran": np.asfortranarray(features.astype(np.float64)),
        "big-endian": features.astype(">f4"),
        "list": features.tolist(),
        "table": pd.DataFrame(features),
        "table of columns": pd.DataFrame({str(at): column for at, column in enumerate(features.T)}),
        "table of float64": pd.DataFrame(features.astype(np.float64)),
        "table of nullable numbers": pd.DataFrame(features).convert_dtypes(),
        "read only": np.frombuffer(features.tobytes(), np.float32).reshape(features.shape),
        "tensor": torch.from_numpy(features),
    }


@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
@pytest.mark.parametrize("classifier", [*CLASSIFIERS, LogisticProbe(C=1e4)], ids=str)
def test_the_same_numbers_are_the_same_to_the_last_bit_however_they_are_stored(classifier: Any) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 4
    features = (rng.normal(size=(4, 96))[labels] * 0.3 + rng.normal(size=(60, 96))).astype(np.float32)
    expected = clone(classifier).fit(features[:40], labels[:40]).predict_proba(features[40:])
    for name, fitted_on in tables(features[:40]).items():
        fitted = clone(classifier).fit(fitted_on, labels[:40])
        assert np.array_equal(fitted.predict_proba(tables(features[40:])[name]), expected), name
        assert np.array_equal(fitted.predict_proba(features[40:]), expected), name


def test_a_length_that_float32_does_not_have_is_brought_to_one() -> None:
    features = np.array([[3e100, 4e100], [0, 0]])
    assert np.array_equal(unit_rows(features), np.array([[0.6, 0.8], [0, 0]], np.float32))


def test_the_probe_is_undecided_where_all_features_are_alike() -> None:
    probe = LogisticProbe().fit(np.ones((6, 4), np.float32), ["a", "b"] * 3)
    assert np.allclose(probe.predict_proba(np.ones((2, 4), np.float32)), 0.5, atol=1e-3)


def test_the_probe_takes_more_classes_than_a_fifth_of_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpchub.fewlabels.calibration.ENOUGH_FOR_ONE_SPLIT", 50)
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 2)
    features = np.eye(30, dtype=np.float32)[labels] + 0.01 * rng.normal(size=(60, 30)).astype(np.float32)
    assert LogisticProbe().fit(features, labels).score(features, labels) == 1


def test_class_means_go_by_the_cosine_to_each_mean() -> None:
    fitted = ClassMeans(temperature=0.5).fit([[1.0, 0.0], [0.0, 1.0]], ["right", "up"])
    proba = fitted.predict_proba([[0.6, 0.8]])[0]
    expected = np.exp([0.6 / 0.5, 0.8 / 0.5])
    assert np.allclose(proba, expected / expected.sum())


def test_the_probe_chooses_its_strength_where_labels_can_be_held_out(digits: Any) -> None:
    pixels, labels = digits
    rows = label_subsets(labels, [1, 10], seed=0)
    assert LogisticProbe().fit(pixels[rows[1]], labels[rows[1]]).C_ == C_USUAL
    assert LogisticProbe().fit(pixels[rows[10]], labels[rows[10]]).C_ in C_GRID
    assert LogisticProbe(C=3.0).fit(pixels[rows[10]], labels[rows[10]]).C_ == 3.0


def test_the_probe_chooses_a_stronger_penalty_for_noisy_labels(digits: Any) -> None:
    pixels, labels = digits
    noisy = labels[:300].copy()
    wrong = np.random.default_rng(0).choice(300, 120, replace=False)
    noisy[wrong] = np.random.default_rng(1).integers(0, 10, 120)
    clean = LogisticProbe().fit(pixels[:300], labels[:300])
    assert LogisticProbe().fit(pixels[:300], noisy).C_ < clean.C_


def test_label_subsets_are_balanced_nested_and_set_by_the_seed(digits: Any) -> None:
    labels = digits[1]
    subsets = label_subsets(labels, [1, 2, 5], seed=3)
    for n, rows in subsets.items():
        assert np.array_equal(np.bincount(labels[rows]), np.full(10, n))
    assert set(subsets[1]) < set(subsets[2]) < set(subsets[5])
    again, other = label_subsets(labels, [1, 2, 5], seed=3), label_subsets(labels, [1, 2, 5], seed=4)
    assert np.array_equal(subsets[5], again[5])
    assert not np.array_equal(subsets[5], other[5])


def test_a_class_with_too_few_examples_is_named() -> None:
    with pytest.raises(LabelError, match=r"2 examples.*too few of dog \(1\)"):
        label_subsets(["cat", "cat", "dog"], [1, 2])


def test_the_curve_rises_with_labels_and_has_a_row_for_each_seed(digits: Any) -> None:
    pixels, labels = digits
    curve = label_curve(
        pixels[:900], labels[:900], pixels[900:], labels[900:], seeds=range(3), classifier=KNNClassifier(k=5)
    )
    assert curve.labels == (1, 2, 5, 10)
    assert curve.values.shape == (3, 4)
    assert list(curve.mean) == sorted(curve.mean)
    assert np.allclose(curve.std, curve.values.std(axis=0, ddof=1))


def test_a_curve_of_one_seed_has_no_spread() -> None:
    assert LabelCurve((1, 2), np.array([[0.5, 0.6]])).std.tolist() == [0, 0]
    with pytest.raises(LabelError, match="do not fit 3"):
        LabelCurve((1, 2, 5), np.array([[0.5, 0.6]]))


def test_the_curve_is_drawn_as_a_png(tmp_path: Path) -> None:
    curves = {
        "frozen encoder": LabelCurve((1, 2, 5, 10), np.array([[0.88, 0.93, 0.94, 0.96], [0.86, 0.92, 0.95, 0.96]])),
        "from scratch": LabelCurve((1, 2, 5, 10), np.array([[0.69, 0.8, 0.92, 0.95], [0.65, 0.82, 0.9, 0.94]])),
    }
    out = plot_label_curve(curves, tmp_path / "curve.png")
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert image.width > 900
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
