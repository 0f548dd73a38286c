"""What embedding costs: the photos that are embedded, a run of ours, and its seconds of the clock and of cores."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from cpchub.collection.collection import Collection
from cpchub.embedding.job import embed
from cpchub.media.sources import find_images

BATCH = 64


def photos_of_500_pixels(source: Path, target: Path, count: int) -> Path:
    """`count` JPEG files in `target` whose long side is 500 pixels, made of the photos below `source`."""
    target.mkdir(parents=True)
    found = find_images(source)
    for number in range(count):
        with Image.open(source / found[number % len(found)].path) as photo:
            scale = 500 / max(photo.size)
            size = (round(photo.width * scale), round(photo.height * scale))
            photo.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(target / f"{number:05d}.jpg", quality=90)
    return target


def some(photos: Path, count: int, target: Path) -> Path:
    """A folder with links to the first `count` photos."""
    target.mkdir()
    for path in sorted(photos.iterdir())[:count]:
        os.link(path, target / path.name)
    return target


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock, and seconds that cores worked for this process and its children."""

    clock: float
    cores: float

    @classmethod
    def of(cls, call: Callable[[], object]) -> Cost:
        before, started = _worked(), time.perf_counter()
        call()
        return cls(time.perf_counter() - started, _worked() - before)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.clock - other.clock, self.cores - other.cores)


def _worked() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def ours(encoder: Any, folder: Path, scratch: Path, **options: Any) -> Collection:
    """All photos of a folder to a new collection."""
    out = Path(tempfile.mkdtemp(dir=scratch)) / "out"
    return embed(folder, out, encoder, batch_size=BATCH, progress=False, **options)
