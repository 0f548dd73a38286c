"""Images in shards: each epoch shows every image once, in one order for all ranks, and each reads its own shards."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from cpchub.media.sources import parquet
from cpchub_training import recipes
from cpchub_training.data import order
from cpchub_training.data.batches import Batches
from cpchub_training.data.listing import listed
from cpchub_training.data.streaming import Stream
from cpchub_training.recipes import Recipe

RECIPE = replace(recipes.get("simclr_photos_quickstart"), batch_size=12, stored_size=8, views_on="device")


def jpeg(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(file, "png")
    return file.getvalue()


def shards(folder: Path, kind: str, n: int = 6, each: int = 40) -> Path:
    """`n` shards of `each` images: tar files, or Parquet files of row groups of 20."""
    folder.mkdir()
    for shard in range(n):
        encoded = [jpeg(shard * each + i) for i in range(each)]
        if kind == "tar":
            with tarfile.open(folder / f"{shard}.tar", "w") as tar:
                for i, data in enumerate(encoded):
                    info = tarfile.TarInfo(f"{i:03}.png")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        else:
            pq.write_table(pa.table({"image": encoded}), folder / f"{shard}.parquet", row_group_size=20)
    return folder


def steps(recipe: Recipe, images: Stream, rank: int, n: int, epoch: int) -> list[torch.Tensor]:
    """The rows of each step of an epoch, as one of `n` ranks sees them."""
    plan = Batches(recipe, len(images), rank, n, shards=images.shards)
    first = epoch * plan.steps_per_epoch
    return [batch.rows for batch in plan.batches(first, first + plan.steps_per_epoch)]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_one_two_and_three_ranks_take_the_same_images_in_each_step(kind: str, tmp_path: Path) -> None:
    images = Stream(listed(str(shards(tmp_path / "shards", kind))), 8)
    assert len(images) == 240
    epochs = [steps(RECIPE, images, 0, 1, epoch) for epoch in (0, 1)]
    for epoch, whole in enumerate(epochs):
        assert sorted(torch.cat(whole).tolist()) == list(range(240))
        for n in (2, 3):
            parts = zip(*(steps(RECIPE, images, rank, n, epoch) for rank in range(n)), strict=True)
            for together, rows in zip(parts, whole, strict=True):
                assert torch.equal(torch.cat(together), rows)
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))


@pytest.mark.parametrize("n", [2, 3, 6])
def test_each_rank_reads_its_own_part_of_the_shards(n: int) -> None:
    starts = torch.arange(0, 120_000, 100)  # 1,200 row groups of 100 images
    laid = order.in_lanes(starts, 120_000, 12, seed=5).reshape(-1, 12)
    groups = [set((laid[:, mine].flatten() // 100).tolist()) for mine in torch.arange(12).chunk(n)]
    readers = Counter(group for each in groups for group in each)
    assert set(readers) == set(range(1200))
    assert sum(count > 1 for count in readers.values()) <= n  # where the part of one ends and that of the next begins


def test_the_images_of_a_batch_come_from_many_places_and_from_others_in_each_epoch() -> None:
    starts = torch.arange(0, 120_000, 100)
    epochs = [order.in_lanes(starts, 120_000, 256, seed)[: 468 * 256].reshape(468, 256) for seed in (1, 2)]
    companions = [set((batches[(batches == 777).any(1)] // 100).flatten().tolist()) for batches in epochs]
    assert min(map(len, companions)) > 200  # of 256 images
    assert len(companions[0] & companions[1]) < 100


@pytest.mark.parametrize(("n", "starts"), [(1, [0]), (7, [0]), (50, [0, 3, 4, 49]), (1000, [0, 999])])
@pytest.mark.parametrize("batch_size", [1, 6, 500])
def test_every_image_comes_once_however_the_shards_are_cut(n: int, starts: list[int], batch_size: int) -> None:
    assert sorted(order.in_lanes(torch.tensor(starts), n, batch_size, seed=0).tolist()) == list(range(n))


def test_a_row_group_is_read_once_by_the_readers_that_walk_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Stream(listed(str(shards(tmp_path / "shards", "parquet", n=4, each=200))), 8, workers=3)
    monkeypatch.setattr(order, "BLOCK", 20)
    monkeypatch.setattr(order, "LANES", 2)  # which makes the blocks of so few images whole row groups
    opened: list[tuple[str, int]] = []
    read = parquet._Cursor._read

    def counted(cursor: Any, group: int) -> Any:
        opened.append((cursor.name, group))
        return read(cursor, group)

    monkeypatch.setattr(parquet._Cursor, "_read", counted)
    plan = Batches(RECIPE, len(images), shards=images.shards)
    seen = torch.cat([v[0][:, :, 0, 0] for _, v in images.views(plan.batches(0, 66), RECIPE, torch.device("cpu"))])
    assert len(seen) == 66 * 12
    assert len(opened) <= 40 + 2 + 2  # row groups, those that readers begin in, and the one that the epoch begins in


def test_images_that_are_files_come_in_any_order(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(jpeg(i))
    assert listed(str(tmp_path)).shards() is None


def test_a_subset_keeps_its_shards(tmp_path: Path) -> None:
    found = listed(str(shards(tmp_path / "shards", "parquet", n=2)))
    assert found.shards() is not None
    assert found.shards().tolist() == [0, 20, 40, 60]  # type: ignore[union-attr]
    assert found.subset(np.array([5, 6, 25, 70])).shards().tolist() == [0, 2, 3]  # type: ignore[union-attr]
