"""Whatever is in a folder comes out as the eye sees it, or as a reason why not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.errors import BrokenImageError
from cpchub.media.decode import ORIENTATION_TAG, decode_bytes, read_image, resize_side

# Red top-left, green top-right, blue bottom-left, white bottom-right: every turn and flip of it is different.
CORNERS = {
    "top left": (255, 0, 0),
    "top right": (0, 255, 0),
    "bottom left": (0, 0, 255),
    "bottom right": (255, 255, 255),
}


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    image = Image.new("RGB", (width, height), CORNERS["bottom right"])
    half_w, half_h = width // 2, height // 2
    image.paste(CORNERS["top left"], (0, 0, half_w, half_h))
    image.paste(CORNERS["top right"], (half_w, 0, width, half_h))
    image.paste(CORNERS["bottom left"], (0, half_h, half_w, height))
    return image


def corners(image: Image.Image) -> dict[str, tuple[int, ...]]:
    right, bottom = image.width - 3, image.height - 3
    spots = {"top left": (2, 2), "top right": (right, 2), "bottom left": (2, bottom), "bottom right": (right, bottom)}
    return {name: image.getpixel(spot) for name, spot in spots.items()}  # type: ignore[misc]


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def with_orientation(image: Image.Image, orientation: int, format: str = "JPEG") -> bytes:
    """A file whose stored pixels are turned and whose EXIF tag says how to turn them back."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = image if orientation == 1 else image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    return encoded(stored, format, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int) -> None:
    decoded = decode_bytes(with_orientation(quarters(), orientation))
    assert decoded.image.size == (48, 32) == (decoded.width, decoded.height)
    for name, colour in corners(decoded.image).items():
        assert np.abs(np.subtract(colour, CORNERS[name])).max() < 40, name


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_once_in_other_formats(format: str) -> None:
    image = read_image(with_orientation(quarters(), 6, format))
    assert image.size == (48, 32)
    assert np.abs(np.subtract(corners(image)["top left"], CORNERS["top left"])).max() < 40


def test_reading_the_result_again_does_not_turn_it_again() -> None:
    once = read_image(with_orientation(quarters(), 6))
    assert np.array_equal(np.asarray(once), np.asarray(read_image(once)))


def test_a_pil_image_that_still_has_its_exif_is_turned_and_left_as_it_was() -> None:
    given = Image.open(io.BytesIO(with_orientation(quarters(), 6)))
    assert read_image(given).size == (48, 32)
    assert given.size == (32, 48)
    assert given.getexif()[ORIENTATION_TAG] == 6


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    for data in (encoded(clear, "PNG"), encoded(palette, "PNG", transparency=0)):
        assert read_image(data).getpixel((1, 1)) == (255, 255, 255)


def test_palette_grey_bilevel_and_cmyk_become_rgb() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 40, 50, 60])
    assert read_image(encoded(palette, "PNG")).getpixel((0, 0)) == (40, 50, 60)
    assert read_image(encoded(Image.new("L", (4, 4), 90), "PNG")).getpixel((0, 0)) == (90, 90, 90)
    assert read_image(encoded(Image.new("1", (4, 4), 1), "PNG")).getpixel((0, 0)) == (255, 255, 255)
    cyan = read_image(encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95)).getpixel((8, 8))
    assert np.abs(np.subtract(cyan, (0, 255, 255))).max() < 12


def test_sixteen_bit_grey_keeps_its_tones() -> None:
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    image = read_image(encoded(Image.fromarray(ramp), "PNG"))
    assert np.array_equal(np.asarray(image)[:, :, 0], np.rint(ramp / 257).astype(np.uint8))


def test_float_tiff_in_zero_to_one_keeps_its_tones() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    image = np.asarray(read_image(encoded(Image.fromarray(ramp), "TIFF")))[:, :, 0]
    assert np.array_equal(image, np.rint(ramp * 255).astype(np.uint8))


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_image(data).getpixel((3, 3)) == (250, 0, 0)


def test_a_cameras_file_of_several_images_gives_its_first() -> None:
    data = encoded(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (48, 32), "black")])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert np.allclose(list(corners(read_image(data)).values()), list(CORNERS.values()), atol=20)


@pytest.mark.parametrize("orientation", [1, 6])
def test_large_jpegs_are_decoded_at_reduced_scale_but_report_their_full_size(orientation: int) -> None:
    data = with_orientation(quarters(1024, 512), orientation)
    decoded = decode_bytes(data, size=48)
    assert (decoded.width, decoded.height) == (1024, 512)
    assert decoded.image.size == (256, 128)  # 1/4: the short side stays above 2 x 48
    assert decode_bytes(data).image.size == (1024, 512)


def test_other_large_images_are_reduced_as_well() -> None:
    decoded = decode_bytes(encoded(quarters(1024, 512), "PNG"), size=48)
    assert (decoded.width, decoded.height) == (1024, 512)
    assert decoded.image.size == (205, 103)  # 1/5
    assert decode_bytes(encoded(quarters(180, 150), "PNG"), size=48).image.size == (180, 150)


def test_arrays_are_images_when_uint8() -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(np.asarray(read_image(pixels)), pixels)
    assert np.array_equal(np.asarray(read_image(pixels[:, :, 0]))[:, :, 2], pixels[:, :, 0])
    assert read_image(pixels[:, :, :1]).size == (5, 4)


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((3, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_refused_with_their_shape_and_type(array: np.ndarray) -> None:
    with pytest.raises(BrokenImageError, match=r"shape \(\d, 4, \d\) and type.*uint8 \[H, W\]"):
        read_image(array)


def test_damaged_files_give_a_reason(tmp_path: Path) -> None:
    jpeg, png = encoded(quarters(200, 200), "JPEG"), encoded(quarters(200, 200), "PNG")
    damaged = {
        "the file is empty": b"",
        "not an image": b"hello, this is text",
        "damaged": jpeg[: len(jpeg) // 2],
        "the image is damaged": png[: len(png) // 2],
    }
    for reason, data in damaged.items():
        with pytest.raises(BrokenImageError, match=reason):
            read_image(data)


@pytest.mark.parametrize("format", ["EPS", "PCX"])
def test_other_formats_are_refused_under_whatever_name_they_come(format: str, tmp_path: Path) -> None:
    (tmp_path / "innocent.png").write_bytes(encoded(quarters(), format))
    with pytest.raises(BrokenImageError, match="unknown format"):
        read_image(tmp_path / "innocent.png")


def test_an_error_about_a_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(BrokenImageError, match=r"missing\.jpg: no such file"):
        read_image(tmp_path / "missing.jpg")
    (tmp_path / "notes.jpg").write_text("not pixels")
    with pytest.raises(BrokenImageError, match=r"notes\.jpg: not an image"):
        read_image(str(tmp_path / "notes.jpg"))
    with pytest.raises(BrokenImageError, match="not a regular file"):
        read_image(tmp_path)


def test_a_decompression_bomb_is_refused_before_its_pixels_are_made() -> None:
    bomb = encoded(Image.new("1", (15000, 15000)), "PNG")
    assert len(bomb) < 50_000
    with pytest.raises(BrokenImageError, match="too many pixels"):
        read_image(bomb)


def test_the_size_hint_is_the_side_the_transform_resizes_to() -> None:
    assert resize_side((3, 224, 224), 0.875) == 256
    assert resize_side((3, 32, 32), None) == 32
