"""Classifiers that train networks on few labels, the regression behind the probe, and labels saved."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cpchub.encoders.load import load
from cpchub.errors import ArgumentError, LabelError
from cpchub.fewlabels import FineTunedEncoder, ResNetHead, label_fractions, labels_saved, softmax_regression
from cpchub.fewlabels.network_training import Schedule, flip_and_shift
from cpchub.fewlabels.resnet_head import PAPER, head


def colours(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images `[n, 16, 16, 3]` of three colours, and their names."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    images = rng.integers(0, 120, (n, 16, 16, 3))
    images[np.arange(n), :, :, codes] += 100
    return images.astype(np.uint8), np.array(["red", "green", "blue"])[codes]


@pytest.mark.parametrize("rows", [60, 900])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_penalty_at_once_gives_scikit_learns_models(rows: int, dtype: Any) -> None:
    pixels, labels = load_digits(return_X_y=True)
    x, y = (pixels[:rows] / 16).astype(dtype), labels[:rows].astype(np.int64)
    strengths = (0.1, 1.0, 10.0)
    fitted = softmax_regression.fit(x, y, strengths, tol=1e-6 if dtype == np.float64 else 1e-5)
    for C, logits in zip(strengths, fitted.logits(x), strict=True):
        theirs = LogisticRegression(C=C, max_iter=5000, tol=1e-9).fit(x.astype(np.float64), y)
        ours = torch.from_numpy(logits).softmax(dim=1).numpy()
        assert np.abs(ours - theirs.predict_proba(x)).max() < 2e-3


def test_features_of_very_different_scales_still_converge() -> None:
    """The scaled eigenbasis takes out what makes plain L-BFGS crawl."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 30)) * np.logspace(0, -4, 30)
    y = rng.integers(0, 4, 2000)
    y[x[:, 0] > 0] = 3
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        fitted = softmax_regression.fit(x, y, (1e6,), tol=1e-5, max_iter=100)
    assert fitted.n_iter < 100


def test_too_few_iterations_are_said() -> None:
    pixels, labels = load_digits(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="3 iterations"):
        softmax_regression.fit(pixels[:300], labels[:300].astype(np.int64), (100.0,), max_iter=3)


def test_the_head_of_cpc_v2_has_the_papers_size() -> None:
    with torch.device("meta"):
        network = head(4096, 1000, dropout=0.0, **PAPER)
    blocks = sum(p.numel() for name, p in network.named_parameters() if name.split(".")[0].isdigit())
    classifier = 4096 * 1000 + 1000
    assert (blocks - classifier) / 1e6 == pytest.approx(196, abs=1)


def test_the_head_learns_what_only_the_positions_of_a_map_tell() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(200, 4, 2, 2)).astype(np.float32)
    labels = (maps[:, 0, 0, 0] * maps[:, 1, 0, 0] > 0).astype(int)
    fitted = ResNetHead(blocks=2, width=24, steps=120, mirror=False, dropout=0, lr=5e-3).fit(maps, labels)
    assert fitted.score(maps, labels) > 0.9
    again = clone(fitted).fit(maps, labels)
    assert np.array_equal(fitted.predict_proba(maps), again.predict_proba(maps))
    assert np.allclose(fitted.predict_proba(maps).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_head_is_the_same_however_its_maps_lie_in_memory(dtype: Any) -> None:
    maps = np.random.default_rng(0).normal(size=(12, 8, 4, 4)).astype(np.float32)
    labels = np.arange(12) % 2
    stored = np.ascontiguousarray(maps.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2).astype(dtype)  # channels last
    assert not stored.flags.c_contiguous
    heads = [ResNetHead(blocks=1, steps=3, width=8, batch_size=4).fit(each, labels) for each in (maps, stored)]
    expected = heads[0].predict_proba(maps)
    for fitted in heads:
        assert np.array_equal(fitted.predict_proba(stored), expected)
        assert np.array_equal(fitted.predict_proba(np.asfortranarray(maps)), expected)


def test_the_head_takes_vectors_and_refuses_other_shapes() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 6))
    names = np.where(vectors[:, 0] > 0, "up", "down")
    assert set(ResNetHead(blocks=1, width=8, steps=5).fit(vectors, names).predict(vectors)) <= {"up", "down"}
    with pytest.raises(ArgumentError, match="neither maps"):
        ResNetHead(steps=5).fit(rng.normal(size=(8, 2, 3)), [0, 1] * 4)
    with pytest.raises(LabelError, match="one class only"):
        ResNetHead(steps=5).fit(vectors, ["a"] * 40)


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_whole_encoder_learns_colours_and_stays_itself(tiny_encoder_folder: Path, pretrained: bool) -> None:
    encoder = load(tiny_encoder_folder)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    x, y = colours(60)
    x_test, y_test = colours(60, seed=1)
    classifier = FineTunedEncoder(encoder, pretrained=pretrained, steps=60, batch_size=16, lr=1e-2, backbone_lr=1.0)
    fitted = classifier.fit(x, y)
    assert fitted.score(x_test, y_test) > 0.9
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_fine_tuning_starts_from_the_encoder_and_training_from_scratch_does_not(tiny_encoder_folder: Path) -> None:
    x, y = colours(12)
    stem = "model.conv1.0.weight"
    weights = load(tiny_encoder_folder).state_dict()[stem]
    slow = {"steps": 1, "lr": 1e-7}
    tuned = FineTunedEncoder(tiny_encoder_folder, **slow).fit(x, y).backbone_.state_dict()["conv1.0.weight"]
    fresh = FineTunedEncoder(tiny_encoder_folder, pretrained=False, random_state=1, **slow).fit(x, y)
    assert torch.allclose(tuned, weights, atol=1e-5)
    assert not torch.allclose(fresh.backbone_.state_dict()["conv1.0.weight"], weights, atol=1e-2)


@pytest.mark.parametrize("pretrained", [True, False])
def test_an_encoder_with_a_classifier_of_its_own_is_fine_tuned_without_it(
    tiny_encoder_folder: Path, pretrained: bool
) -> None:
    x, y = colours(12)
    encoder = load(tiny_encoder_folder, num_classes=7)
    fitted = FineTunedEncoder(encoder, pretrained=pretrained, steps=1).fit(x, y)
    assert fitted.predict_proba(x).shape == (12, 3)
    assert encoder.num_classes == 7


def test_what_are_no_images_is_refused(tiny_encoder_folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\(0, 8, 8, 3\)"):
        FineTunedEncoder(tiny_encoder_folder).fit(np.zeros((0, 8, 8, 3), np.uint8), [])
    with pytest.raises(ArgumentError, match="encoder is None"):
        FineTunedEncoder().fit(*colours(6))
    with pytest.raises(ArgumentError, match="float32"):
        FineTunedEncoder(tiny_encoder_folder).fit(np.zeros((4, 8, 8, 3), np.float32), [0, 1, 0, 1])
    with pytest.raises(LabelError, match="one class only"):
        FineTunedEncoder(tiny_encoder_folder).fit(np.zeros((4, 8, 8, 3), np.uint8), [1] * 4)


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    plan = Schedule(steps=100, warmup=0.1)
    rates = [plan.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[10] == 1.0
    assert rates[-1] < 1e-2
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_views_are_flipped_and_shifted_images() -> None:
    image = torch.zeros(400, 3, 16, 16, dtype=torch.uint8)
    image[:, :, :, :8] = 255
    views = flip_and_shift(8)(image, torch.Generator().manual_seed(0))
    assert views.shape == (400, 3, 8, 8)
    bright_left = views[:, 0, :, 0].mean(dim=1) > views[:, 0, :, -1].mean(dim=1)
    assert 150 < int(bright_left.sum()) < 250
    assert 0 <= float(views.min()) <= float(views.max()) <= 1


def test_views_that_shrink_an_image_look_at_all_of_its_pixels() -> None:
    noise = torch.randint(0, 256, (8, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    views = flip_and_shift(8)(noise, torch.Generator().manual_seed(0))
    assert float(views.std()) < 0.06  # 0.29 / 16 is that of means of 16 x 16 pixels, 0.2 that of single ones


def test_fractions_are_nested_and_keep_a_label_of_every_class() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 3])
    subsets = label_fractions(labels, (0.01, 0.1, 1.0), seed=1)
    assert [np.bincount(labels[rows]).tolist() for rows in subsets.values()] == [[1, 1, 1], [10, 5, 1], [100, 50, 3]]
    assert set(subsets[0.01]) < set(subsets[0.1]) < set(subsets[1.0])
    with pytest.raises(LabelError, match="above 0"):
        label_fractions(labels, (0.0,))


def test_labels_saved_are_read_off_the_rivals_curve_in_log_labels() -> None:
    rival = {100: 0.3, 1000: 0.5, 10_000: 0.7}
    (saved,) = labels_saved({100: 0.6}, rival)
    assert saved.factor == pytest.approx(10**1.5)  # half way between 1,000 and 10,000 on a log scale
    assert saved.bound == ""
    exact, never, below = labels_saved({10: 0.5, 100: 0.9, 200: 0.2}, rival)
    assert (exact.factor, exact.bound) == (100, "")
    assert (never.factor, never.bound, str(never)) == (100, ">=", ">= 100x")
    assert (below.factor, below.bound) == (0.5, "<=")


def test_a_rival_that_more_labels_once_made_worse_keeps_its_best() -> None:
    (saved,) = labels_saved({200: 0.55}, {100: 0.6, 1000: 0.5, 10_000: 0.7})
    assert (saved.factor, saved.bound) == (0.5, "<=")
    (saved,) = labels_saved({10: 0.65}, {100: 0.6, 1000: 0.5, 10_000: 0.7})
    assert 100 < saved.factor < 1000
    with pytest.raises(LabelError):
        labels_saved({}, {1: 0.5})


def test_nothing_is_said_of_points_beyond_the_ends_of_the_rivals_curve() -> None:
    rival = {100: 0.3, 1000: 0.5}
    assert labels_saved({10: 0.2, 10_000: 0.6}, rival) == []
    assert [saved.labels for saved in labels_saved({10: 0.4, 1000: 0.6, 5000: 0.45}, rival)] == [10, 1000, 5000]
