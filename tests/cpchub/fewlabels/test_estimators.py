"""The classifiers are scikit-learn estimators: its own checks, its tools around them, names, tables and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cpchub.errors import ArgumentError
from cpchub.fewlabels import (
    AutoClassifier,
    Calibrated,
    ClassMeans,
    KNNClassifier,
    LogisticProbe,
    RidgeProbe,
    ShrunkMeans,
)

CLASSIFIERS = [
    AutoClassifier(),
    Calibrated(ClassMeans()),
    ClassMeans(),
    KNNClassifier(k=5),
    LogisticProbe(),
    LogisticProbe(C=100.0),
    RidgeProbe(),
    RidgeProbe(alpha=1.0),
    ShrunkMeans(),
]
WITH_CLASS_WEIGHT = [
    AutoClassifier(),
    KNNClassifier(k=50),
    LogisticProbe(C=10.0),
    LogisticProbe(),
    RidgeProbe(alpha=1.0),
    RidgeProbe(),
]

TWICE_OR_WEIGHT_TWO = "check_sample_weight_equivalence_on_dense_data"
HELD_OUT = "a label that is there twice is held out once and learned from once; one of weight two is not"


def exceptions(estimator: BaseEstimator) -> dict[str, str]:
    """Every check of scikit-learn that a classifier does not pass, and why; there is no other."""
    if isinstance(estimator, KNNClassifier):
        return {TWICE_OR_WEIGHT_TWO: "k neighbours vote; an example of weight two is one of them, two examples are two"}
    if isinstance(estimator, LogisticProbe) and estimator.C is not None:
        return {TWICE_OR_WEIGHT_TWO: "the same to 1e-5, where 1e-7 is asked for; it is tested below"}
    if isinstance(estimator, AutoClassifier | Calibrated | LogisticProbe | RidgeProbe):
        return {TWICE_OR_WEIGHT_TWO: HELD_OUT}
    return {}


@parametrize_with_checks(CLASSIFIERS, expected_failed_checks=exceptions)
def test_scikit_learn_accepts_it_as_an_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def digits() -> tuple[pd.DataFrame, np.ndarray]:
    """Forty pixels in columns with names, and names of digits."""
    pixels, labels = load_digits(n_class=4, return_X_y=True)
    table = pd.DataFrame(pixels[:, 10:50], columns=[f"pixel {at}" for at in range(10, 50)])
    return table[:240], np.array(["zero", "one", "two", "three"])[labels[:240]]


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=str)
def test_it_works_inside_scikit_learn_with_names_tables_and_weights(classifier: Any, digits: Any) -> None:
    x, y = digits
    weights = np.linspace(0.5, 2, len(y))
    piped = make_pipeline(StandardScaler().set_output(transform="pandas"), clone(classifier))
    name = piped.steps[-1][0]
    assert piped.fit(x[:100], y[:100], **{f"{name}__sample_weight": weights[:100]}).score(x[100:], y[100:]) > 0.75
    assert cross_val_score(classifier, x, y, cv=2, params={"sample_weight": weights}).min() > 0.8
    calibrated = CalibratedClassifierCV(clone(classifier), cv=2).fit(x[:100], y[:100], weights[:100])
    assert calibrated.score(x[100:], y[100:]) > 0.75
    assert set(calibrated.predict(x)) == {"zero", "one", "two", "three"}


@pytest.mark.parametrize(
    ("classifier", "grid"),
    [
        (LogisticProbe(), {"C": [1e-6, 10.0]}),
        (RidgeProbe(), {"alpha": [1e9, 1.0]}),
        (KNNClassifier(), {"k": [200, 5]}),
        (ShrunkMeans(), {"ratio": [1e-9, 30.0]}),
        (Calibrated(KNNClassifier()), {"classifier__k": [200, 5]}),
        (AutoClassifier(), {"class_weight": [None, "balanced"]}),
    ],
    ids=lambda each: str(each) if isinstance(each, BaseEstimator) else "",
)
def test_a_grid_search_chooses_its_settings(classifier: Any, grid: Any, digits: Any) -> None:
    x, y = digits
    found = GridSearchCV(classifier, grid, cv=2, scoring="neg_log_loss").fit(x[:80], y[:80])
    assert found.best_params_ in [{name: value} for name, values in grid.items() for value in values]
    assert found.score(x[80:], y[80:]) > -1.0


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=str)
def test_a_label_of_weight_zero_is_as_good_as_none(classifier: Any, digits: Any) -> None:
    x, y = digits
    wrong = np.append(y[:60], "five")
    weights = np.append(np.ones(60), 0)
    weighed = clone(classifier).fit(x[:61], wrong, sample_weight=weights)
    assert list(weighed.classes_) == ["one", "three", "two", "zero"]
    assert np.array_equal(weighed.predict_proba(x), clone(classifier).fit(x[:60], y[:60]).predict_proba(x))


def test_a_label_of_weight_two_is_two_labels(digits: Any) -> None:
    x, y = digits
    weights = np.where(np.arange(60) % 3, 1, 2)
    twice = np.repeat(np.arange(60), weights)
    for classifier in (LogisticProbe(C=10.0), RidgeProbe(alpha=1.0), ShrunkMeans(), ClassMeans()):
        weighed = clone(classifier).fit(x[:60], y[:60], sample_weight=weights)
        repeated = clone(classifier).fit(x.iloc[twice], y[twice])
        assert np.array_equal(weighed.predict(x), repeated.predict(x))
        if not isinstance(classifier, RidgeProbe):  # its temperature is that of labels held out one by one
            assert np.allclose(weighed.predict_proba(x), repeated.predict_proba(x), atol=1e-5)


def clouds(counts: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """So many features `[n, 16]` of each class, which overlap."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    centres = np.random.default_rng(7).normal(size=(len(counts), 16))
    return (0.5 * centres[y] + rng.normal(size=(len(y), 16))).astype(np.float32), y


@pytest.mark.parametrize("classifier", WITH_CLASS_WEIGHT, ids=str)
def test_balanced_weights_find_the_class_that_has_few_labels(classifier: Any) -> None:
    x, y = clouds((60, 6))
    x_test, y_test = clouds((300, 300), seed=1)
    plain = clone(classifier).set_params(class_weight=None).fit(x, y)
    balanced = clone(classifier).set_params(class_weight="balanced").fit(x, y)
    assert (balanced.predict(x_test) == 1).mean() > (plain.predict(x_test) == 1).mean()
    assert balanced.score(x_test, y_test) > plain.score(x_test, y_test)


@pytest.mark.parametrize("classifier", WITH_CLASS_WEIGHT, ids=str)
def test_a_class_of_more_weight_is_predicted_more_often(classifier: Any) -> None:
    x, y = clouds((30, 30))
    names = np.array(["cat", "dog"])[y]
    of_dogs = [
        (clone(classifier).set_params(class_weight=weights).fit(x, names).predict(x) == "dog").mean()
        for weights in ({"dog": 0.05}, None, {"dog": 20})
    ]
    assert of_dogs[0] < of_dogs[1] < of_dogs[2]


def test_a_class_weight_of_zero_is_refused_by_name() -> None:
    x, y = clouds((5, 5))
    with pytest.raises(ArgumentError, match="class weight of dog is not above 0"):
        RidgeProbe(class_weight={"dog": 0}).fit(x, np.array(["cat", "dog"])[y])
