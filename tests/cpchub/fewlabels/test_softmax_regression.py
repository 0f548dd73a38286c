"""The solver of the logistic probe: at scikit-learn's minimum, in few steps, for several models at once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cpchub.fewlabels import softmax_regression


def clouds(n: int, classes: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Features `[n, 64]` around a centre for each class, and their class numbers."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    return (rng.normal(size=(classes, 64))[y] * apart + rng.normal(size=(n, 64))).astype(np.float32), y


@pytest.mark.parametrize("C", [3.0, 1e4])
def test_the_probe_is_at_the_minimum_after_few_steps_at_every_penalty(C: float) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(100) % 10
    x = rng.normal(size=(100, 512)) / (1 + np.arange(512)) + 0.3 * rng.normal(size=(10, 512))[y] / (1 + np.arange(512))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        fitted = softmax_regression.fit(x, y, (C,), tol=1e-6)
    assert fitted.n_iter <= 20
    theirs = LogisticRegression(C=C, solver="newton-cg", max_iter=1000, tol=1e-10).fit(x, y)
    ours = np.exp(fitted.logits(x)[0])
    assert np.abs(ours / ours.sum(axis=1, keepdims=True) - theirs.predict_proba(x)).max() < 1e-5


def test_models_of_several_folds_are_fitted_together_as_they_are_alone() -> None:
    x, y = clouds(60, 3, apart=0.5)
    x = x.astype(np.float64)
    used = np.stack([np.arange(60) % 2 == 0, np.arange(60) % 4 != 0])
    together = softmax_regression.fit(x, y, (1.0, 100.0), used=used, tol=1e-7)
    for at, (rows, C) in enumerate(zip(used, (1.0, 100.0), strict=True)):
        alone = softmax_regression.fit(x[rows], y[rows], (C,), tol=1e-7)
        assert np.abs(together.weights[at] - alone.weights[0]).max() < 1e-4


def test_where_float32_has_no_smaller_loss_the_fit_is_done() -> None:
    x, y = clouds(200, 4, apart=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        softmax_regression.fit(x, y, (1e4,), tol=1e-6)
