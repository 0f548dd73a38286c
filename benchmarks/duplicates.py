"""Which copies of photos `cpchub duplicates` finds, and what else it lists, as a table and as JSON.

    python -m benchmarks.duplicates --photos FOLDER [--encoder NAME] [--count 600] [--each 40] [--out FILE]

Of the first photos some get a copy: resized, compressed, cropped by 2 % at each side, grey, brighter, turned by 2 or
90 degrees, mirrored. The rest has none. Recall is the share of copies that are listed with their original; precision is
the share of what is listed as superfluous that is a copy of the kept one. `untrained` is timm's ResNet-18 with random
weights. Each is measured with and without the comparison of whole images.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

import cpchub
from benchmarks.in_one_line import in_one_line
from cpchub.catalog.listing import bundled_encoder
from cpchub.index.duplicates import find_duplicates
from cpchub.media.decode import read_image
from cpchub.media.sources import find_images

UNTRAINED = "untrained"


def cropped(photo: Image.Image) -> Image.Image:
    left, top = round(photo.width * 0.02), round(photo.height * 0.02)
    return photo.crop((left, top, photo.width - left, photo.height - top))


COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], int]] = {
    "half size": (lambda photo: photo.reduce(2), 90),
    "quarter size": (lambda photo: photo.reduce(4), 90),
    "quality 30": (lambda photo: photo, 30),
    "cropped by 2 %": (cropped, 90),
    "grey": (ImageOps.grayscale, 90),
    "15 % brighter": (lambda photo: photo.point(lambda value: min(255, round(value * 1.15))), 90),
    "turned by 2 degrees": (lambda photo: photo.rotate(2, Image.Resampling.BICUBIC), 90),
    "turned by 90 degrees": (lambda photo: photo.transpose(Image.Transpose.ROTATE_90), 90),
    "mirrored": (ImageOps.mirror, 90),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--encoder", default=bundled_encoder())
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "duplicates.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        copies = write_photos(options.photos, Path(scratch, "photos"), options.count, options.each)
        rows = {}
        for name in (options.encoder, UNTRAINED):
            index = embedded(name, Path(scratch))
            for confirm in (True, False):
                rows[f"{name}, {'confirmed' if confirm else 'by the encoder alone'}"] = measured(index, copies, confirm)
    for name, row in rows.items():
        print(f"\n{name}: threshold {row['threshold']:.5f}, precision {row['precision']:.3f}")
        for kind, recall in row["recall"].items():
            print(f"  {kind:<22}{recall:>6.2f}")
    result = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "photos": options.count,
        "copies_of_each_kind": options.each,
        "results": rows,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def write_photos(source: Path, folder: Path, count: int, each: int) -> dict[str, tuple[str, str]]:
    """Photos and copies below `folder`; the name of each copy -> the name of its original, and the kind."""
    found = find_images(source)
    chosen = random.Random(0).sample(found, min(count, len(found)))
    folder.mkdir()
    copies: dict[str, tuple[str, str]] = {}
    kinds = [kind for kind in COPIES for _ in range(each)]
    for number, image in enumerate(chosen):
        photo, name = read_image(source / image.path), f"{number:05d}.jpg"
        photo.save(folder / name, quality=95)
        if number < len(kinds):
            change, quality = COPIES[kinds[number]]
            copy = f"{number:05d}-copy.jpg"
            change(photo).save(folder / copy, quality=quality)
            copies[copy] = (name, kinds[number])
    return copies


def embedded(name: str, scratch: Path) -> cpchub.Index:
    torch.manual_seed(0)
    encoder = cpchub.load("timm/resnet18", pretrained=False) if name == UNTRAINED else cpchub.load(name)
    return cpchub.Index.build(cpchub.embed_folder(scratch / "photos", scratch / Path(name).name, encoder))


def measured(index: cpchub.Index, copies: dict[str, tuple[str, str]], confirm: bool) -> dict[str, Any]:
    found = find_duplicates(index, confirm=confirm, progress=False)
    kept, right, listed = "", Counter[str](), 0
    for row in found.table.to_pylist():
        if row["keep"]:
            kept = row["path"]
            continue
        listed += 1
        for copy, original in ((row["path"], kept), (kept, row["path"])):
            if copies.get(copy, ("", ""))[0] == original:
                right[copies[copy][1]] += 1
    of_each = Counter(kind for _, kind in copies.values())
    return {
        "threshold": round(found.threshold, 6),
        "precision": round(right.total() / max(1, listed), 4),
        "recall": {kind: round(right[kind] / count, 4) for kind, count in of_each.items()},
    }


if __name__ == "__main__":
    in_one_line(main)
