"""JPEG files that a GPU decodes get the vectors of those that the CPU decodes, or are decoded by the CPU.

The GPU is the CPU here, with torchvision's other decoder: the code is the same but for the name of the device.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import cpchub
from cpchub.catalog.listing import bundled_encoder
from cpchub.collection.collection import Collection
from cpchub.embedding.job import embed
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.fast import fast_embedder, gpu_jpeg
from cpchub.encoders.fast.gpu_jpeg import GpuDecoder, Jpeg, decoder_for, jpeg_for_gpu, upright
from cpchub.errors import ArgumentError
from cpchub.media.decode import ORIENTATION_TAG, UPRIGHT
from tests.cpchub.embedding.test_embed_damage import mutated
from tests.cpchub.images import an_image, save

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")

WIDE = (330, 220)  # small enough to be decoded in full for an encoder of 64 pixels, large enough for the GPU
SIDE = 64


def as_jpeg(image: Image.Image, kind: str = "JPEG", *, orientation: int = 1, **options: Any) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    image.save(stream, kind, **{"quality": 90, "exif": exif} | options)
    return stream.getvalue()


def found(data: bytes, size: int = SIDE) -> Jpeg:
    file = jpeg_for_gpu(data, size)
    assert file is not None
    return file


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return cpchub.load(bundled_encoder())


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every device has a decoder; how many of the files in each call it decoded."""
    counts: list[int] = []

    class Counting(GpuDecoder):
        def __call__(self, jpegs: Any) -> list[Tensor | None]:
            images = super().__call__(jpegs)
            counts.append(sum(image is not None for image in images))
            return images

    monkeypatch.setattr(fast_embedder, "decoder_for", Counting)
    return counts


def both(source: Path, out: Path, encoder: Encoder) -> tuple[Collection, Collection]:
    """The images embedded with the GPU's decoder and without it."""
    first = embed(source, out / "auto", encoder, progress=False, batch_size=8)
    return first, embed(source, out / "cpu", encoder, progress=False, batch_size=8, decode="cpu")


def check_same(by_gpu: Collection, by_cpu: Collection) -> None:
    assert by_gpu.items.equals(by_cpu.items)
    assert by_gpu.failures.equals(by_cpu.failures)
    assert (by_gpu.vectors() * by_cpu.vectors()).sum(1).min() >= 0.999


class TestWhichFiles:
    @pytest.mark.parametrize(("mode", "sampling"), [("RGB", 0), ("RGB", 2), ("L", 0)])
    def test_intact_baseline_files_are_for_the_gpu(self, mode: str, sampling: int) -> None:
        file = found(as_jpeg(an_image(1, WIDE).convert(mode), subsampling=sampling))
        assert (file.width, file.height, file.orientation) == (*WIDE, 1)
        assert file.blocks.shape == (28, 42, 3)

    def test_width_and_height_are_those_of_the_upright_image(self) -> None:
        file = found(as_jpeg(an_image(1, WIDE), orientation=6))
        assert (file.width, file.height, file.orientation) == (220, 330, 6)

    @pytest.mark.parametrize(
        "data",
        {
            "not a JPEG": b"GIF89a",
            "empty": b"",
            "progressive": as_jpeg(an_image(1, WIDE), progressive=True),
            "4:2:2": as_jpeg(an_image(1, WIDE), subsampling=1),
            "CMYK": as_jpeg(an_image(1, WIDE).convert("CMYK")),
            "truncated": as_jpeg(an_image(1, WIDE))[:-500],
            "nothing but a beginning": gpu_jpeg.START,
            "several images": as_jpeg(an_image(1, WIDE), "MPO", save_all=True, append_images=[an_image(2, WIDE)]),
            "decoded at a reduced scale by the CPU": as_jpeg(an_image(1, (400, 256))),
            "small": as_jpeg(an_image(1, (255, 255))),
            "very long": as_jpeg(an_image(1, (2000, 200))),
            "large for its pixels": as_jpeg(an_image(1, WIDE)) + bytes(gpu_jpeg.MOST_BYTES),
        }.items(),
        ids=lambda item: item[0],
    )
    def test_the_others_are_left_to_the_cpu(self, data: tuple[str, bytes]) -> None:
        assert jpeg_for_gpu(data[1], SIDE) is None

    def test_only_cuda_has_a_decoder_and_only_for_colours_and_plain_transforms(self, encoder: Encoder) -> None:
        pixels = encoder.embedder(0)._pixels
        assert decoder_for(torch.device("cpu"), pixels) is None
        assert decoder_for(torch.device("cuda"), None) is None

    def test_a_dtype_that_is_named_keeps_to_the_cpu(self, decoded: list[int]) -> None:
        exact = cpchub.load(bundled_encoder(), dtype="float32").embedder(0)
        assert exact.defer(as_jpeg(an_image(1, WIDE)), SIDE) is None


@pytest.mark.parametrize("orientation", range(9))
def test_an_image_is_turned_as_pillow_turns_it(orientation: int) -> None:
    image = an_image(3, (7, 5))
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    expected = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    assert np.array_equal(upright(tensor, orientation).permute(1, 2, 0), np.asarray(expected))


def test_files_are_decoded_in_groups_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [found(as_jpeg(an_image(n, size))) for n, size in enumerate([WIDE, WIDE, (200, 400), WIDE])]
    monkeypatch.setattr(gpu_jpeg, "AT_ONCE", 2 * WIDE[0] * WIDE[1])
    assert [len(group) for group in gpu_jpeg._groups(files)] == [2, 1, 1]
    monkeypatch.setattr(gpu_jpeg, "AT_ONCE", 1)
    assert [file for group in gpu_jpeg._groups(files) for file in group] == files
    assert list(gpu_jpeg._groups([])) == []


class TestAJob:
    def test_files_of_every_kind_get_the_rows_and_vectors_of_the_cpu(
        self, tmp_path: Path, encoder: Encoder, decoded: list[int]
    ) -> None:
        root = tmp_path / "photos"
        root.mkdir()
        for orientation in range(1, 9):
            data = as_jpeg(an_image(orientation, WIDE), orientation=orientation)
            (root / f"turned{orientation}.jpg").write_bytes(data)
        for sampling in range(3):
            data = as_jpeg(an_image(20 + sampling, (200, 340)), subsampling=sampling)
            (root / f"sampling{sampling}.jpg").write_bytes(data)
        (root / "grey.jpg").write_bytes(as_jpeg(an_image(10, WIDE).convert("L")))
        (root / "cmyk.jpg").write_bytes(as_jpeg(an_image(11, WIDE).convert("CMYK")))
        (root / "progressive.jpg").write_bytes(as_jpeg(an_image(12, WIDE), progressive=True))
        (root / "large.jpg").write_bytes(as_jpeg(an_image(13, (800, 600))))
        (root / "truncated.jpg").write_bytes(as_jpeg(an_image(14, WIDE))[:-500])
        (root / "text.jpg").write_text("not an image")
        save(an_image(15, WIDE), root / "image.png")
        save(an_image(16, WIDE).convert("P"), root / "palette.gif")
        by_gpu, by_cpu = both(root, tmp_path, encoder)
        check_same(by_gpu, by_cpu)
        assert {row["path"] for row in by_gpu.failures.to_pylist()} == {"truncated.jpg", "text.jpg"}
        assert len(by_gpu) == 17
        tried = decoded.pop(0)
        assert 0 < tried <= fast_embedder.CHECKED
        assert sum(decoded) == 8 + 2 + 1  # turned, of two samplings, grey

    def test_a_job_can_do_without(self, tmp_path: Path, encoder: Encoder, decoded: list[int]) -> None:
        save(an_image(1, WIDE), tmp_path / "photos" / "a.jpg")
        embed(tmp_path / "photos", tmp_path / "out", encoder, progress=False, decode="cpu")
        assert decoded == []
        with pytest.raises(ArgumentError, match="gpu"):
            embed(tmp_path / "photos", tmp_path / "out", encoder, decode="gpu")  # type: ignore[arg-type]

    def test_damaged_files_neither_shift_anything_nor_fail_for_other_reasons(
        self, tmp_path: Path, encoder: Encoder, decoded: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gpu_jpeg, "LEAST_PIXELS", 0)
        generator = random.Random(1)
        (tmp_path / "photos").mkdir()
        for number in range(120):
            data = as_jpeg(an_image(number % 5, (72, 56)))
            broken = data if number % 10 == 0 else mutated(data, generator)
            (tmp_path / "photos" / f"{number:03d}.jpg").write_bytes(broken)
        by_gpu, by_cpu = both(tmp_path / "photos", tmp_path, encoder)
        check_same(by_gpu, by_cpu)
        assert by_gpu.failures.num_rows > 10
        assert sum(decoded) > 20


class TestADecoderThatIsNotToBeBelieved:
    @pytest.fixture
    def files(self) -> list[Jpeg]:
        return [found(as_jpeg(an_image(n, WIDE))) for n in range(6)]

    def vectors(self, encoder: Encoder, files: list[Jpeg], decode: Any = None) -> tuple[np.ndarray, Any]:
        embedder = encoder.embedder(0)
        if decode is not None:
            embedder._decoder._decode = decode(embedder._decoder._decode)
        found = embedder.encode(files)
        embedder.close()
        return found, embedder

    def by_cpu(self, encoder: Encoder, files: list[Jpeg]) -> np.ndarray:
        return encoder.encode([file.data for file in files], normalize=True)

    def test_a_file_that_it_refuses_is_decoded_by_the_cpu_and_the_others_by_it(
        self, encoder: Encoder, files: list[Jpeg], decoded: list[int]
    ) -> None:
        def refusing(decode: Any) -> Any:
            def run(some: list[Tensor]) -> list[Tensor]:
                if any(bytes(one.numpy()) == files[2].data for one in some):
                    raise RuntimeError("Unknown chroma subsampling")
                return decode(some)

            return run

        vectors, embedder = self.vectors(encoder, files, refusing)
        assert embedder.gpu_decodes
        assert decoded == [5, 5]
        assert (vectors * self.by_cpu(encoder, files)).sum(1).min() >= 0.999

    def test_pixels_of_another_image_are_not_taken(
        self, encoder: Encoder, files: list[Jpeg], decoded: list[int]
    ) -> None:
        def stale(decode: Any) -> Any:
            def run(some: list[Tensor]) -> list[Tensor]:
                images = decode(some)
                images[3] = images[1]
                return images

            return run

        vectors, _ = self.vectors(encoder, files, stale)
        assert decoded == [5, 5]
        assert (vectors * self.by_cpu(encoder, files)).sum(1).min() >= 0.999

    def test_it_is_given_up_when_most_of_a_batch_comes_back(
        self, encoder: Encoder, files: list[Jpeg], decoded: list[int]
    ) -> None:
        embedder: Any = encoder.embedder(0)
        expected = embedder.encode(files)
        assert embedder.gpu_decodes
        embedder._decoder._decode = lambda some: [one[:1] for one in some]
        with pytest.warns(UserWarning, match="few of a batch's files"):
            vectors = embedder.encode(files)
        assert embedder.defer(files[0].data, SIDE) is None
        assert (vectors * expected).sum(1).min() >= 0.999
        embedder.close()

    @pytest.mark.parametrize("wrong", [lambda x: x[:, :, 8:], lambda x: x[:1], torch.zeros_like])
    def test_images_of_another_shape_or_empty_ones_are_not_taken(
        self, encoder: Encoder, files: list[Jpeg], decoded: list[int], wrong: Any
    ) -> None:
        with pytest.warns(UserWarning, match="decodes none of the first files"):
            vectors, embedder = self.vectors(encoder, files, lambda decode: lambda some: [*map(wrong, decode(some))])
        assert embedder.defer(files[0].data, SIDE) is None
        assert (vectors * self.by_cpu(encoder, files)).sum(1).min() >= 0.9999

    def test_it_is_given_up_where_the_first_vectors_differ(
        self, encoder: Encoder, files: list[Jpeg], decoded: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = fast_embedder.Pixels.prepare_tensor
        monkeypatch.setattr(fast_embedder.Pixels, "prepare_tensor", lambda self, x: original(self, x).flip(0))
        with pytest.warns(UserWarning, match="cosine of 0"):
            vectors, embedder = self.vectors(encoder, files)
        assert not embedder.gpu_decodes
        assert embedder.defer(files[0].data, SIDE) is None
        assert (vectors * self.by_cpu(encoder, files)).sum(1).min() >= 0.9999


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_decodes_what_the_cpu_does(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for n in range(64):
        save(an_image(n, WIDE), root / f"{n:02d}.jpg", quality=90)
    save(an_image(64, WIDE).convert("L"), root / "grey.jpg")
    (root / "truncated.jpg").write_bytes(as_jpeg(an_image(65, WIDE))[:-500])
    encoder = cpchub.load(bundled_encoder(), device="cuda")
    embedder = encoder.embedder(0)
    embedder.encode([found(path.read_bytes()) for path in sorted(root.glob("0*.jpg"))])
    assert embedder.gpu_decodes
    embedder.close()
    check_same(*both(root, tmp_path, encoder))
