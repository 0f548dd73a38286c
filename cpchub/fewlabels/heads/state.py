"""A fitted classifier as arrays and JSON values, and back: the same probabilities without the labels or the images."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np
from sklearn.base import clone

from cpchub.fewlabels.auto import AutoClassifier
from cpchub.fewlabels.base import Array, FeatureClassifier
from cpchub.fewlabels.calibration import Calibrated
from cpchub.fewlabels.knn import KNNClassifier
from cpchub.fewlabels.logistic import LogisticProbe
from cpchub.fewlabels.means import ClassMeans
from cpchub.fewlabels.one_vs_rest import OneVsRest
from cpchub.fewlabels.ridge import RidgeProbe
from cpchub.fewlabels.shrunk_means import ShrunkMeans

KINDS: dict[str, type[FeatureClassifier]] = {
    kind.__name__: kind
    for kind in (
        AutoClassifier,
        LogisticProbe,
        RidgeProbe,
        ShrunkMeans,
        ClassMeans,
        KNNClassifier,
        Calibrated,
        OneVsRest,
    )
}


def state_of(classifier: FeatureClassifier, prefix: str = "") -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of a fitted classifier by name, and the rest of it as JSON values."""
    arrays: dict[str, Array] = {}
    inner: dict[str, Any] = {}
    numbers: dict[str, Any] = {"n_features_in_": int(classifier.n_features_in_)}
    for name in classifier.FITTED:
        value = getattr(classifier, name)
        if isinstance(value, FeatureClassifier):
            of_inner, inner[name] = state_of(value, f"{prefix}{name}.")
            arrays |= of_inner
        elif isinstance(value, list):
            inner[name] = []
            for number, each in enumerate(value):
                of_inner, state = state_of(each, f"{prefix}{name}.{number}.")
                arrays |= of_inner
                inner[name].append(state)
        elif isinstance(value, np.ndarray):
            arrays[prefix + name] = np.ascontiguousarray(value)
        else:
            numbers[name] = value
    learned = {_setting(name) for name in inner}
    given = {name: value for name, value in classifier.get_params(deep=False).items() if name not in learned}
    settings = {name: None if isinstance(value, np.ndarray) else value for name, value in given.items()}  # only for fit
    return arrays, {
        "kind": type(classifier).__name__,
        "classes": classifier.classes_.tolist(),
        "settings": settings,
        "numbers": numbers,
        "inner": inner,
    }


def _setting(name: str) -> str:
    """The setting that what was fitted is cloned from: `classifier` of `classifier_`, and of each of `classifiers_`."""
    return name.removesuffix("_").removesuffix("s")


def classifier_of(state: Mapping[str, Any], arrays: Mapping[str, Array], prefix: str = "") -> FeatureClassifier:
    """The classifier that `state_of` took apart. Raises KeyError or TypeError where something is missing."""
    inner: dict[str, Any] = {}
    for name, each in state["inner"].items():
        if isinstance(each, list):
            inner[name] = [classifier_of(one, arrays, f"{prefix}{name}.{n}.") for n, one in enumerate(each)]
        else:
            inner[name] = classifier_of(each, arrays, f"{prefix}{name}.")
    kind = KINDS[state["kind"]]
    first = {_setting(name): each[0] if isinstance(each, list) else each for name, each in inner.items()}
    wrapped = {name: clone(each) for name, each in first.items() if name in signature(kind).parameters}
    classifier = kind(**wrapped, **state["settings"])
    classifier.classes_ = np.array(state["classes"])
    fitted = inner | state["numbers"]
    for name in ("n_features_in_", *classifier.FITTED):
        setattr(classifier, name, fitted[name] if name in fitted else arrays[prefix + name])
    return classifier
