"""Damaged files of every format that is read neither end a job nor take another image's place."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import fuzz, fuzz_files
from cpchub.embedding.job import embed
from cpchub.errors import BrokenImageError
from cpchub.media.decode import decode_bytes
from cpchub_training import data
from tests.cpchub.images import TinyEncoder, folder_of_images


def files(format: str, count: int, folder: Path) -> list[Path]:
    if format == "heic":
        pytest.importorskip("pillow_heif")
    return fuzz_files.write_files(format, count, 1, folder)


@pytest.mark.parametrize("format", fuzz_files.FORMATS)
def test_a_sample_of_damaged_files_is_read_or_refused_with_a_reason(format: str, tmp_path: Path) -> None:
    paths = files(format, 40, tmp_path / "pictures")
    fuzz.check_each(paths)
    counts = fuzz.check_job(paths, tmp_path / "pictures", tmp_path / "out")
    assert counts["embedded"] >= 4
    assert counts["refused"] >= 4


@pytest.mark.slow
@pytest.mark.parametrize("format", fuzz_files.FORMATS)
def test_two_thousand_damaged_files_neither_crash_nor_hang_nor_shift_anything(format: str, tmp_path: Path) -> None:
    counts = fuzz.run_format(format, 2000, 0, tmp_path)
    assert "fault" not in counts, counts
    assert counts["files"] == 2000


def test_the_check_notices_a_vector_of_another_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = fuzz_files.write_files("png", 20, 1, tmp_path / "pictures")
    encode = fuzz.Thumbnail.encode
    monkeypatch.setattr(fuzz.Thumbnail, "encode", lambda self, images, **how: encode(self, images, **how)[::-1])
    with pytest.raises(RuntimeError, match="vector of another image"):
        fuzz.check_job(paths, tmp_path / "pictures", tmp_path / "out")


@pytest.mark.parametrize("kind", ["avif", "heic"])
@pytest.mark.parametrize("error", [RuntimeError, AssertionError, ZeroDivisionError, UserWarning, OverflowError])
def test_no_exception_of_a_decoder_ends_a_job(
    kind: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder_of_images(tmp_path / "photos", 5)
    (broken,) = files(kind, 1, tmp_path / "one")
    broken.rename(root / f"broken.{kind}")
    with Image.open(root / f"broken.{kind}") as opened:
        decoder = type(opened)

    def failing(self: Image.Image) -> None:
        raise error("the decoder stumbled")

    monkeypatch.setattr(decoder, "load", failing)
    collection = embed(root, tmp_path / "out", TinyEncoder(), progress=False)
    assert collection.failures.to_pylist() == [
        {"path": f"broken.{kind}", "reason": "the image is damaged (the decoder stumbled)"}
    ]
    assert len(collection) == 5
    assert data.load(str(root), size=16).skipped[0][0] == f"broken.{kind}"


@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_every_bit_of_a_small_file_may_be_flipped(kind: str, tmp_path: Path) -> None:
    (path,) = files(kind, 1, tmp_path / "one")
    whole, generator = path.read_bytes(), random.Random(0)
    for bit in generator.sample(range(8 * len(whole)), 150):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert decode_bytes(bytes(flipped), size=8).image.mode == "RGB"
        except BrokenImageError as error:
            assert str(error)  # noqa: PT017


@pytest.mark.parametrize("tag", [256, 257])
def test_a_tiff_larger_than_the_jpeg_in_it_shows_no_memory_of_other_images(tag: int) -> None:
    whole = fuzz_files.encoded(fuzz_files.photo(1), "TIFF", compression="jpeg")
    assert decode_bytes(whole).image.size == fuzz_files.SIZE
    at = whole.index(struct.pack("<HHI", tag, 3, 1)) + 8
    larger = whole[:at] + struct.pack("<I", 328) + whole[at + 4 :]
    with pytest.raises(BrokenImageError, match="is stored with 72 x 56" if tag == 256 else "damaged"):
        decode_bytes(larger)


def test_whole_tiffs_of_jpeg_streams_in_strips_and_tiles_are_read() -> None:
    photo = fuzz_files.photo(1).resize((200, 150))
    strips = fuzz_files.encoded(photo, "TIFF", compression="jpeg", tiffinfo={278: 64})
    for mode in ("L", "CMYK"):
        data = fuzz_files.encoded(photo.convert(mode), "TIFF", compression="jpeg", tiffinfo={278: 64})
        assert decode_bytes(data).image.size == (200, 150)
    found = np.asarray(decode_bytes(strips).image, int)
    assert np.abs(found - np.asarray(photo, int)).mean() < 4
