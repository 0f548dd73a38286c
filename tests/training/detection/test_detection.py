"""Detection transfer: VOC's layout, the two styles of Faster R-CNN, and a measurement that goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import cpchub
from cpchub.errors import ArgumentError, SourceError
from cpchub_training.detection import Settings, measure, read_voc, transfer
from cpchub_training.detection.network import faster_rcnn, freeze, train_mode

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
SIDE = 64
OBJECT = (
    "<object><name>{name}</name><difficult>{hard}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
    "<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
)


def annotation(objects: list[dict[str, object]]) -> str:
    return "<annotation>" + "".join(OBJECT.format(**{"hard": 0, **each}) for each in objects) + "</annotation>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Eight images with a bright square each, below a folder, as VOCdevkit has it."""
    root = tmp_path / "devkit" / "SQUARES"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{i:06}" for i in range(8)]
    for i, name in enumerate(names):
        pixels = rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
        x, y = (int(v) for v in rng.integers(2, 30, 2))
        pixels[y : y + 24, x : x + 24] = 220
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        square = {"name": "square", "x1": x + 1, "y1": y + 1, "x2": x + 24, "y2": y + 24}
        extra = [{"name": "dot", "x1": 1, "y1": 1, "x2": 4, "y2": 4, "hard": 1}] if i == 0 else []
        (root / "Annotations" / f"{name}.xml").write_text(annotation([square, *extra]))
    (root / "ImageSets" / "Main" / "trainval.txt").write_text("\n".join(names[:6]))
    (root / "ImageSets" / "Main" / "test.txt").write_text("\n".join(f"{name}  1" for name in names[6:]))
    return tmp_path / "devkit"


def test_a_split_is_read_with_continuous_corners_and_marks(voc: Path) -> None:
    scenes, classes = read_voc(voc, "trainval")
    assert classes == ("dot", "square")
    assert len(scenes) == 6
    truth = scenes[0].truth
    assert truth.labels.tolist() == [1, 0]
    assert truth.difficult is not None
    assert truth.difficult.tolist() == [False, True]
    assert (truth.corners[0, 2:] - truth.corners[0, :2]).tolist() == [24, 24]  # VOC includes the last pixel
    assert truth.corners[1].tolist() == [0, 0, 4, 4]
    assert len(read_voc(voc, "test", classes)[0]) == 2


def test_what_is_missing_or_broken_is_named(voc: Path, tmp_path: Path) -> None:
    base = voc / "SQUARES"
    with pytest.raises(SourceError, match="no folder Annotations"):
        read_voc(tmp_path / "nowhere", "test")
    with pytest.raises(SourceError, match=r"no split 'val'.*there are: test, trainval"):
        read_voc(voc, "val")
    with pytest.raises(SourceError, match="class 'dot'; known: square"):
        read_voc(voc, "trainval", ("square",))
    (base / "JPEGImages" / "000006.jpg").unlink()
    with pytest.raises(SourceError, match=r"no image called 000006\.jpg"):
        read_voc(voc, "test")
    (base / "Annotations" / "000007.xml").write_text("<annotation><object>")
    with pytest.raises(SourceError, match=r"000007\.xml cannot be read"):
        read_voc(voc, "test")


@pytest.fixture(scope="module")
def spec() -> cpchub.ModelSpec:
    return cpchub.get_spec(cpchub.list_models(bundled=True)[0])


@pytest.mark.parametrize("style", ["fpn", "c4"])
def test_a_detector_trains_the_encoder_unless_it_is_frozen(style: str, spec: cpchub.ModelSpec) -> None:
    network = timm.create_model("resnet18", num_classes=0, **TINY)
    detector = faster_rcnn(network, spec, 2, style=style, side=SIDE, width=16)  # type: ignore[arg-type]
    target = {"boxes": torch.tensor([[4.0, 4, 30, 30]]), "labels": torch.tensor([1])}
    for frozen in (False, True):
        if frozen:
            freeze(detector)
        train_mode(detector, frozen)
        detector.zero_grad()
        losses = detector([torch.rand(3, SIDE, SIDE)] * 2, [target] * 2)
        sum(losses.values()).backward()
        touched = [p.grad is not None for p in network.parameters()]
        assert any(touched) != frozen
        assert network.bn1.training != frozen
    found = detector.eval()([torch.rand(3, SIDE, 90)])[0]
    assert set(found) == {"boxes", "labels", "scores"}


def test_networks_that_a_style_cannot_use_are_refused(spec: cpchub.ModelSpec) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=1, img_size=SIDE)
    for style, words in (("fpn", "a pyramid needs maps of stride"), ("c4", "takes a ResNet of timm's")):
        with pytest.raises(ArgumentError, match=words):
            faster_rcnn(vit, spec, 2, style=style, side=SIDE)  # type: ignore[arg-type]


SETTINGS = Settings(side=SIDE, width=16, steps=2, batch_size=2)


def test_a_measurement_is_kept_and_not_made_twice(
    voc: Path, tmp_path: Path, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, encoder = tmp_path / "out", str(tiny_encoder_folder)
    rows = measure(encoder, voc, SETTINGS, modes=("frozen", "scratch"), seeds=(0, 1), out=out)
    assert [row["mode"] for row in rows] == ["frozen", "scratch"]
    assert all(0 <= row[metric] <= 1 for row in rows for metric in transfer.METRICS)
    assert len(list((out / "detectors").iterdir())) == 4
    written = json.loads((out / "detection.json").read_text())
    assert written["results"] == rows
    assert (written["train_pictures"], written["test_pictures"]) == (6, 2)

    trained: list[str] = []
    monkeypatch.setattr(transfer, "_train", lambda *_, what, **__: trained.append(what))
    assert measure(encoder, voc, SETTINGS, modes=("frozen", "scratch"), seeds=(0, 1), out=out) == rows
    assert trained == []
    measure(encoder, voc, replace(SETTINGS, lr=0.02), modes=("frozen",), seeds=(0,), out=out)
    assert trained == ["frozen, seed 0"]


def test_other_images_or_objects_under_the_same_names_are_measured_anew(
    voc: Path, tmp_path: Path, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    monkeypatch.setattr(transfer, "_train", lambda *_, what, **__: trained.append(what))

    def times() -> int:
        measure(str(tiny_encoder_folder), voc, SETTINGS, modes=("frozen",), seeds=(0,), out=tmp_path / "out")
        return len(trained)

    assert (times(), times()) == (1, 1)
    annotated = voc / "SQUARES" / "Annotations" / "000007.xml"
    annotated.write_text(annotated.read_text().replace("<difficult>0", "<difficult>1"))
    assert times() == 2
    Image.new("RGB", (SIDE, SIDE)).save(voc / "SQUARES" / "JPEGImages" / "000001.jpg")
    assert times() == 3


def test_bad_settings_are_refused_before_any_work(voc: Path, tmp_path: Path, tiny_encoder_folder: Path) -> None:
    for changes, words in (({"steps": 0}, "steps=0"), ({"style": "yolo"}, "style='yolo'")):
        with pytest.raises(ArgumentError, match=words):
            measure(str(tiny_encoder_folder), voc, replace(SETTINGS, **changes), out=tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="each once"):
        measure(str(tiny_encoder_folder), voc, SETTINGS, seeds=(0, 0), out=tmp_path / "out")
    with pytest.raises(ArgumentError, match="no mode"):
        measure(str(tiny_encoder_folder), voc, SETTINGS, modes=(), out=tmp_path / "out")
    with pytest.raises(ArgumentError, match="mode 'linear'"):
        measure(str(tiny_encoder_folder), voc, SETTINGS, modes=("linear",), out=tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_detector_learns_to_find_squares(voc: Path, tmp_path: Path, tiny_encoder_folder: Path) -> None:
    settings = replace(SETTINGS, steps=200, lr=0.02, test_split="trainval")
    (row,) = measure(str(tiny_encoder_folder), voc, settings, modes=("fine-tuned",), seeds=(0,), out=tmp_path / "out")
    assert row["voc12_ap50"] > 0.5
