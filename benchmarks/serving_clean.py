"""The Clean tab on many images: how long they are compared, how long its progress stands still, and its answers.

    python -m benchmarks.serving_clean FOLDER [--images 100000] [--out benchmarks/results/serving_clean.json]

The vectors are drawn around 2,000 centres. Of a hundred images one is a copy of another, byte for byte, and one is near
another; the files of these are copies of a few images of FOLDER, since the tab reads them. The handlers of the tab are
called in this process: what a browser adds is measured with the other tabs, see `serving_page.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pyarrow as pa
from rich.console import Console

from benchmarks.in_one_line import in_one_line
from benchmarks.search_vectors import clusters, unit
from cpchub.catalog.listing import bundled_encoder
from cpchub.collection.items import as_items
from cpchub.collection.tables import FAILURE_SCHEMA
from cpchub.collection.writer import write_state
from cpchub.common.files import write_json
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.index import Index
from cpchub.media.sources import open_source
from cpchub_serving.page.clean.tab import CleanTab
from cpchub_serving.page.context import Context
from cpchub_serving.visit.checks import Checks
from cpchub_serving.visit.cleaning import ALL, DUPLICATES, OUTLIERS, Cleaner, Cleaning
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.label_sets import LabelSets
from cpchub_serving.visit.thumbnails import Thumbnails

REAL, SHARE = 40, 0.01
NEAR = 0.02  # of the length of a vector, how far a near one is moved
CLICKS = 20


def make_index(folder: Path, images: Path, encoder: str, count: int) -> Index:
    """The collection below `folder`.

    Of its first rows, a hundredth each: images, others, copies of the first, images near the others. These have files.
    """
    files = [images / image.path for image in open_source(images).listing().images][:REAL]
    for number, file in enumerate(files):
        _copy(file, folder / "few" / f"{number:02}{file.suffix}")
    loaded = load(encoder)
    few = embed(folder / "few", folder / "collection", loaded, progress=False)
    some = int(SHARE * count)
    vectors = clusters(count, few.dim, 0)
    moved = unit(np.random.default_rng(1).standard_normal((some, few.dim), dtype=np.float32))
    vectors[2 * some : 3 * some] = vectors[:some]
    vectors[3 * some : 4 * some] = unit(vectors[some : 2 * some] + NEAR * moved)
    stats = [
        _copy(files[row % (2 * some) % len(files)], folder / "images" / f"{row:06}.jpg") for row in range(4 * some)
    ]
    contents = np.arange(count)
    contents[2 * some : 3 * some] = contents[:some]
    missing = [1] * (count - len(stats))
    columns = {
        "id": range(count),
        "path": [f"{row:06}.jpg" for row in range(count)],
        "size": [stat.st_size for stat in stats] + missing,
        "mtime_ns": [stat.st_mtime_ns for stat in stats] + missing,
        "sha256": [f"{number:064x}" for number in contents],
        "width": [64] * count,
        "height": [64] * count,
    }
    manifest = few.manifest | {"generation": 2, "count": count, "next_id": count, "search": None}
    manifest |= {"source": str(folder / "images")}
    parts = [(np.arange(count), vectors)]
    items = as_items(pa.table(columns)).append_column("label", pa.nulls(count, pa.string()))
    failures = FAILURE_SCHEMA.empty_table()
    return Index.build(write_state(few.folder, manifest, items, failures, parts), loaded)


def _copy(file: Path, to: Path) -> os.stat_result:
    to.parent.mkdir(exist_ok=True)
    to.write_bytes(file.read_bytes())
    return to.stat()


def comparison(index: Index, cleaner: Cleaner) -> dict[str, float]:
    """Seconds until everything is found; the longest that what is told of it stands still; what is found."""
    told = [time.perf_counter()]
    job = cleaner.checks.job
    before = job.progress
    cleaner.checks.open()
    while job.progress.state in ("waiting", "running"):
        if job.progress != before:
            before = job.progress
            told.append(time.perf_counter())
        time.sleep(0.005)
    told.append(time.perf_counter())
    if cleaner.checks.found is None:
        raise SystemExit(job.progress.error)
    kept = time.perf_counter()
    again = Checks(index)
    again.open()
    again.job.wait()
    return {
        "compared_s": round(told[-1] - told[0], 1),
        "still_s": round(float(max(np.diff(told))), 2),
        "kept_opened_s": round(time.perf_counter() - kept, 2),
        "groups": len(cleaner.checks.found.groups),
        "outliers": len(cleaner.checks.found.outliers),
    }


def answers(tab: CleanTab) -> dict[str, float]:
    """Milliseconds of the tab's answers, with all that they draw; medians."""
    state = Cleaning()

    def mark() -> None:
        tab.cleaner.toggle(state, tab.cleaner.group((state.places or [0])[0])[0].row)

    acts: dict[str, Callable[[], None]] = {
        "duplicates": lambda: tab.cleaner.turn(state, DUPLICATES, ALL),
        "outliers": lambda: tab.cleaner.turn(state, OUTLIERS, ALL),
        "page": lambda: tab.cleaner.turn(state, DUPLICATES, ALL, page=50),
        "mark": mark,
    }
    return {f"{name}_ms": _milliseconds(lambda act=act: (act(), tab.look(state))) for name, act in acts.items()}


def _milliseconds(what: Callable[[], object]) -> float:
    taken = []
    for _ in range(CLICKS):
        begun = time.perf_counter()
        what()
        taken.append(time.perf_counter() - begun)
    return round(1000 * statistics.median(taken), 1)


def report(images: Path, encoder: str, count: int) -> dict[str, Any]:
    """Everything measured of the tab."""
    with tempfile.TemporaryDirectory() as scratch:
        index = make_index(Path(scratch), images, encoder, count)
        context = Context(
            Finder(index, load(encoder)), Thumbnails(index.collection, Path(scratch)), LabelSets(index.collection)
        )
        with gr.Blocks(), gr.Tab("Clean") as drawn:
            begun = time.perf_counter()
            tab = CleanTab(context, drawn)
            built = time.perf_counter() - begun
        begun = time.perf_counter()
        tab.look(Cleaning())
        first = time.perf_counter() - begun
        found: dict[str, Any] = {"images": count, "cpus": os.cpu_count(), "load_1m": round(os.getloadavg()[0], 2)}
        found |= {"built_s": round(built, 2), "first_drawing_ms": round(1000 * first, 1)}
        return found | comparison(index, tab.cleaner) | answers(tab)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default=bundled_encoder(), help="a name or model folder; %(default)s")
    parser.add_argument("--images", type=int, default=100_000, help="of the collection; %(default)s")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "serving_clean.json")
    options = parser.parse_args()
    found = report(options.folder, options.encoder, options.images)
    write_json(options.out, found)
    Console().print(found)


if __name__ == "__main__":
    in_one_line(main)
