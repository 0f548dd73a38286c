"""Folders of aligned modalities, for CMC: photo, depth, normals and segmentation are the views of one scene.

`rgb=/data/rgb,depth=/data/depth` names them. Images of the same path, whatever its suffix, show the same scene.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import torch

from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.decode import EncodedImage
from cpchub.media.rules import NO_RULES, Rules
from cpchub_training import data
from cpchub_training.data.listing import Listed, listed, squares
from cpchub_training.recipes.places import modalities_of


def aligned(spec: str, size: int, rules: Rules = NO_RULES) -> data.Images:
    """Load scenes as square images of `size` pixels; the channels of all modalities are concatenated.

    A modality has one channel if its first image is grey (depth, a mask), else three. Labels are those of the first
    modality. A scene with an unreadable image is listed in `skipped`.

    Raises SourceError, naming some missing scenes, if the folders do not show the same scenes.
    """
    sources = {name: listed(path, rules) for name, path in modalities_of(spec).items()}
    scenes = {name: _by_scene(found) for name, found in sources.items()}
    first = next(iter(scenes))
    for name, here in scenes.items():
        lone = sorted(here.keys() ^ scenes[first].keys())
        if lone:
            where = name if lone[0] in here else first
            raise SourceError(
                f"{name} and {first} do not align: {len(lone)} scene(s) are in one of them only, first {lone[0]!r} in "
                f"{where}; give every scene one image in each"
            )
    parts: list[torch.Tensor] = []
    skipped: dict[int, str] = {}
    for name, found in sources.items():
        images, broken = squares(found, size)
        rows = [scenes[name][scene] for scene in scenes[first]]
        skipped |= {i: f"{name}: {broken[row]}" for i, row in enumerate(rows) if row in broken}
        parts.append(images[rows, :1] if _is_grey(found) else images[rows])
    good = [i for i in range(len(parts[0])) if i not in skipped]
    names = list(scenes[first])
    if not good:
        raise SourceError(f"no scene of {spec} can be read, first {names[0]}: {skipped[0]}")
    labels = sources[first].labels
    labelled = list(scenes[first].values())
    return data.Images(
        spec,
        torch.cat(parts, dim=1)[good],
        None if labels is None else labels[[labelled[i] for i in good]],
        sources[first].classes,
        tuple((names[i], skipped[i]) for i in sorted(skipped)),
    )


def _by_scene(images: Listed) -> dict[str, int]:
    return {str(PurePosixPath(image.path).with_suffix("")): row for row, image in enumerate(images.images)}


def _is_grey(images: Listed) -> bool:
    """Decided by the first image that can be opened; only its header is read."""
    for row in range(len(images)):
        try:
            return EncodedImage(images.read(row)).is_grey
        except BrokenImageError:
            continue
    return False
