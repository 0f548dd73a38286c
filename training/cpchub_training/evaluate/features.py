"""Cache of features: computed once per encoder and data set, memory-mapped by every protocol.

    <cache>/<fingerprint>-<digest>-<kind>/   features.npy   about.json   shard-00003.npy (while it is being made)

The fingerprint covers weights, network and transform, and is followed by the versions of torch and timm. The digest
covers images and labels. Any change changes the name, so cached features always fit their images. The work is split
into shards, and a shard on disk is always complete: a stopped job resumes after its last shard, with the same result.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cpchub.common.files import only_writer, replacing, write_json, writing
from cpchub.common.progress import Report
from cpchub.common.quiet import remark
from cpchub.encoders.encoder import Encoder
from cpchub.errors import ModelFolderError, OutputError
from cpchub_training.evaluate.datasets import DataSet, Part
from cpchub_training.evaluate.readable import default_cache

Kind: TypeAlias = Literal["pooled", "map", "moments"]
Array: TypeAlias = npt.NDArray[Any]

SHARD = 2000  # images a shard: what a kill can cost
BATCH = 500
FEATURES, ABOUT = "features.npy", "about.json"


class FeatureCache:
    """The features of one encoder. `kind` says which:

    "pooled": the vectors of `Encoder.encode`, float32 `[N, D]`
    "map": the last feature maps, float16 `[N, D, h, w]`
    "moments": mean and mean square over the positions of the maps, float32 `[N, 2, D]`
    """

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        encoder.spec.check_takes_images("an evaluation")
        self.encoder = encoder
        self.folder = folder or default_cache()

    def of(self, data: DataSet, part: Literal["train", "test"], kind: Kind = "pooled") -> Array:
        """The features of a part, memory-mapped, in the order of its images; computed now if they are not kept yet.

        Features of other images under the same name are removed, and a message says so. Raises BrokenImageError,
        naming the file, for an unreadable image.
        """
        images: Part = getattr(data, part)
        home = self.folder / f"{self._name()}-{images.digest}-{kind}"
        if not (home / FEATURES).exists():
            with writing(home):
                home.mkdir(parents=True, exist_ok=True)
            with only_writer(home):
                if not (home / FEATURES).exists():  # another process may have made them since
                    self._make(home, data.name, part, images, kind)
        return np.load(home / FEATURES, mmap_mode="r")

    def _make(self, home: Path, name: str, part: str, images: Part, kind: Kind) -> None:
        self._drop_outdated(name, part, kind, images.digest)
        about: dict[str, Any] = {"encoder": self.encoder.spec.name, "data": name, "part": part, "kind": kind}
        about |= {"fingerprint": self._name(), "digest": images.digest, "pictures": len(images)}
        about |= {"transform": self.encoder.spec.transform}
        write_json(home / ABOUT, about)
        self._compute(home, images, kind, f"{name}, {part}")

    def _name(self) -> str:
        dtype = str(self.encoder.dtype).removeprefix("torch.")
        made_with = f"torch{version('torch')}-timm{version('timm')}"
        return f"{self.encoder.spec.fingerprint}-{made_with}" + ("" if dtype == "float32" else f"-{dtype}")

    def _drop_outdated(self, name: str, part: str, kind: Kind, digest: str) -> None:
        for about in self.folder.glob(f"{self._name()}-*-{kind}/{ABOUT}"):
            try:
                with only_writer(about.parent):
                    kept = json.loads(about.read_text(encoding="utf-8"))
                    if (kept["data"], kept["part"]) == (name, part) and kept["digest"] != digest:
                        remark(f"{name}, {part}: the images or labels have changed, so they are embedded anew")
                        shutil.rmtree(about.parent)
            except (OutputError, FileNotFoundError):  # another process makes them now, or has removed them
                continue

    def _compute(self, home: Path, images: Part, kind: Kind, what: str) -> None:
        """Shard after shard, then all of them as one file."""
        starts = range(0, len(images), SHARD)
        shards = [home / f"shard-{start // SHARD:05d}.npy" for start in starts]
        todo = [(start, shard) for start, shard in zip(starts, shards, strict=True) if not shard.exists()]
        left = sum(min(SHARD, len(images) - start) for start, _ in todo)
        with Report(f"Embedding {what}", len(images), done=len(images) - left) as report:
            for start, shard in todo:
                chunk = KINDS[kind](self.encoder, images.images[start : start + SHARD])
                if not np.isfinite(chunk).all():
                    raise ModelFolderError(f"{self.encoder.spec.name} gives features that are not finite on {what}")
                with replacing(shard) as partial, partial.open("wb") as file:
                    np.save(file, chunk)
                report.advance(len(chunk))
        first = np.load(shards[0], mmap_mode="r")
        with replacing(home / FEATURES) as partial:
            whole = np.lib.format.open_memmap(
                partial, mode="w+", dtype=first.dtype, shape=(len(images), *first.shape[1:])
            )
            for start, shard in zip(starts, shards, strict=True):
                whole[start : start + SHARD] = np.load(shard, mmap_mode="r")
            whole.flush()
        for shard in shards:
            shard.unlink()


def _pooled(encoder: Encoder, images: Any) -> Array:
    return encoder.encode(images, batch_size=BATCH)


def _map(encoder: Encoder, images: Any) -> Array:
    parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    return np.concatenate([encoder.encode(p, batch_size=BATCH, output="map").astype(np.float16) for p in parts])


def _moments(encoder: Encoder, images: Any) -> Array:
    rows = []
    for i in range(0, len(images), BATCH):
        maps = encoder.encode(images[i : i + BATCH], batch_size=BATCH, output="map")
        rows.append(np.stack([maps.mean(axis=(2, 3)), np.square(maps).mean(axis=(2, 3))], axis=1))
    return np.concatenate(rows)


KINDS: dict[Kind, Callable[[Encoder, Any], Array]] = {"pooled": _pooled, "map": _map, "moments": _moments}
