"""Whatever a folder holds: good images are embedded under their own names, the others are listed with a reason."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.collection.collection import Collection
from cpchub.errors import BrokenImageError
from cpchub.media.decode import ORIENTATION_TAG, read_image
from tests.cpchub.embedding.runs import run
from tests.cpchub.images import TinyEncoder, an_image, save


def check_every_row(collection: Collection) -> None:
    """Each vector is that of the image that stands beside it, embedded alone."""
    for row in range(len(collection)):
        alone = TinyEncoder().encode([read_image(collection.path_of(row), size=4)], normalize=True)[0]
        assert np.allclose(collection.vectors()[row], alone, atol=1e-6), collection.paths[row]


def png_of_zeros(width: int, height: int) -> bytes:
    """A PNG of any size in a few kilobytes: the rows are never made."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_a_folder_with_one_of_everything(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    large = (64, 48)
    good = {
        "jpeg.jpg": save(an_image(1, large), root / "jpeg.jpg"),
        "cmyk.jpg": save(an_image(2, large).convert("CMYK"), root / "cmyk.jpg"),
        "palette.png": save(an_image(3, large).convert("P"), root / "palette.png"),
        "alpha.png": save(an_image(4, large).convert("RGBA"), root / "alpha.png"),
        "grey.webp": save(an_image(5, large).convert("L"), root / "grey.webp"),
        "name with spaces.bmp": save(an_image(6, large), root / "name with spaces.bmp"),
        "name\nwith newline.tif": save(an_image(7, large), root / "name\nwith newline.tif"),
        "avif.avif": save(an_image(12, large), root / "avif.avif"),
    }
    frames = [an_image(8, large), an_image(9, large)]
    save(frames[0], root / "animated.gif", save_all=True, append_images=frames[1:])
    sixteen = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    Image.fromarray(sixteen).save(root / "sixteen.png")
    exif = an_image(10).getexif()
    exif[ORIENTATION_TAG] = 6
    save(an_image(10, large).rotate(90, expand=True), root / "turned.png", exif=exif)
    save(an_image(10, large), root / "upright.png")
    whole = good["jpeg.jpg"].read_bytes()
    (root / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.jpg").write_bytes(b"")
    (root / "text.jpg").write_text("not an image")
    (root / "bomb.png").write_bytes(png_of_zeros(30_000, 30_000))
    (root / "loop").symlink_to(root)
    (root / "dangling.jpg").symlink_to(root / "nowhere.jpg")
    (root / "folder.jpg").mkdir()
    os.mkfifo(root / "pipe.jpg")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.png")).write_bytes((root / "palette.png").read_bytes())

    collection = run(root, tmp_path / "out")
    assert set(collection.paths) == {*good, "animated.gif", "sixteen.png", "turned.png", "upright.png"}
    check_every_row(collection)
    vectors = dict(zip(collection.paths, collection.vectors(), strict=True))
    assert vectors["turned.png"] @ vectors["upright.png"] == pytest.approx(1, abs=1e-5)
    first_frame = TinyEncoder().encode([frames[0].convert("P").convert("RGB")], normalize=True)[0]
    assert vectors["animated.gif"] @ first_frame > 0.99
    reasons = {row["path"]: row["reason"] for row in collection.failures.to_pylist()}
    assert set(reasons) == {"truncated.jpg", "empty.jpg", "text.jpg", "bomb.png", r"caf\udce9.png"}
    assert "damaged" in reasons["truncated.jpg"]
    assert reasons["text.jpg"] == "not an image, or of an unknown format"
    assert "too many pixels" in reasons["bomb.png"]


def test_heic_is_read_where_its_package_is_installed_and_named_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    from cpchub.media import decode

    pillow_heif.from_pillow(an_image(3, (64, 48))).save(tmp_path / "a.heic")
    assert read_image(tmp_path / "a.heic").size == (64, 48)
    monkeypatch.setattr(decode, "_formats", lambda: decode.FORMATS)
    with pytest.raises(BrokenImageError, match=r"pip install .*\[heif\]"):
        read_image(tmp_path / "a.heic")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can read every file")
def test_a_file_that_may_not_be_read_is_listed(tmp_path: Path) -> None:
    save(an_image(1), tmp_path / "photos" / "a.png")
    save(an_image(2), tmp_path / "photos" / "b.png").chmod(0)
    collection = run(tmp_path / "photos", tmp_path / "out")
    assert "cannot be read" in collection.failures.to_pylist()[0]["reason"]


def test_a_file_that_the_system_fails_to_read_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(an_image(1), tmp_path / "photos" / "a.png")
    bad = save(an_image(2), tmp_path / "photos" / "b.png")
    original = Path.open

    def failing(self: Path, *args: object, **options: object) -> object:
        if self == bad:
            raise PermissionError(13, "Permission denied")
        return original(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", failing)
    collection = run(tmp_path / "photos", tmp_path / "out")
    assert collection.failures.to_pylist() == [
        {"path": "b.png", "reason": "the file cannot be read (Permission denied)"}
    ]


def mutated(data: bytes, generator: random.Random) -> bytes:
    """The bytes with some changed, cut off, doubled or moved."""
    changed = bytearray(data)
    for _ in range(generator.randint(1, 8)):
        at = generator.randrange(len(changed))
        match generator.randrange(5):
            case 0:
                changed[at] = generator.randrange(256)
            case 1:
                changed[at : at + generator.randint(1, 40)] = generator.randbytes(generator.randint(0, 40))
            case 2 if at > 20:
                del changed[at:]
            case 3:
                changed[at:at] = changed[: generator.randint(1, 60)]
            case _:
                changed[at] ^= 1 << generator.randrange(8)
    return bytes(changed)


def fuzz(folder: Path, count: int, seed: int) -> Path:
    """`count` damaged JPEG, PNG and WebP files among which every tenth is whole."""
    generator = random.Random(seed)
    folder.mkdir()
    originals = []
    for kind, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ):
        stream = io.BytesIO()
        an_image(len(originals), (72, 56)).save(stream, kind, **options)
        originals.append((kind.lower(), stream.getvalue()))
    for number in range(count):
        suffix, data = originals[number % len(originals)]
        (folder / f"{number:05d}.{suffix}").write_bytes(data if number % 10 == 0 else mutated(data, generator))
    return folder


def check_fuzzed(folder: Path, out: Path, count: int) -> None:
    collection = run(folder, out)
    assert len(collection) + collection.failures.num_rows == count
    assert all(collection.failures["reason"].to_pylist())
    whole = {path.name for number, path in enumerate(sorted(folder.iterdir())) if number % 10 == 0}
    assert whole <= set(collection.paths)
    check_every_row(collection)


def test_damaged_bytes_neither_crash_nor_shift_anything(tmp_path: Path) -> None:
    check_fuzzed(fuzz(tmp_path / "photos", 300, seed=0), tmp_path / "out", 300)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_damaged_files(tmp_path: Path, seed: int) -> None:
    check_fuzzed(fuzz(tmp_path / "photos", 1000, seed=100 + seed), tmp_path / "out", 1000)
