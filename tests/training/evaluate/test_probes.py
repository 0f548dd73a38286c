"""The kNN and the linear probes agree with other libraries and with torch's own layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from cpchub.encoders.encoder import Encoder
from cpchub.errors import LabelError
from cpchub.fewlabels.knn import knn
from cpchub_training.evaluate import FeatureCache
from cpchub_training.evaluate.cpc_linear import EPS, cpc_linear, train_heads
from cpchub_training.evaluate.datasets import DataSet
from cpchub_training.evaluate.evaluation import run
from cpchub_training.evaluate.protocols import PROTOCOLS
from cpchub_training.evaluate.task import Task
from tests.training.evaluate.colours import SETTINGS


def test_cpcs_linear_protocol_needs_two_images_a_class() -> None:
    x = np.zeros((3, 2, 4), np.float32)
    with pytest.raises(LabelError, match="1 training image"):
        cpc_linear(x, np.array([0, 0, 1]), x)


def test_knn_equals_lightly(data: DataSet) -> None:
    pytest.importorskip("lightly")
    from lightly.utils.benchmarking import knn_predict

    rng = np.random.default_rng(0)
    x, y, queries = rng.normal(size=(500, 16)), rng.integers(0, 7, 500), rng.normal(size=(60, 16))
    found = knn(x.astype(np.float32), y, queries.astype(np.float32), (1, 5, 50, 200), 0.1)
    unit = [torch.nn.functional.normalize(torch.from_numpy(each).float(), dim=1) for each in (queries, x)]
    for k, ours in found.items():
        theirs = knn_predict(unit[0], unit[1].T, torch.from_numpy(y), num_classes=7, knn_k=k, knn_t=0.1)
        assert np.array_equal(ours, theirs[:, 0].numpy())


def test_knn_finds_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x, y, queries = (rng.normal(size=(300, 8)), rng.integers(0, 4, 300), rng.normal(size=(30, 8)))
    whole = knn(x, y, queries, (1, 20))
    monkeypatch.setattr("cpchub.fewlabels.knn.BANK_AT_ONCE", 37)
    monkeypatch.setattr("cpchub.fewlabels.knn.QUERIES_AT_ONCE", 7)
    parts = knn(x, y, queries, (1, 20))
    assert all(np.array_equal(whole[k], parts[k]) for k in whole)


def test_the_linear_probe_is_as_good_as_scikit_learns_best(
    encoder: Encoder, data: DataSet, cache: FeatureCache
) -> None:
    task = Task.blind(encoder, data, cache, SETTINGS)
    ours = run(task, PROTOCOLS["linear"](task))[0]
    x, x_test = task.features()
    unit, unit_test = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, x_test))
    scale = np.sqrt(np.square(unit - unit.mean(0)).sum(1).mean())
    theirs = LogisticRegression(C=ours.choice["C"], max_iter=5000, tol=1e-8)
    theirs.fit((unit - unit.mean(0)) / scale, data.train.labels)
    assert (theirs.predict((unit_test - unit.mean(0)) / scale) == ours.predicted).mean() > 0.997


def test_cpcs_linear_head_trains_as_batch_norm_and_convolution_on_the_maps() -> None:
    """One step on the moments of a batch is the step of torch's own layers on its maps."""
    torch.manual_seed(0)
    maps, y = torch.randn(32, 5, 3, 3) * 3 + 1, torch.arange(32) % 7 % 4
    moments = torch.stack([maps.mean(dim=(2, 3)), maps.square().mean(dim=(2, 3))], dim=1).numpy()
    heads = train_heads(moments, y.numpy(), [(1e-2, 0.0)], 4, epochs=3, seed=0)

    layers = nn.Sequential(nn.BatchNorm2d(5, affine=False, eps=EPS), nn.Conv2d(5, 4, 1))
    nn.init.zeros_(layers[1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(layers[1].bias)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-2, weight_decay=0.0)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 1e-2 * 0.5 * (1 + np.cos(np.pi * step / 3))
        loss = nn.functional.cross_entropy(layers(maps).mean(dim=(2, 3)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert np.allclose(heads.weights[0].T, layers[1].weight.detach()[:, :, 0, 0], atol=1e-5)  # type: ignore[index]
    batch_norm = nn.functional.batch_norm(maps, None, None, training=True, eps=EPS)
    expected = layers[1](batch_norm).mean(dim=(2, 3))
    assert torch.allclose(heads.logits(moments)[0], expected, atol=1e-4)


def test_cpcs_linear_protocol_learns_what_can_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    pooled = np.eye(3)[y] + rng.normal(scale=0.3, size=(300, 3))
    moments = np.stack([pooled, np.square(pooled) + 0.1], axis=1).astype(np.float32)
    predicted, choice = cpc_linear(moments[:200], y[:200], moments[200:])
    assert (predicted == y[200:]).mean() > 0.85
    assert set(choice) == {"lr", "weight_decay"}
