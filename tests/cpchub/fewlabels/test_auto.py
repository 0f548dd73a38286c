"""The classifier that chooses: what its parts compute, which it takes, and that it says why."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cpchub.errors import ArgumentError
from cpchub.fewlabels import AutoClassifier, Calibrated, LogisticProbe, RidgeProbe, ShrunkMeans, label_subsets
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.calibration import folds_to_choose
from cpchub.fewlabels.held_out import settled
from cpchub.fewlabels.ridge import _Problem


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = load_digits(return_X_y=True)
    return pixels.astype(np.float32), labels


@pytest.mark.parametrize(("rows", "columns"), [(12, 30), (40, 7)])
def test_ridge_says_of_a_held_out_label_what_a_fit_without_it_says(rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    x, codes, weights = unit_rows(rng.normal(size=(rows, columns))), np.arange(rows) % 3, rng.uniform(0.5, 2, rows)
    problem = _Problem.of(x.astype(np.float64), codes, weights)
    found = problem.held_out(2.0)
    y = np.eye(3)[codes]
    for at in range(rows):
        kept = np.arange(rows) != at
        share = weights[kept] / weights[kept].sum()
        centre, usual = share @ x[kept], share @ y[kept]
        z, w = (x[kept] - centre) * problem.scale, weights[kept, None]
        solution = np.linalg.solve((z * w).T @ z + 2.0 * np.eye(columns), (z * w).T @ (y[kept] - usual))
        assert np.allclose((x[at] - centre) * problem.scale @ solution + usual, found[at])


def test_ridge_penalises_more_where_labels_are_wrong(digits: Any) -> None:
    pixels, labels = digits
    noisy = labels[:300].copy()
    noisy[::2] = np.random.default_rng(1).integers(0, 10, 150)
    clean, wrong = RidgeProbe().fit(pixels[:300], labels[:300]), RidgeProbe().fit(pixels[:300], noisy)
    assert wrong.alpha_ > clean.alpha_
    assert wrong.predict_proba(pixels[300:]).max(axis=1).mean() < clean.predict_proba(pixels[300:]).max(axis=1).mean()


def test_shrunk_means_are_lda_with_many_labels_and_the_nearest_mean_with_one() -> None:
    rng = np.random.default_rng(0)
    stretched = np.array([3.0, 0.3])
    centres = np.array([[0.0, 0.5], [0.0, -0.5]])
    y = np.arange(4000) % 2
    flat = centres[y] + stretched * rng.normal(size=(4000, 2))
    x = np.column_stack([flat, np.full(len(flat), 10.0)])  # far away, so that unit length changes little
    many = ShrunkMeans().fit(x[:2000], y[:2000])
    nearest = (x[2000:, 1] > 0) == (y[2000:] == 0)
    assert many.score(x[2000:], y[2000:]) > nearest.mean() - 0.02  # along the axis that does not vary
    one = ShrunkMeans().fit([[1.0, 0.0], [0.0, 1.0]], ["right", "up"])
    assert one.predict([[0.9, 0.2], [0.1, 0.7]]).tolist() == ["right", "up"]
    assert np.allclose(one.predict_proba([[0.5, 0.5]]), 0.5)


def test_a_mean_of_few_labels_is_trusted_less() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 20))
    y = np.repeat([0, 1], [40, 2])
    fitted = ShrunkMeans().fit(centres[y] + rng.normal(size=(42, 20)), y)
    lengths = np.linalg.norm(fitted._weights, axis=1)
    assert lengths[1] < 0.5 * lengths[0]


def test_the_middle_may_be_given(digits: Any) -> None:
    pixels, labels = digits
    rows = label_subsets(labels, [1], seed=0)[1]
    around = ShrunkMeans(centre=unit_rows(pixels).mean(axis=0)).fit(pixels[rows], labels[rows])
    assert around.score(pixels, labels) > 0.5
    with pytest.raises(ArgumentError, match=r"shape \(3,\) for features of 64"):
        ShrunkMeans(centre=np.zeros(3)).fit(pixels[rows], labels[rows])


def test_with_one_label_a_class_it_takes_the_shrunk_means_and_says_why(digits: Any) -> None:
    pixels, labels = digits
    rows = label_subsets(labels, [1], seed=0)[1]
    chosen = AutoClassifier().fit(pixels[rows], labels[rows])
    assert chosen.method_ == "shrunk-means"
    assert "none can be held out" in chosen.why_
    alone = Calibrated(ShrunkMeans()).fit(pixels[rows], labels[rows])
    assert np.array_equal(chosen.predict_proba(pixels), alone.predict_proba(pixels))


def test_it_takes_what_predicts_held_out_labels_best_and_tells_the_others(digits: Any) -> None:
    pixels, labels = digits
    several = AutoClassifier().fit(pixels[:500], labels[:500])  # digits are written in several ways
    assert several.method_ == "knn"
    assert re.fullmatch(
        r"nearest neighbours, with a log loss of 0\.\d\d on held-out labels; shrunk class means 0\.\d\d, "
        r"ridge regression 0\.\d\d and logistic regression 0\.\d\d",
        several.why_,
    )
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = np.column_stack([rng.normal(size=(300, 40)), 0.8 * np.eye(3)[y] + 0.3 * rng.normal(size=(300, 3))])
    plain = AutoClassifier().fit(x[:150], y[:150])
    assert plain.method_ in ("logistic", "ridge", "shrunk-means")
    assert plain.score(x[150:], y[150:]) >= LogisticProbe().fit(x[:150], y[:150]).score(x[150:], y[150:]) - 0.05


@pytest.mark.parametrize("labels_used", [10, 100, 500])
def test_what_it_chose_is_not_chosen_again_while_labels_are_held_out(digits: Any, labels_used: int) -> None:
    pixels, labels = digits
    plain = settled(AutoClassifier().fit(pixels[:labels_used], labels[:labels_used]))
    assert not isinstance(plain, AutoClassifier | Calibrated)
    assert plain.get_params().get("C", 1) is not None
    assert plain.get_params().get("alpha", 1) is not None


def test_of_many_labels_a_part_is_learned_from_and_a_fifth_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpchub.fewlabels.calibration.ENOUGH_FOR_ONE_SPLIT", 100)
    monkeypatch.setattr("cpchub.fewlabels.calibration.MOST_TO_LEARN", 40)
    codes = np.repeat([0, 1, 2], [299, 90, 2])
    rows, fold_of = folds_to_choose(codes)
    held_out, learned = codes[rows[fold_of == 0]], codes[rows[fold_of == -1]]
    assert np.bincount(held_out).tolist() == [60, 18, 1]
    assert 30 <= len(learned) <= 43
    assert set(learned) == {0, 1, 2}
