"""One truncated image among many: every job leaves it out, names it and counts it, and uses the rest."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.cli.main import main
from cpchub.errors import LabelError, SourceError
from cpchub.media.damage import TOO_LITTLE_MEMORY
from cpchub_training import recipes
from cpchub_training.data.loading import open_data
from cpchub_training.detection import Settings as DetectionSettings
from cpchub_training.detection.transfer import _readable
from cpchub_training.detection.voc import read_voc
from cpchub_training.evaluate import open_labelled, readable
from cpchub_training.recipes import Recipe
from cpchub_training.run.loop import train
from cpchub_training.views.settings import Views
from tests.cpchub.images import an_image
from tests.training.small_runs import TINY

BROKEN = "cats/07.jpg"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "500")
    return tmp_path


def folder(root: Path) -> Path:
    """40 images in two classes."""
    for number in range(40):
        path = root / ("cats" if number < 20 else "dogs") / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        an_image(number, (32, 32)).save(path, quality=95)
    return root


@pytest.fixture
def photos(here: Path) -> Path:
    """They, with one that was cut off."""
    root = folder(here / "photos")
    whole = (root / BROKEN).read_bytes()
    (root / BROKEN).write_bytes(whole[: len(whole) // 2])
    return root


@pytest.fixture
def model(tiny_encoder_folder: Path, here: Path) -> Path:
    (out := here / "model").mkdir()
    for path in tiny_encoder_folder.iterdir():
        if path.name != "eval.json":
            shutil.copy(path, out / path.name)
    return out


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def check_told(text: str, times: int = 1) -> None:
    assert text.count("photos: left out of 40 images: 1 image that cannot be read") == times
    assert text.count(f"{BROKEN}: the image is damaged") == times


def test_eval_compare_and_report_leave_it_out_name_it_and_count_it(
    photos: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--images", str(photos), "--protocol", "knn,linear"]
    assert main(["eval", str(model), *flags, "-o", "out"]) == 0
    check_told(said(capsys))
    facts = json.loads(Path("out/eval.json").read_text())["data"]
    assert facts["train"] + facts["test"] == 39
    assert [each["path"] for each in facts["left_out"]] == [BROKEN]
    assert main(["compare", str(model), *flags]) == 0
    check_told(said(capsys))
    assert main(["report", str(model), "--images", str(photos), "-o", "page"]) == 0
    check_told(said(capsys))
    assert f"1 left out that cannot be read: <code>{BROKEN}</code>" in Path("page/report.html").read_text()


def test_the_numbers_are_those_of_a_folder_without_it(photos: Path, here: Path) -> None:
    without = shutil.copytree(photos, here / "without" / "photos")
    (without / BROKEN).unlink()
    a, b = open_labelled(str(photos)), open_labelled(str(without))
    assert (a.train.digest, a.test.digest) == (b.train.digest, b.test.digest)
    assert np.array_equal(a.train.labels, b.train.labels)
    assert "left_out" not in b.facts


def test_parts_of_their_own_are_left_alone(photos: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parted = here / "parted"
    shutil.copytree(photos, parted / "train")
    shutil.copytree(photos, parted / "test")
    found = open_labelled(str(parted))
    assert (len(found.train), len(found.test)) == (39, 39)
    assert [path for path, _ in found.left_out] == [f"train/{BROKEN}", f"test/{BROKEN}"]
    assert "left out of 80 images: 2 images that cannot be read" in said(capsys)


def test_the_images_are_decoded_for_this_once(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_labelled(str(photos))
    monkeypatch.setattr(readable, "decode_bytes", lambda *given, **named: pytest.fail("decoded again"))
    assert open_labelled(str(photos)).left_out == first.left_out
    shutil.move(photos / "dogs" / "33.jpg", photos / "dogs" / "moved.jpg")  # the contents are what counts
    assert open_labelled(str(photos)).left_out == first.left_out


def test_what_memory_did_not_hold_is_tried_again(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reduce = Image.Image.reduce
    (photos / BROKEN).unlink()
    an_image(1, (64, 64)).save(photos / "cats" / "large.png")

    def failing(self: Image.Image, factor: int) -> Image.Image:
        if self.size == (64, 64):
            raise MemoryError
        return reduce(self, factor)

    monkeypatch.setattr(Image.Image, "reduce", failing)
    assert open_labelled(str(photos)).left_out == (("cats/large.png", TOO_LITTLE_MEMORY),)
    monkeypatch.setattr(Image.Image, "reduce", reduce)
    assert open_labelled(str(photos)).left_out == ()


@pytest.mark.parametrize("damage", ["empty", "text", "gone", "loop"])
def test_other_damage_is_left_out_as_well(damage: str, photos: Path) -> None:
    path = photos / "dogs" / "30.jpg"
    path.unlink()
    if damage == "loop":
        path.symlink_to(path)
    elif damage == "gone":
        path.symlink_to(photos / "nowhere.jpg")
    else:
        path.write_bytes(b"" if damage == "empty" else b"no image")
    found = open_labelled(str(photos))
    assert len(found.train) + len(found.test) == 38
    assert BROKEN in dict(found.left_out)


def test_a_folder_of_broken_images_alone_is_refused_in_words(photos: Path) -> None:
    for path in photos.rglob("*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(SourceError, match=r"none of the 40 images can be read, first .*00\.jpg: not an image"):
        open_labelled(str(photos))


def test_a_class_of_which_one_image_is_left_is_refused_as_such(photos: Path) -> None:
    for path in sorted(photos.glob("dogs/*.jpg"))[1:]:
        path.write_bytes(b"no image")
    with pytest.raises(LabelError, match="the class dogs has one image"):
        open_labelled(str(photos))


def recipe(photos: Path, **changes: object) -> Recipe:
    base = replace(
        recipes.get("simclr_photos_quickstart"),
        name="cut_off",
        data=str(photos),
        backbone_args=TINY,
        stored_size=24,
        views=Views(size=16),
        input_size=16,
        projector_hidden=16,
        projector_dim=8,
        epochs=1,
        batch_size=8,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_training_in_memory_tells_what_it_leaves_out(
    photos: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe(photos), here / "run")
    check_told(said(capsys))


@pytest.mark.parametrize("views_on", ["device", "cpu"])
def test_streamed_training_names_it_when_met_and_counts_it_at_the_end(
    views_on: str, photos: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe(photos, stream="always", views_on=views_on), here / "run")
    text = said(capsys)
    check_told(text)
    assert f"{BROKEN} is left out: the image is damaged" in text


def test_aligned_folders_tell_the_scene(photos: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    depth = folder(here / "depth")
    scenes = open_data(recipe(photos, data=f"rgb={photos},depth={depth}"))
    assert len(scenes) == 39
    assert "cats/07: rgb: the image is damaged" in said(capsys)


def test_a_detectors_scenes_are_told_and_left_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = here / "voc"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    for number in range(6):
        an_image(number, (24, 24)).save(root / "JPEGImages" / f"{number}.jpg")
        objects = f"<annotation><object><name>cell</name>{box}</object></annotation>"
        (root / "Annotations" / f"{number}.xml").write_text(objects)
    (root / "ImageSets" / "Main" / "trainval.txt").write_text("0\n1\n2\n")
    (root / "ImageSets" / "Main" / "test.txt").write_text("3\n4\n5\n")
    cut = root / "JPEGImages" / "1.jpg"
    cut.write_bytes(cut.read_bytes()[:200])
    settings = DetectionSettings()
    splits = [read_voc(root, split)[0] for split in (settings.train_split, settings.test_split)]
    assert [len(scenes) for scenes in _readable(root, *splits)] == [2, 3]
    assert "voc: left out of 6 images: 1 image that cannot be read" in said(capsys)
    for path in (root / "JPEGImages").glob("[345].jpg"):
        path.write_bytes(b"")
    with pytest.raises(SourceError, match="none of a split's 3 images"):
        _readable(root, *splits)
