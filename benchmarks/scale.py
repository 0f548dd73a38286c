"""What a collection costs as it grows: building, searching, memory, disk and embedding, measured from 1e3 to 1e7.

    python -m benchmarks.scale measure COLLECTION [--images FOLDER] [--sizes 1e4 1e6] [--dim 128]
    python -m benchmarks.scale measured
    python -m benchmarks.scale table [--images-a-second 500] [--machines 1] [--vector-bytes 4] [--megabytes-an-image 3]

`measure` draws vectors around those of COLLECTION (`benchmarks/search_vectors.py: like`), builds the default index of
each size, and searches it with fresh queries in a process of its own. With --images it also embeds some of FOLDER, from
the command. Each size is written as soon as it is measured; a second call measures what is missing.

`measured` prints what was measured as a table. `table` prints what 1e6 to 1e9 images take, from the measured file and
your own numbers. What was not measured is taken to be a power of the number of images. The error of that is seen at the
largest measured size, which is predicted from the smaller ones (`benchmarks/scale_fit.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.in_one_line import in_one_line
from benchmarks.scale_fit import Costs, markdown, measured
from benchmarks.scale_plot import draw
from benchmarks.search import QUERIES, REPOSITORY, recall, searching, timed
from benchmarks.search_vectors import Vectors, like, unit
from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.common.files import write_json
from cpchub.index import Index
from cpchub.media.sources import find_images

RESULTS = Path(__file__).parent / "results" / "scale.json"
PLOT = REPOSITORY / "docs" / "guides" / "scale.png"
SIZES = (1_000, 10_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
DRAWN = 1_000_000  # vectors at a time
EMBEDDED = (1_000, 10_000)  # images
OF_QUERIES = 10_000  # their seed; those of the vectors count from 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--results", type=Path, default=RESULTS)
    jobs = parser.add_subparsers(dest="job", required=True)
    job = jobs.add_parser("measure")
    job.add_argument("collection", type=Path, help="its vectors are the real ones that others are drawn around")
    job.add_argument("--images", type=Path, help="a folder of images to embed")
    job.add_argument("--sizes", type=lambda word: int(float(word)), nargs="+", default=SIZES)
    job.add_argument("--dim", type=int, default=128)
    job.add_argument("--plot", type=Path, default=PLOT)
    job.add_argument("--one", type=int, help=argparse.SUPPRESS)  # the process that measures one size
    jobs.add_parser("measured")
    job = jobs.add_parser("table")
    job.add_argument("--images-a-second", type=float, help="that one of your machines embeds; as measured by default")
    job.add_argument("--machines", type=int, default=1)
    job.add_argument("--dim", type=int, default=128)
    job.add_argument("--vector-bytes", type=int, choices=(2, 4), default=4, help="float16 or float32")
    job.add_argument("--megabytes-an-image", type=float, default=0.1)
    options = parser.parse_args()
    if options.job == "table":
        print(markdown(json.loads(options.results.read_text()), options))
    elif options.job == "measured":
        print(measured(json.loads(options.results.read_text())))
    elif options.one:
        print(json.dumps(one_size(options.collection, options.one, options.dim)))
    else:
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Every size that the file of results lacks, smallest first; then the plot."""
    real = Collection.open(options.collection)
    done: dict[str, Any] = json.loads(options.results.read_text()) if options.results.is_file() else {}
    done["items_bytes_an_image"] = round(_size(options.collection / "items.parquet") / len(real), 1)
    searched, embedded = done.setdefault("search", {}), done.setdefault("embed", {})
    for count in sorted(options.sizes):
        if str(count) in searched:
            continue
        command = [sys.executable, "-m", "benchmarks.scale", "measure", str(options.collection.resolve())]
        command += ["--one", str(count), "--dim", str(options.dim)]
        said = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
        searched[str(count)] = json.loads(said.splitlines()[-1])
        print(count, searched[str(count)], flush=True)
        write(options.results, done)
    for count in EMBEDDED if options.images else ():
        if str(count) not in embedded:
            embedded[str(count)] = embedding(options.images, count)
            print(count, embedded[str(count)], flush=True)
            write(options.results, done)
    draw(Costs(done), options.plot)


def write(path: Path, done: dict[str, Any]) -> None:
    """What is measured so far, with what it was measured on."""
    import faiss

    machine = {"python": platform.python_version(), "faiss": faiss.__version__, "cpus": os.cpu_count()}
    write_json(path, {**machine, **done})


def one_size(real: Path, count: int, dim: int) -> dict[str, Any]:
    """Draw `count` vectors, build their index, and search it."""
    around = unit(Collection.open(real).vectors())
    with tempfile.TemporaryDirectory() as temporary:
        vectors = drawn(around, count, dim, Path(temporary) / "drawn.npy")
        queries = like(around, QUERIES, dim=dim, seed=OF_QUERIES)
        folder = Path(temporary) / "collection"
        collection = import_vectors(folder, vectors, [f"{number:010d}.jpg" for number in range(count)])
        index, seconds, cores = timed(Index.build, collection)
        return {
            "dim": dim,
            "kind": index.setting.kind,
            "build_s": round(seconds, 2),
            "build_cpu_s": round(cores, 2),
            "recall": round(recall(index, vectors, np.arange(count), queries), 4),
            "depth": index.setting.depth,
            "effort": index.setting.effort,
            "bytes_a_vector": {
                "index": round(_size(folder / "index.faiss") / count, 1),
                "search": round(_size(folder / "search") / count, 1),
                "vectors": round(_size(folder / "vectors") / count, 1),
            },
            **searching(folder, queries),
        }


def drawn(around: Vectors, count: int, dim: int, file: Path) -> Vectors:
    """`count` vectors `[N, dim]` in a mapped file: block after block, so that memory does not grow with N."""
    vectors = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(count, dim))
    for number, start in enumerate(range(0, count, DRAWN)):
        vectors[start : start + DRAWN] = like(around, min(DRAWN, count - start), dim=dim, seed=number)
    return vectors


def embedding(images: Path, count: int) -> dict[str, Any]:
    """Seconds of `cpchub embed` for the first `count` images, with the start of the process."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "images"
        folder.mkdir()
        for number, found in enumerate(find_images(images)[:count]):
            shutil.copyfile(images / found.path, folder / f"{number:07d}{Path(found.path).suffix}")
        command = [sys.executable, "-m", "cpchub", "embed", str(folder), "-o", str(Path(temporary) / "out"), "-q"]
        started = time.perf_counter()
        subprocess.run(command, cwd=REPOSITORY, check=True)
        seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 2), "images_a_second": round(count / seconds, 1)}


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    in_one_line(main)
