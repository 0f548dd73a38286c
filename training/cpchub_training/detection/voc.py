"""PASCAL VOC's layout: JPEGImages/, Annotations/*.xml, ImageSets/Main/SPLIT.txt."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cpchub.common.files import expanded
from cpchub.errors import SourceError
from cpchub.media.rules import NO_RULES
from cpchub_training.detection.average_precision import Boxes


@dataclass(frozen=True)
class Scene:
    """An image and its objects; `truth.labels` are numbers of `classes`, from 0."""

    path: Path
    truth: Boxes


def read_voc(root: Path, split: str, classes: tuple[str, ...] | None = None) -> tuple[list[Scene], tuple[str, ...]]:
    """The scenes of a split and the names of the classes: those given, or all that the split has, sorted.

    `root` holds the three folders, or one folder that does (`VOCdevkit/VOC2007`). Boxes are continuous, `[x1, y1, x2,
    y2]` in pixels: VOC counts pixels from 1 and includes the last one, so 1 is taken off the first corner.
    Raises SourceError for what is missing or cannot be read, naming it.
    """
    base = _base(expanded(root))
    names = _lines(base / "ImageSets" / "Main" / f"{split}.txt")
    objects = [_objects(base / "Annotations" / f"{name}.xml") for name in names]
    if classes is None:
        classes = tuple(sorted({name for each in objects for name, _, _ in each}))
    number = {name: i for i, name in enumerate(classes)}
    scenes = []
    for name, found in zip(names, objects, strict=True):
        if unknown := {label for label, _, _ in found} - number.keys():
            raise SourceError(
                f"{base / 'Annotations' / name}.xml has class {min(unknown)!r}; known: {', '.join(classes)}"
            )
        scenes.append(Scene(_image(base / "JPEGImages", name), _boxes(found, number)))
    return scenes, classes


def digest(scenes: Sequence[Scene]) -> str:
    """Short sha256 over the images' bytes and their objects, in order. Raises SourceError for a file that is gone."""
    whole = hashlib.sha256()
    for scene in scenes:
        try:
            whole.update(hashlib.sha256(scene.path.read_bytes()).digest())
        except OSError as error:
            raise SourceError(f"{scene.path} cannot be read ({error.strerror or error})") from error
        truth = scene.truth
        whole.update(f"{truth.labels.tolist()} {truth.corners.tolist()}".encode())
        if truth.difficult is not None:
            whole.update(f"{truth.difficult.tolist()}".encode())
    return whole.hexdigest()[:16]


def _base(root: Path) -> Path:
    found = sorted(path for path in root.rglob("Annotations") if path.is_dir()) if root.is_dir() else []
    below = [path for path in found if NO_RULES.left_out(f"{path.relative_to(root).as_posix()}/") is None]
    if not below:
        raise SourceError(f"{root} has no folder Annotations; give a folder in the layout of PASCAL VOC")
    if len(below) > 1:
        raise SourceError(f"{root} holds {len(below)} data sets, first {below[0].parent}; name one of them")
    return below[0].parent


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
        raise SourceError(f"no split {path.stem!r}: {path} cannot be read; there are: {there}") from error
    if not lines:
        raise SourceError(f"{path} names no images")
    return lines


def _objects(path: Path) -> list[tuple[str, list[float], bool]]:
    """Class name, box and whether it is marked as difficult, of each object of an image."""
    try:
        root = ET.parse(path).getroot()
        return [
            (
                str(item.findtext("name")),
                [float(item.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")],
                item.findtext("difficult", "0").strip() == "1",
            )
            for item in root.iter("object")
        ]
    except (OSError, ET.ParseError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as an annotation of PASCAL VOC ({error})") from error


def _boxes(found: list[tuple[str, list[float], bool]], number: dict[str, int]) -> Boxes:
    corners = np.array([box for _, box, _ in found], np.float64).reshape(-1, 4)
    corners[:, :2] -= 1
    whole = (corners[:, 2:] > corners[:, :2]).all(1)  # annotations of no area are in real data
    labels = np.array([number[name] for name, _, _ in found], np.int64)
    difficult = np.array([hard for _, _, hard in found], bool)
    return Boxes(corners[whole], labels[whole], difficult=difficult[whole])


def _image(folder: Path, name: str) -> Path:
    for suffix in (".jpg", ".jpeg", ".png"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise SourceError(f"{folder} has no image called {name}.jpg, which a split names")
