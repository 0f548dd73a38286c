"""Smaller copies of large images: one epoch makes them, the next ones read them; a run is the same without them."""

from __future__ import annotations

import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cpchub.common import packs
from cpchub.common.kept import kept_images
from cpchub.errors import RecipeError
from cpchub_training.data import kept_images as module
from cpchub_training.data.batches import Batches
from cpchub_training.data.kept_images import NONE, Copies, Room
from cpchub_training.data.listing import listed
from cpchub_training.data.loading import open_data
from cpchub_training.data.resized import Smaller, Square
from cpchub_training.data.streaming import Stream
from cpchub_training.recipes import Recipe
from cpchub_training.run.loop import train
from cpchub_training.views.settings import Views
from tests.training.small_runs import small

ROOM, CPU = "100MB", torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packs, "LOOK_AGAIN", 0.0)
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """8 images of noise, 96 pixels high and wider, so that files are much larger than small squares of them."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (96, 96 + 8 * i, 3), dtype=np.uint8)).save(
            tmp_path / "photos" / f"{i}.png"
        )
    return tmp_path / "photos"


def recipe(photos: Path, **changes: object) -> Recipe:
    base = small(
        epochs=2, batch_size=4, data=str(photos), stored_size=24, stream="always", knn_every=0, warmup_epochs=0
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def reads(stream: Stream) -> list[str]:
    """The files that are read from now on."""
    seen: list[str] = []
    inner = stream.listed.source.read
    stream.listed.source.read = lambda image: seen.append(image.path) or inner(image)  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("views_on", ["device", "cpu"])
def test_the_second_epoch_reads_no_large_image_and_shows_what_a_run_without_a_cache_shows(
    photos: Path, views_on: str
) -> None:
    wanted = recipe(photos, views_on=views_on, views=Views(size=12, crop_scale=(0.5, 1.0)))
    with_cache, without = (Stream(listed(str(photos)), 24, image_cache=room) for room in (ROOM, NONE))
    seen, plan = reads(with_cache), Batches(wanted, 8)
    for epoch in range(2):
        both = (each.views(plan.batches(2 * epoch, 2 * epoch + 2), wanted, CPU) for each in (with_cache, without))
        for (_, a), (_, b) in zip(*both, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert len(seen) == 8
    assert with_cache.share_kept == 0.5
    assert without.share_kept == 0


@pytest.mark.parametrize("views_on", ["device", "cpu"])
def test_a_run_ends_with_the_same_bits_whether_its_copies_are_kept_or_lost_on_the_way(
    photos: Path, tmp_path: Path, views_on: str
) -> None:
    wanted = recipe(photos, views_on=views_on, views=Views(size=12, crop_scale=(0.5, 1.0)))
    train(replace(wanted, image_cache=NONE), tmp_path / "without")
    train(replace(wanted, image_cache=ROOM), tmp_path / "with", stop_after_steps=1)
    kept_images().clear()
    train(replace(wanted, image_cache=ROOM), tmp_path / "with", stop_after_steps=2)
    train(replace(wanted, image_cache="200MB"), tmp_path / "with")
    last = Path("checkpoints") / "last.safetensors"
    assert (tmp_path / "with" / last).read_bytes() == (tmp_path / "without" / last).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "with" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["kept"] > 0


def test_images_in_memory_are_read_from_the_copies_of_an_earlier_run(photos: Path) -> None:
    wanted = recipe(photos, stream="auto", image_cache=ROOM)
    first = open_data(wanted)
    for path in photos.iterdir():  # the same size and time, and no image any more
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = open_data(wanted)
    assert torch.equal(first.take(torch.arange(8)), second.take(torch.arange(8)))


def test_a_file_that_changes_is_decoded_again(photos: Path) -> None:
    before = Copies(listed(str(photos)), Square(24), ROOM)
    old = [before.read(row) for row in range(8)]
    stat = (photos / "3.png").stat()
    shutil.copy(photos / "4.png", photos / "3.png")
    os.utime(photos / "3.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = Copies(listed(str(photos)), Square(24), ROOM)
    assert [after.read(row) for row in range(8)] == [*old[:3], old[4], *old[4:]]
    assert (after.found, after.made) == (7, 1)


def test_two_who_train_on_the_same_images_share_the_copies(photos: Path) -> None:
    one, two = (Copies(listed(str(photos)), Square(24), ROOM) for _ in range(2))
    for row in range(4):
        one.read(row)
        two.read(row + 4)
    for row in range(8):
        assert one.read(row) == two.read(row)
    assert one.made == two.made == 4


def test_small_files_and_files_without_a_clock_are_not_kept(photos: Path) -> None:
    found = listed(str(photos))
    timeless = replace(found, images=tuple(replace(each, mtime_ns=None, etag=None) for each in found.images))
    for source, side in ((found, 96), (timeless, 24)):
        copies = Copies(source, Square(side), ROOM)
        assert copies.read(0) == copies.read(0)
        assert copies.found == 0


def test_what_does_not_fit_is_decoded_again_and_that_is_said_once(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = Copies(listed(str(photos)), Square(24), "6kB")
    for _ in range(2):
        for row in range(8):
            copies.read(row)
    assert 0 < copies.found < 8
    assert sum(entry.bytes for entry in kept_images().entries()) < 6000 + 24 * 24 * 3
    assert capsys.readouterr().err.count("is full with") == 1


def test_entries_that_nobody_uses_make_room_the_oldest_first(tmp_path: Path) -> None:
    cache = kept_images()
    for number, name in enumerate(("mine", "used", "old", "older")):
        folder = cache.make(name, lambda made: (made / "pack").write_bytes(bytes(1000)) and None)
        if number >= 2:
            os.utime(folder, (1000 - number, 1000 - number))
    room = Room(cache, cache.folder / "mine", 4500)
    assert room.take(1000)
    assert {entry.folder.name for entry in cache.entries()} == {"mine", "used", "old"}
    assert not Room(cache, cache.folder / "mine", 1500).take(1000)
    assert {entry.folder.name for entry in cache.entries()} == {"mine", "used"}


def test_a_cache_that_cannot_be_written_is_told_and_not_missed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path / "file"))
    copies = Copies(listed(str(photos)), Square(24), ROOM)
    assert copies.read(0) == copies.read(0)
    assert "cannot be kept" in capsys.readouterr().err


def test_the_smallest_crop_of_a_copy_has_a_pixel_for_each_of_the_view() -> None:
    assert Smaller.of_views(Views(size=224, crop_scale=(0.2, 1.0))).side == 579
    assert Smaller.of_views(Views(size=100, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))).side == 100
    assert Smaller.of_views(Views(size=30, crop_scale=(0.0, 1.0), crop_ratio=(1.0, 1.0))).side == 300


def test_an_image_that_is_hardly_larger_stays_as_it_is(photos: Path) -> None:
    data = (photos / "7.png").read_bytes()
    assert Smaller(64).make(data) == data
    with Image.open(io.BytesIO(Smaller(32).make(data))) as copy:
        assert (copy.format, copy.size) == ("JPEG", (51, 32))


@pytest.mark.parametrize("word", ["much", "-1", ""])
def test_a_size_that_is_none_is_refused(photos: Path, word: str) -> None:
    with pytest.raises(RecipeError, match="image_cache"):
        recipe(photos, image_cache=word).check(8)
