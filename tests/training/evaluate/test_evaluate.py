"""Evaluation: protocols that cannot see a test label, features kept on disk, and agreement with other libraries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import nn

from cpchub.common.files import only_writer
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub.errors import ArgumentError, LabelError, SourceError
from cpchub.fewlabels.knn import knn
from cpchub_training.evaluate import FeatureCache, Settings, evaluate, evaluation, features, merged, open_labelled
from cpchub_training.evaluate.cpc_linear import EPS, cpc_linear, train_heads
from cpchub_training.evaluate.datasets import DataSet, Part
from cpchub_training.evaluate.evaluation import run
from cpchub_training.evaluate.networks import ScratchBaseline, train_and_predict
from cpchub_training.evaluate.protocols import PROTOCOLS, low_label_protocol
from cpchub_training.evaluate.task import UNKNOWN, Subset, Task

SETTINGS = Settings(fractions=(0.1, 1.0), per_class=(2,), seeds=(0, 1), scratch_pictures=32)
FROZEN = ("knn", "linear", "cpc-linear", "low-label")


def patterns(n: int, seed: int) -> Part:
    """Noisy images of three colours."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 120, (n, 16, 16, 3))
    images[np.arange(n), :, :, labels] += 60
    return Part(list(images.astype(np.uint8)), labels.astype(np.int64), f"digest{n}{seed}")


@pytest.fixture(scope="module")
def data() -> DataSet:
    return DataSet("colours", ("red", "green", "blue"), patterns(90, 0), patterns(45, 1))


@pytest.fixture(scope="module")
def encoder(tiny_encoder_folder: Path) -> Encoder:
    return load(tiny_encoder_folder)


@pytest.fixture
def cache(encoder: Encoder, tmp_path: Path) -> FeatureCache:
    return FeatureCache(encoder, tmp_path / "cache")


@pytest.fixture
def colour_folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for colour, name in enumerate(("blue", "green", "red")):
        (tmp_path / "colours" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 100, (20, 20, 3), np.uint8)
            pixels[:, :, colour] += 100
            Image.fromarray(pixels).save(tmp_path / "colours" / name / f"{i}.png")
    return tmp_path / "colours"


def test_permuted_test_labels_change_no_prediction_and_no_choice(
    encoder: Encoder, data: DataSet, tmp_path: Path
) -> None:
    """Anything fitted, chosen or stopped by a test label would come out differently."""
    shuffled = np.random.default_rng(5).permutation(data.test.labels)
    other = replace(data, test=replace(data.test, labels=shuffled))
    names = [*FROZEN, "scratch"]
    found = []
    for number, each in enumerate((data, other)):
        task = Task.blind(encoder, each, FeatureCache(encoder, tmp_path / str(number)), SETTINGS)
        found.append(run(task, [cell for name in names for cell in PROTOCOLS[name](task)]))
    for ours, theirs in zip(*found, strict=True):
        assert np.array_equal(ours.predicted, theirs.predicted)
        assert ours.choice == theirs.choice
    scores = [
        evaluate(encoder, each, FROZEN, settings=SETTINGS, cache=FeatureCache(encoder, tmp_path / "0"))
        for each in (data, other)
    ]
    assert [row["value"] for row in scores[0]["results"]] != [row["value"] for row in scores[1]["results"]]


def test_a_protocol_is_given_no_test_label(encoder: Encoder, data: DataSet, cache: FeatureCache) -> None:
    task = Task.blind(encoder, data, cache, SETTINGS)
    assert set(task.data.test.labels) == {UNKNOWN}
    assert np.array_equal(task.y, data.train.labels)


def test_features_are_those_of_encode_and_are_computed_once(
    encoder: Encoder, data: DataSet, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SHARD", 40)
    x = cache.of(data, "train")
    assert np.allclose(x, encoder.encode(list(data.train.images)), atol=1e-6)
    assert isinstance(x, np.memmap)
    monkeypatch.setitem(features.KINDS, "pooled", _never)
    assert np.array_equal(cache.of(data, "train"), x)


def test_an_interrupted_embedding_goes_on_after_its_last_shard(
    encoder: Encoder, data: DataSet, cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SHARD", 30)
    whole = FeatureCache(encoder, tmp_path / "other").of(data, "train")
    pooled, seen = features.KINDS["pooled"], []

    def stopped_at_the_third(encoder: Encoder, images: Any) -> Any:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(images))
        return pooled(encoder, images)

    monkeypatch.setitem(features.KINDS, "pooled", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        cache.of(data, "train")
    again: list[int] = []
    monkeypatch.setitem(features.KINDS, "pooled", lambda e, p: again.append(len(p)) or pooled(e, p))
    assert np.array_equal(cache.of(data, "train"), whole)
    assert again == [30]
    assert not list(cache.folder.rglob("shard-*"))


def test_an_interrupted_evaluation_computes_only_what_is_missing(
    encoder: Encoder, data: DataSet, cache: FeatureCache
) -> None:
    task = Task.blind(encoder, data, cache, SETTINGS)
    cells = low_label_protocol(task)
    run(task, cells[:3])
    calls: list[str] = []

    def counted(cell: Any) -> Any:
        return replace(cell, predict=lambda: calls.append(cell.config) or cell.predict())

    run(task, [counted(cell) for cell in cells])
    assert len(calls) == len(cells) - 3


def test_what_another_version_of_a_package_made_is_computed_anew(
    encoder: Encoder, data: DataSet, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, seeds=(0,))
    evaluate(encoder, data, ("knn",), settings=settings, cache=cache)
    newer = lambda name: "99.0" if name == "torch" else version(name)  # noqa: E731
    monkeypatch.setattr(evaluation, "version", newer)
    monkeypatch.setattr(features, "version", newer)
    before = set(cache.folder.rglob("*.npy")), set(cache.folder.rglob("*.npz"))
    content = evaluate(encoder, data, ("knn",), settings=settings, cache=cache)
    assert content["versions"]["torch"] == "99.0"
    after = set(cache.folder.rglob("*.npy")), set(cache.folder.rglob("*.npz"))
    assert [len(new) - len(old) for old, new in zip(before, after, strict=True)] == [2, 4]


@pytest.mark.parametrize("seeds", [(), (-1,), (0, 0)])
def test_seeds_that_cannot_be_measured_with_are_refused(
    seeds: tuple[int, ...], encoder: Encoder, data: DataSet, cache: FeatureCache
) -> None:
    with pytest.raises(ArgumentError, match="give one or more, each 0 or above, and each once"):
        evaluate(encoder, data, settings=replace(SETTINGS, seeds=seeds), cache=cache)
    assert not cache.folder.exists()


def test_nothing_to_measure_is_refused(encoder: Encoder, data: DataSet, cache: FeatureCache) -> None:
    with pytest.raises(ArgumentError, match="no protocol to measure by"):
        evaluate(encoder, data, (), cache=cache)
    with pytest.raises(ArgumentError, match="scratch_pictures=0"):
        evaluate(encoder, data, settings=replace(SETTINGS, scratch_pictures=0), cache=cache)


def test_labels_a_class_are_told_only_where_classes_have_equally_many(
    encoder: Encoder, data: DataSet, cache: FeatureCache
) -> None:
    uneven = replace(data.train, labels=np.repeat([0, 1, 2], [10, 20, 60]))
    for train, told in ((data.train, "3 labels a class"), (uneven, "10 % of the labels of each class")):
        task = Task.blind(encoder, replace(data, train=train), cache, SETTINGS)
        cell = next(cell for cell in low_label_protocol(task) if cell.config == "lowshot_10pct")
        assert cell.labels == 9
        assert told in cell.protocol


def test_cpcs_linear_protocol_needs_two_images_a_class() -> None:
    x = np.zeros((3, 2, 4), np.float32)
    with pytest.raises(LabelError, match="1 training image"):
        cpc_linear(x, np.array([0, 0, 1]), x)


def test_features_that_another_process_is_making_are_not_removed(
    encoder: Encoder, data: DataSet, cache: FeatureCache
) -> None:
    cache.of(data, "train")
    (home,) = cache.folder.iterdir()
    changed = replace(data, train=replace(data.train, digest="another"))
    with only_writer(home):
        cache.of(changed, "train")
        assert (home / features.FEATURES).exists()
    cache.of(replace(data, train=replace(data.train, digest="a third")), "train")
    assert not home.exists()


def test_features_that_another_process_has_just_made_are_not_made_again(
    encoder: Encoder, data: DataSet, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_the_other(home: Path) -> AbstractContextManager[None]:
        monkeypatch.setattr(features, "only_writer", only_writer)
        FeatureCache(encoder, cache.folder).of(data, "train")  # the other one had the folder first
        monkeypatch.setitem(features.KINDS, "pooled", lambda *_: pytest.fail("made again"))
        return only_writer(home)

    monkeypatch.setattr(features, "only_writer", after_the_other)
    assert len(cache.of(data, "train")) == len(data.train)


def test_a_changed_data_set_is_noticed_and_embedded_anew(
    encoder: Encoder, colour_folder: Path, cache: FeatureCache, capsys: pytest.CaptureFixture[str]
) -> None:
    before = open_labelled(str(colour_folder))
    x = np.array(cache.of(before, "train"))
    changed = next(path for path in before.train.images if "red" in str(path))
    Image.new("RGB", (20, 20), "white").save(str(changed))
    after = open_labelled(str(colour_folder))
    assert after.train.digest != before.train.digest
    assert not np.array_equal(cache.of(after, "train"), x)
    assert "have changed" in " ".join(capsys.readouterr().out.split())
    moved = colour_folder / "red" / Path(str(changed)).name
    moved.rename(colour_folder / "blue" / "moved.png")
    assert open_labelled(str(colour_folder)).train.digest != after.train.digest


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


def test_moments_are_those_of_the_map(encoder: Encoder, data: DataSet, cache: FeatureCache) -> None:
    maps, moments = cache.of(data, "test", "map"), cache.of(data, "test", "moments")
    assert maps.dtype == np.float16
    assert np.allclose(moments[:, 0], maps.astype(np.float32).mean(axis=(2, 3)), atol=1e-2)
    assert moments.shape == (45, 2, encoder.dim)


def test_from_scratch_does_not_depend_on_the_encoders_weights(
    encoder: Encoder, data: DataSet, cache: FeatureCache
) -> None:
    task = Task.blind(encoder, data, cache, SETTINGS)
    rival = ScratchBaseline(images=64)
    subset = Subset(np.arange(30), "x", "30 labels", 0)
    first = train_and_predict(task, subset, rival, rival.plan(30, 90))
    other = Task.blind(load(encoder.spec.folder or "", pretrained=False), data, cache, SETTINGS)
    second = train_and_predict(other, subset, rival, rival.plan(30, 90))
    assert np.array_equal(first, second)


def test_an_evaluation_says_what_was_measured_and_how(encoder: Encoder, data: DataSet, cache: FeatureCache) -> None:
    content = evaluate(encoder, data, ("knn", "low-label", "scratch"), settings=SETTINGS, cache=cache)
    json.dumps(content)
    assert content["weights_sha256"] == encoder.spec.weights_sha256
    assert content["data"]["test_digest"] == data.test.digest
    assert {row["config"] for row in content["results"]} >= {"knn_k200", "lowshot_10pct", "lowshot_2shot"}
    few = next(row for row in content["results"] if row["config"] == "lowshot_10pct")
    assert few["labels"] == 9
    assert few["seeds"] == [0, 1]
    assert few["value"] == pytest.approx(np.mean(few["values"]), abs=1e-4)
    assert all(row["config"].startswith("scratch") for row in content["rivals"])
    assert {row["way"] for row in content["labels_saved"]} == {"linear"}


def written(weights: str = "a", test: str = "t", name: str = "d", **values: float) -> dict[str, Any]:
    """An evaluation with these configs and values."""
    rows = [
        {"dataset": name, "config": config, "value": value, "task": "low-label", "labels": 10}
        for config, value in values.items()
    ]
    results = [row for row in rows if "scratch" not in str(row["config"])]
    rivals = [row for row in rows if "scratch" in str(row["config"])]
    facts = {"name": name, "train_digest": "x", "test_digest": test}
    return {"weights_sha256": weights, "data": facts, "results": results, "rivals": rivals}


def test_earlier_rows_are_kept_unless_measured_again_or_of_other_weights_or_images() -> None:
    old, new = written(knn_k20=0.5, other=0.4), written(knn_k20=0.6)
    assert {row["config"]: row["value"] for row in merged(old, new)["results"]} == {"other": 0.4, "knn_k20": 0.6}
    for changed in (written("b", knn_k20=0.5, other=0.4), written(test="u", knn_k20=0.5, other=0.4)):
        assert merged(changed, new)["results"] == new["results"]
    elsewhere = merged(written(name="e", test="v", other=0.4), new)
    assert [row["dataset"] for row in elsewhere["results"]] == ["e", "d"]
    assert [facts["name"] for facts in elsewhere["datasets"]] == ["e", "d"]


def test_labels_saved_follow_from_rows_measured_at_different_times() -> None:
    both = merged(written(lowshot_1pct=0.5), written(scratch_1pct=0.3))
    assert [(row["dataset"], row["way"], row["bound"]) for row in both["labels_saved"]] == [("d", "linear", ">=")]
    assert "labels_saved" not in merged(None, written(lowshot_1pct=0.5))


def test_a_folder_keeps_its_own_test_part_or_has_a_fifth_held_out(colour_folder: Path, tmp_path: Path) -> None:
    data = open_labelled(str(colour_folder))
    assert data.classes == ("blue", "green", "red")
    assert np.bincount(data.test.labels).tolist() == [2, 2, 2]
    assert not set(map(str, data.train.images)) & set(map(str, data.test.images))
    parted = tmp_path / "parted"
    colour_folder.rename(tmp_path / "train")
    parted.mkdir()
    (tmp_path / "train").rename(parted / "train")
    (parted / "test").mkdir()
    for name in ("red", "green"):
        (parted / "train" / name).rename(parted / "test" / name)
    Image.new("RGB", (8, 8)).save(parted / "train" / "blue" / "x.png")
    (parted / "train" / "green").mkdir()
    Image.new("RGB", (8, 8)).save(parted / "train" / "green" / "x.png")
    with pytest.raises(SourceError, match="class red"):
        open_labelled(str(parted))


def test_what_is_no_data_set_or_protocol_is_named(
    encoder: Encoder, data: DataSet, cache: FeatureCache, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="cifar10, digits"):
        open_labelled("imagenet")
    (tmp_path / "one" / "only").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "only" / "a.png")
    with pytest.raises(SourceError, match="one class only"):
        open_labelled(str(tmp_path / "one"))
    with pytest.raises(ArgumentError, match="knn, linear"):
        evaluate(encoder, data, ("kmeans",), cache=cache)


def _never(*_: Any) -> Iterator[None]:
    raise AssertionError("the features are kept already")
