"""An image of any length takes little memory, and a centre crop of it shows what it showed before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from timm.data import create_transform

from cpchub.embedding.job import embed
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.fast.pixels import Pixels, shown
from cpchub.encoders.load import load
from cpchub.errors import BrokenImageError
from cpchub.index import Index
from cpchub.media.crop import LONGEST, centre_square, middle
from cpchub.media.damage import TOO_LITTLE_MEMORY
from cpchub.media.sources import ListedImage
from cpchub.media.sources.folder import FolderSource
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.thumbnails import Thumbnails
from cpchub_training import data
from cpchub_training.views.per_image import image_view
from cpchub_training.views.settings import Views
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save

LONG = [(1, 6500), (6500, 1), (3, 4001), (2, 999), (40, 900), (3000, 200)]


def strip(size: tuple[int, int]) -> Image.Image:
    """Noise along the long side, so that a crop at another place would show."""
    width, height = size
    line = np.random.default_rng(0).integers(0, 256, (max(size), 1, 3), dtype=np.uint8).repeat(min(size), axis=1)
    return Image.fromarray(line if height >= width else line.transpose(1, 0, 2).copy())


def transform(**options: object):  # type: ignore[no-untyped-def]
    usual = {"input_size": (3, 24, 24), "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    return create_transform(**usual | {"crop_pct": 0.9} | options)


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pixels of the largest image that was made by resizing so far."""
    found = [0]
    resize = Image.Image.resize

    def counted(self: Image.Image, size: tuple[int, int], *args: object, **options: object) -> Image.Image:
        found[0] = max(found[0], size[0] * size[1])
        return resize(self, size, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", counted)
    return found


@pytest.mark.parametrize("size", LONG)
def test_the_crop_of_a_long_image_is_the_one_of_the_whole(size: tuple[int, int], largest: list[int]) -> None:
    image, theirs = strip(size), transform()
    expected = np.asarray(theirs(image))
    largest[0] = 0
    pixels = Pixels.of(theirs, 3)
    assert pixels is not None
    ours = pixels.normalise(torch.from_numpy(pixels.prepare(image)[None].copy()))[0].numpy()
    plain = theirs(shown(theirs, image)).numpy()
    assert np.array_equal(plain, ours) or np.allclose(plain, ours, atol=1e-5)
    assert np.abs(ours - expected).max() <= 3 / 127.5
    assert largest[0] <= pixels.side**2 * (LONGEST + 1)


def test_images_of_usual_sides_are_left_as_they_are() -> None:
    for size in [(300, 100), (100, 800), (50, 50), (1, 8)]:
        image = an_image(1, size)
        assert middle(image) is image


def test_a_transform_that_shows_the_whole_image_is_given_the_whole() -> None:
    image = strip((5, 500))
    for options in ({"crop_mode": "squash"}, {"crop_mode": "border"}):
        assert shown(transform(**options), image) is image
    wide = transform(input_size=(3, 8, 80))
    assert shown(wide, strip((500, 10))).size == (500, 10)  # 50 times as wide, and the crop is 10 times
    assert shown(wide, strip((50_000, 10))).width <= 880


@pytest.mark.parametrize("size", [(1, 65000), (65000, 1), (2, 30_001)])
def test_a_strip_is_embedded_found_shown_and_trained_on_in_little_memory(
    size: tuple[int, int], tmp_path: Path, tiny_encoder_folder: Path, largest: list[int]
) -> None:
    root = folder_of_images(tmp_path / "photos", 9)
    path = save(strip(size), root / "strip.png")
    encoder = load(tiny_encoder_folder, device="cpu")
    collection = embed(root, tmp_path / "out", encoder, progress=False)
    assert collection.failures.num_rows == 0
    row = collection.paths.index("strip.png")
    assert collection.items.slice(row, 1).to_pylist()[0]["height"] == size[1]
    index = Index.build(collection, encoder)
    assert index.search(path, 1)[0].path == "strip.png"
    finder = Finder(index, encoder)
    assert finder.nearest(finder.vector_of(path.read_bytes()), 1).neighbours[0].path == "strip.png"
    assert Thumbnails(collection, tmp_path / "thumbnails").tile(row) is not None
    assert len(data.load(str(root), size=32)) == 10
    whole = Views(size=32, crop_scale=(1, 1), jitter_p=0, grey_p=0)
    assert image_view(path.read_bytes(), whole, torch.Generator().manual_seed(0)).shape == (3, 32, 32)
    assert largest[0] <= 512 * 512 * LONGEST


def test_a_centre_square_is_the_middle_of_the_image() -> None:
    image = strip((10, 3000))
    expected = image.resize((20, 6000), Image.Resampling.BILINEAR).crop((0, 2990, 20, 3010))
    difference = np.abs(np.asarray(centre_square(image, 20), int) - np.asarray(expected, int))
    assert difference.max() <= 3


def fails_on(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if memory had no room for images of that width."""
    resize = Image.Image.resize

    def failing(self: Image.Image, *args: object, **options: object) -> Image.Image:
        if self.width == side:
            raise MemoryError
        return resize(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", failing)


def test_an_image_that_memory_does_not_hold_is_that_images_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_encoder_folder: Path
) -> None:
    root = folder_of_images(tmp_path / "photos", 9)
    large = save(an_image(20, (77, 60)), root / "large.png")
    encoder = load(tiny_encoder_folder, device="cpu")
    fails_on(77, monkeypatch)
    collection = embed(root, tmp_path / "out", encoder, progress=False)
    assert collection.failures.to_pylist() == [{"path": "large.png", "reason": TOO_LITTLE_MEMORY}]
    assert len(collection) == 9
    assert data.load(str(root), size=32).skipped == (("large.png", TOO_LITTLE_MEMORY),)
    with pytest.raises(BrokenImageError, match="too little memory"):
        image_view(large.read_bytes(), Views(size=32), torch.Generator())
    finder = Finder(Index.build(collection, encoder), encoder)
    for search in (lambda: finder.vector_of(large.read_bytes()), lambda: finder.index.search(large, 1)):
        with pytest.raises(BrokenImageError, match="too little memory"):
            search()


@pytest.mark.parametrize("where", ["open", "load", "convert"])
def test_memory_that_ends_while_an_image_is_decoded_is_its_failure(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder_of_images(tmp_path / "photos", 3)
    save(an_image(7), root / "large.webp")
    original = getattr(PngImageFile, {"open": "_open"}.get(where, where))

    def failing(self: Image.Image, *args: object, **options: object) -> object:
        raise MemoryError

    monkeypatch.setattr(PngImageFile, original.__name__, failing)
    collection = embed(root, tmp_path / "out", TinyEncoder(), progress=False)
    assert collection.paths == ["large.webp"]
    assert set(collection.failures["reason"].to_pylist()) == {TOO_LITTLE_MEMORY}


def test_a_file_larger_than_memory_is_its_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of_images(tmp_path / "photos", 3)
    original = FolderSource.read

    def failing(self: FolderSource, image: ListedImage) -> bytes:
        if image.path == "001.png":
            raise MemoryError
        return original(self, image)

    monkeypatch.setattr(FolderSource, "read", failing)
    collection = embed(root, tmp_path / "out", TinyEncoder(), progress=False)
    assert collection.failures.to_pylist() == [{"path": "001.png", "reason": TOO_LITTLE_MEMORY}]
    assert data.load(str(root), size=16).skipped == (("001.png", TOO_LITTLE_MEMORY),)


def test_encode_names_the_image_that_memory_does_not_hold(
    tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder: Encoder = load(tiny_encoder_folder, device="cpu")
    fails_on(77, monkeypatch)
    with pytest.raises(BrokenImageError, match="image 1: there is too little memory"):
        encoder.encode([an_image(1), an_image(2, (77, 60))])
