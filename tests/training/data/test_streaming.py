"""Images streamed from disk: the views, the steps and the bits are those of images in memory."""

from __future__ import annotations

import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cpchub.errors import RecipeError, SourceError
from cpchub_training import data, recipes
from cpchub_training.data.batches import Batches
from cpchub_training.data.listing import listed
from cpchub_training.data.loading import open_data
from cpchub_training.data.streaming import Stream
from cpchub_training.recipes import Recipe
from cpchub_training.run.loop import train
from cpchub_training.views.settings import Views
from tests.processes import wait_for
from tests.training.small_runs import TINY

SIDE = 24


def recipe(**changes: object) -> Recipe:
    base = replace(
        recipes.get("simclr_photos_quickstart"),
        name="streamed",
        backbone_args=TINY,
        stored_size=SIDE,
        views=Views(size=16),
        input_size=16,
        projector_hidden=16,
        projector_dim=8,
        epochs=2,
        batch_size=8,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """30 images of different sizes in two class folders."""
    rng = np.random.default_rng(0)
    for i in range(30):
        folder = tmp_path / "photos" / ("cats" if i % 3 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(SIDE, 60, size=2)
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{i:02}.jpg", quality=95)
    return tmp_path / "photos"


def streamed(source: Path, **settings: object) -> Stream:
    return Stream(listed(str(source)), SIDE, **settings)  # type: ignore[arg-type]


def test_streamed_batches_are_those_of_images_in_memory(photos: Path) -> None:
    stream, memory = streamed(photos), data.load(str(photos), size=SIDE)
    assert memory.labels is not None
    assert torch.equal(memory.labels, stream.labels)
    assert memory.classes == stream.classes == ("cats", "dogs")
    rows = torch.tensor([3, 0, 29])
    assert torch.equal(memory.take(rows), stream.take(rows))
    plan, cpu = Batches(recipe(), 30), torch.device("cpu")
    both = zip(
        memory.views(plan.batches(0, 5), recipe(), cpu), stream.views(plan.batches(0, 5), recipe(), cpu), strict=True
    )
    for (a, in_memory), (b, from_disk) in both:
        assert torch.equal(a.rows, b.rows)
        assert len(in_memory) == len(from_disk) == 2
        for x, y in zip(in_memory, from_disk, strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("views_on", ["device", "cpu"])
def test_a_streamed_run_stopped_and_resumed_ends_with_the_same_bits(
    views_on: str, photos: Path, tmp_path: Path
) -> None:
    wanted = recipe(views_on=views_on, stream="always", data=str(photos))
    train(wanted, tmp_path / "whole")
    for _ in range(2):
        train(wanted, tmp_path / "parts", stop_after_steps=4)
    checkpoint = Path("checkpoints") / "last.safetensors"
    assert (tmp_path / "whole" / checkpoint).read_bytes() == (tmp_path / "parts" / checkpoint).read_bytes()


@pytest.mark.parametrize("way", ["memory", "streamed", "on the cpu"])
def test_the_last_views_keep_their_colours_where_the_recipe_says_so(photos: Path, way: str) -> None:
    grey = Views(size=16, jitter_p=0.0, grey_p=1.0)
    wanted = recipe(views=grey, n_views=3, plain_views=2, views_on="cpu" if way == "on the cpu" else "device")
    source = data.load(str(photos), size=SIDE) if way == "memory" else streamed(photos)
    (_, made), *_ = source.views(Batches(wanted, 30).batches(0, 1), wanted, torch.device("cpu"))
    std, mean = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (wanted.std, wanted.mean))
    spread = [float((view * std + mean).std(dim=1).max()) for view in made]  # over the channels
    assert spread[0] < 1e-5
    assert min(spread[1:]) > 0.1


def test_views_made_on_the_cpu_do_not_depend_on_the_number_of_threads(photos: Path) -> None:
    wanted = recipe(views_on="cpu")
    one, four = (
        list(streamed(photos, workers=n).views(Batches(wanted, 30).batches(0, 3), wanted, torch.device("cpu")))
        for n in (1, 4)
    )
    for (_, a), (_, b) in zip(one, four, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_next_batches_are_decoded_while_the_network_works(photos: Path) -> None:
    stream = streamed(photos, workers=2)
    batches = stream.views(Batches(recipe(), 30).batches(0, 6), recipe(), torch.device("cpu"))
    next(batches)
    read: set[str] = set()
    inner = stream.listed.source.read
    stream.listed.source.read = lambda image: read.add(image.path) or inner(image)  # type: ignore[method-assign]
    next(batches)
    wait_for(lambda: read or None, "no batch is decoded before it is asked for")
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_images_in_tar_shards_train_like_those_in_a_folder(photos: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for path in sorted(photos.rglob("*.jpg")):
            tar.add(path, str(path.relative_to(photos)))
    shard = streamed(tmp_path / "shard.tar")
    folder = streamed(photos)
    rows = torch.arange(30)
    assert torch.equal(shard.take(rows), folder.take(rows))


def test_a_broken_image_is_grey_and_listed_and_a_broken_half_is_an_error(photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    paths[4].write_bytes(b"no image")
    wanted, cpu = recipe(), torch.device("cpu")
    stream = streamed(photos)
    list(stream.views(Batches(wanted, 30).batches(0, 3), wanted, cpu))
    assert torch.equal(stream.take(torch.tensor([4])), torch.full((1, 3, SIDE, SIDE), 128, dtype=torch.uint8))
    assert list(stream.skipped) == [paths[4].relative_to(photos).as_posix()]
    for path in paths[:24]:
        path.write_bytes(b"no image")
    with pytest.raises(SourceError, match="cannot be read"):
        list(streamed(photos).views(Batches(wanted, 30).batches(0, 3), wanted, cpu))


def test_data_is_streamed_where_memory_is_too_small_for_it_or_the_recipe_says_so(photos: Path) -> None:
    where = str(photos)
    assert isinstance(open_data(recipe(data=where)), data.Images)
    assert isinstance(open_data(recipe(data=where, stream="always")), Stream)
    assert isinstance(open_data(recipe(data=where, views_on="cpu")), Stream)
    assert isinstance(open_data(recipe(data=where, stored_size=100_000)), Stream)  # 30 GB an image


def test_a_changed_data_set_has_another_digest(photos: Path) -> None:
    before = streamed(photos).digest()
    assert before == streamed(photos).digest()
    (photos / "cats" / "01.jpg").write_bytes((photos / "dogs" / "00.jpg").read_bytes())
    assert before != streamed(photos).digest()


def test_views_that_only_the_device_makes_are_refused_on_the_cpu(photos: Path) -> None:
    turning = recipe(views_on="cpu", views=Views(rotation=10))
    with pytest.raises(RecipeError, match=r"views\.rotation"):
        turning.check(30)
