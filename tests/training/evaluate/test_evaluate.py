"""An evaluation sees no test label, computes only what is missing, and says what was measured and how."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub.errors import ArgumentError, SourceError
from cpchub_training.evaluate import FeatureCache, Settings, evaluate, evaluation, features, merged, open_labelled
from cpchub_training.evaluate.datasets import DataSet
from cpchub_training.evaluate.evaluation import run
from cpchub_training.evaluate.in_words import in_words
from cpchub_training.evaluate.networks import ScratchBaseline, train_and_predict
from cpchub_training.evaluate.protocols import PROTOCOLS, knn_protocol, low_label_protocol
from cpchub_training.evaluate.task import UNKNOWN, Subset, Task
from tests.training.evaluate.colours import SETTINGS

FROZEN = ("knn", "linear", "cpc-linear", "low-label")


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
    with pytest.raises(ArgumentError, match="scratch_images=0"):
        evaluate(encoder, data, settings=replace(SETTINGS, scratch_images=0), cache=cache)


def test_labels_a_class_are_told_only_where_classes_have_equally_many(
    encoder: Encoder, data: DataSet, cache: FeatureCache
) -> None:
    uneven = replace(data.train, labels=np.repeat([0, 1, 2], [10, 20, 60]))
    for train, told in ((data.train, "3 labels a class"), (uneven, "10 % of the labels of each class")):
        task = Task.blind(encoder, replace(data, train=train), cache, SETTINGS)
        cell = next(cell for cell in low_label_protocol(task) if cell.config == "lowshot_10pct")
        assert cell.labels == 9
        assert told in cell.protocol


def test_fractions_that_come_to_the_same_labels_are_measured_once(
    encoder: Encoder, data: DataSet, cache: FeatureCache
) -> None:
    task = Task.blind(encoder, data, cache, replace(SETTINGS, fractions=(0.01, 0.02, 0.1, 1.0), per_class=(1, 3)))
    labels = {cell.config: cell.labels for cell in low_label_protocol(task)}
    assert list(labels) == ["lowshot_1pct", "lowshot_10pct", "lowshot_100pct"]
    assert list(labels.values()) == [3, 9, 90]


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


def task_of(config: str) -> str:
    return "low-label" if config.startswith(("lowshot", "scratch")) else "knn"


def written(weights: str = "a", test: str = "t", name: str = "d", **values: float) -> dict[str, Any]:
    """An evaluation with these configs and values."""
    rows = [
        {"dataset": name, "config": config, "value": value, "task": task_of(config), "labels": 10}
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


def test_one_set_of_labels_by_two_names_is_one_row() -> None:
    two_per_cent = merged(None, written(lowshot_2pct=0.4, lowshot_2pct_resnet_head=0.5))
    both = merged(two_per_cent, written(lowshot_1pct=0.6))
    assert [row["config"] for row in both["results"]] == ["lowshot_2pct_resnet_head", "lowshot_1pct"]


def test_more_neighbours_than_images_are_one_measurement(encoder: Encoder, data: DataSet, cache: FeatureCache) -> None:
    few = replace(data, train=replace(data.train, labels=data.train.labels[:15]))
    cells = knn_protocol(Task.blind(encoder, few, cache, SETTINGS))
    assert [in_words(cell.config, cell.labels) for cell in cells] == ["knn, k = 15", "knn, k = 5", "knn, k = 1"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("knn_k20", "knn, k = 20"),
        ("linear_probe", "linear"),
        ("cpc_linear", "cpc-linear"),
        ("lowshot_0_5pct", "low-label, 0.5 %"),
        ("lowshot_5shot", "low-label, 5 a class"),
        ("lowshot_10pct_resnet_head", "resnet-head, 10 %"),
        ("lowshot_1pct_finetune", "fine-tune, 1 %"),
        ("scratch_100pct", "scratch, 100 %"),
    ],
)
def test_a_measurement_is_called_as_the_option_that_asks_for_it(config: str, words: str) -> None:
    assert in_words(config, 50) == words
    assert words.partition(",")[0] in PROTOCOLS


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


def test_the_older_name_of_a_setting_is_understood() -> None:
    old = Settings(scratch_pictures=64)
    assert old == Settings(scratch_images=64)
    assert replace(old, seeds=(1,)) == Settings(scratch_images=64, seeds=(1,))
