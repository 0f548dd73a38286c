"""Features are those of encode, are computed once, and are computed anew when anything they come from changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpchub.common.files import only_writer
from cpchub.encoders.encoder import Encoder
from cpchub_training.evaluate import FeatureCache, features, open_labelled
from cpchub_training.evaluate.datasets import DataSet


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
    assert "have changed" in " ".join(capsys.readouterr().err.split())
    moved = colour_folder / "red" / Path(str(changed)).name
    moved.rename(colour_folder / "blue" / "moved.png")
    assert open_labelled(str(colour_folder)).train.digest != after.train.digest


def test_moments_are_those_of_the_map(encoder: Encoder, data: DataSet, cache: FeatureCache) -> None:
    maps, moments = cache.of(data, "test", "map"), cache.of(data, "test", "moments")
    assert maps.dtype == np.float16
    assert np.allclose(moments[:, 0], maps.astype(np.float32).mean(axis=(2, 3)), atol=1e-2)
    assert moments.shape == (45, 2, encoder.dim)


def _never(*_: Any) -> Iterator[None]:
    raise AssertionError("the features are kept already")
