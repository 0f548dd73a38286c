"""Damaged files of every format that is read: does a job end, hang, crash, or give an image another one's vector?

    python -m benchmarks.fuzz [--files 2000] [--formats jpeg,png] [--seed 0] [--out benchmarks/results/fuzz.json]

Each format has a process of its own, so that a crash is seen and named. It decodes every file as embedding, as squares
for training and as views of training, and then embeds the folder. A file may be read or refused with a reason.
Every tenth file is whole, and has to be embedded. Every vector is compared with that of its file alone. A file that has
other pixels each time that it is decoded counts as unsteady: some decoders leave pixels as they were in memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, features

from benchmarks.fuzz_files import FORMATS, WHOLE, write_files
from benchmarks.in_one_line import in_one_line, known
from cpchub.catalog.spec import WEIGHTS, FileRecord, ModelSpec
from cpchub.embedding.job import embed
from cpchub.errors import BrokenImageError
from cpchub.media.decode import decode_bytes
from cpchub_training.data.listing import square
from cpchub_training.views.per_image import image_view
from cpchub_training.views.settings import Views

SIDE = 8  # of the images that the encoder takes
HANGS_AFTER, JOB_HANGS_AFTER = 120, 3600  # seconds, of one file and of a whole job: also on a busy machine
JOB = "the job as a whole"
STEADY = 8  # times that a file is decoded whose vector is not the one of the job


class Thumbnail:
    """An encoder whose vectors are the pixels of the reduced image."""

    spec = ModelSpec(
        name="thumbnail",
        architecture="pixels",
        dim=3 * SIDE * SIDE,
        input_size=(3, SIDE, SIDE),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        files={WEIGHTS: FileRecord("ab" * 32)},
    )

    def encode(self, images: Any, *, batch_size: int = 64, normalize: bool = False) -> Any:
        small = [np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) for image in images]
        vectors = np.stack(small).reshape(len(small), -1) / 255 + 0.01
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def check_each(paths: list[Path], note: Callable[[Path], object] = lambda path: None) -> float:
    """Read every file in each of the ways that there are; returns the longest time that one took, in seconds.

    note: called with each file before it is read. Raises what is no BrokenImageError.
    """
    views = Views(size=SIDE, jitter_p=0, grey_p=0)
    ways: list[Callable[[bytes], object]] = [
        lambda data: decode_bytes(data, size=SIDE),
        lambda data: square(data, SIDE),
        lambda data: image_view(data, views, torch.Generator().manual_seed(0)),
    ]
    longest = 0.0
    for path in paths:
        note(path)
        started = time.monotonic()
        for read in ways:
            try:
                read(path.read_bytes())
            except BrokenImageError as error:
                if not str(error):
                    raise RuntimeError(f"{path} is refused without a reason") from error
        longest = max(longest, time.monotonic() - started)
    return longest


def check_job(paths: list[Path], folder: Path, out: Path) -> dict[str, int]:
    """Embed a folder and compare every vector with that of its file alone. Raises RuntimeError for what is wrong."""
    collection = embed(folder, out, Thumbnail(), progress=False, batch_size=16, workers=2)
    failures = {row["path"]: row["reason"] for row in collection.failures.to_pylist()}
    embedded = set(collection.paths)
    if embedded | failures.keys() != {path.name for path in paths} or embedded & failures.keys():
        raise RuntimeError("files are missing, or both embedded and refused")
    if not all(failures.values()):
        raise RuntimeError("a file is refused without a reason")
    if lost := {path.name for path in paths[::WHOLE]} - embedded:
        raise RuntimeError(f"{len(lost)} whole files are refused, first {min(lost)}: {failures[min(lost)]}")
    vectors, unsteady = collection.vectors(), 0
    for row, name in enumerate(collection.paths):
        if np.allclose(vectors[row], _vector_of(folder / name), atol=1e-5):
            continue
        alone = [_vector_of(folder / name) for _ in range(STEADY)]
        if all(np.array_equal(alone[0], again) for again in alone):
            raise RuntimeError(f"{name} has the vector of another image")
        unsteady += 1
    return {"files": len(paths), "embedded": len(embedded), "refused": len(failures), "unsteady": unsteady}


def _vector_of(path: Path) -> Any:
    """The vector of a file alone, decoded to where other images have been in memory."""
    other = [np.full(size, 85, np.uint8) for size in range(256, 4096, 64)]
    del other
    return Thumbnail().encode([decode_bytes(path.read_bytes(), size=SIDE).image])[0]


def run_format(format: str, count: int, seed: int, home: Path) -> dict[str, Any]:
    """One format in a process of its own: counts, or the fault and the file that was read when it came."""
    started = time.monotonic()
    process = multiprocessing.get_context("fork").Process(target=_child, args=(format, count, seed, home))
    process.start()
    current, moved, seen = home / "current", time.monotonic(), -1.0
    while process.is_alive():
        process.join(0.2)
        if current.exists() and (changed := current.stat().st_mtime) != seen:
            seen, moved = changed, time.monotonic()
        whole = current.exists() and current.read_text(encoding="utf-8") == JOB
        if time.monotonic() - moved > (JOB_HANGS_AFTER if whole else HANGS_AFTER):
            process.kill()
            process.join()
            return _fault("it hangs", home)
    if process.exitcode:
        return _fault(f"it ends with {process.exitcode}", home)
    counts: dict[str, Any] = json.loads((home / "counts.json").read_text(encoding="utf-8"))
    return counts | {"seconds": round(time.monotonic() - started, 1)}


def _child(format: str, count: int, seed: int, home: Path) -> None:
    """The process of a format."""
    said = os.open(home / "said", os.O_CREAT | os.O_WRONLY)
    os.dup2(said, 1)
    os.dup2(said, 2)  # the warnings of libraries about damaged tags
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    current = home / "current"
    paths = write_files(format, count, seed, home / "pictures")
    longest = check_each(paths, lambda path: current.write_text(str(path), encoding="utf-8"))
    current.write_text(JOB, encoding="utf-8")
    counts: dict[str, Any] = dict(check_job(paths, home / "pictures", home / "out"))
    counts["longest_s"] = round(longest, 3)
    counts["most_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    (home / "counts.json").write_text(json.dumps(counts), encoding="utf-8")


def _fault(what: str, home: Path) -> dict[str, Any]:
    """The fault, and a copy of the file that was being read."""
    kept = Path(tempfile.mkdtemp(prefix="fuzz-fault-"))
    current = home / "current"
    path = Path(current.read_text(encoding="utf-8")) if current.exists() else home
    if path.is_file():
        shutil.copy(path, kept / path.name)
    else:
        shutil.copytree(home, kept / "job")
    said = (home / "said").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return {"fault": what, "kept": str(kept), "said": said[-1:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=2000, help="of each format")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fuzz.json")
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    print(f"{'':<16}{'files':>7}{'embedded':>10}{'refused':>9}{'unsteady':>10}{'longest':>10}{'memory':>10}")
    for format in known(options.formats.split(","), FORMATS):
        with tempfile.TemporaryDirectory() as home:
            row = rows[format] = run_format(format, options.files, options.seed, Path(home))
        if "fault" in row:
            print(f"{format:<16}FAULT: {row['fault']}, kept in {row['kept']}: {row['said']}", flush=True)
        else:
            numbers = f"{row['files']:>7,}{row['embedded']:>10,}{row['refused']:>9,}{row['unsteady']:>10,}"
            print(f"{format:<16}{numbers}{row['longest_s']:>8.2f} s{row['most_memory_mb']:>7,} MB", flush=True)
    result = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "pillow": PIL.__version__,
        "libavif": features.version("avif"),
        "seed": options.seed,
        "results": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written: {options.out}")
    if any("fault" in row for row in rows.values()):
        sys.exit(1)


if __name__ == "__main__":
    in_one_line(main)
