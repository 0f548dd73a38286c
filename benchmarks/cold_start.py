"""How long a person waits for the first answer of a command: each in a fresh process, beside `import torch`.

    python -m benchmarks.cold_start [--runs 5] [--vectors 100000] [--out benchmarks/results/cold_start.json]

index: `cpchub index` of 100 photos into a new collection. search: `cpchub search` of one photo against 100,000
vectors. demo: `cpchub demo` of them, until a browser has the page. train: `cpchub train` until the first of its steps
is done. kept: the same with the encoder's converted network in the cache (`cpchub cache`), as after a longer job; else
the cache is empty. The encoder is the one that ships with cpchub; photos and vectors are made.

The cases take turns, so that a busy moment of the machine meets all of them. Medians; seconds of the clock, and of
cores for the process that answers. beyond_torch_s: what is left when a process that only imports torch is taken off.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.in_one_line import in_one_line
from benchmarks.search_vectors import clusters
from cpchub.catalog.listing import bundled_encoder
from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.collection.manifest import MANIFEST
from cpchub.common.files import write_json
from cpchub.encoders.fast.engines import installed_engines
from cpchub.errors import CpchubError
from cpchub.hub.locate import locate
from cpchub.index import Index

PHOTOS, SIDE, BATCH = 100, 500, 16
WAIT = 0.01  # seconds between two looks whether a page or a step is there


@dataclass(frozen=True)
class Waited:
    """Seconds of the clock until the answer, and those that cores worked for the process until then."""

    clock: float
    cores: float


@dataclass(frozen=True)
class Bench:
    """What the commands work on. environment: for each state of the cache, empty or kept."""

    here: Path
    collection: Path
    environment: Mapping[str, dict[str, str]]

    def command(self, words: list[str], cache: str, until: Callable[[], bool] | None = None) -> Waited:
        """Run `cpchub` with these words to its end, or until something is there."""
        return waited([sys.executable, "-m", "cpchub", *words], self.here, self.environment[cache], until)

    def index(self, cache: str) -> Waited:
        return self.command(["index", "photos", "-o", tempfile.mkdtemp(dir=self.here) + "/out"], cache)

    def search(self, cache: str) -> Waited:
        return self.command(["search", str(self.collection), "photos/000.jpg"], cache)

    def demo(self, cache: str) -> Waited:
        port = free_port()
        words = ["demo", str(self.collection), "--port", str(port)]
        return self.command(words, cache, until=partial(answers, port))

    def train(self, cache: str) -> Waited:
        run = Path(tempfile.mkdtemp(dir=self.here)) / "run"
        words = ["train", "simclr_photos", "--images", "few", "-o", str(run), "--batch-size", str(BATCH)]
        words += ["--epochs", "1000", "--knn-every", "0"]  # an epoch is a step, and its line is written at once
        return self.command(words, cache, until=lambda: has_lines(run / "metrics.jsonl"))


def waited(words: list[str], here: Path, environment: dict[str, str], until: Callable[[], bool] | None) -> Waited:
    """What a process takes to its end or, killed then, until something is there."""
    with tempfile.TemporaryFile("w+") as log:
        started = time.perf_counter()
        with subprocess.Popen(words, cwd=here, env=environment, stdout=log, stderr=log) as process:
            while until is not None and process.poll() is None:
                if until():
                    found = Waited(time.perf_counter() - started, worked(process.pid))
                    process.kill()
                    return found
                time.sleep(WAIT)
            if until is None:
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if not status:
                    return Waited(time.perf_counter() - started, used.ru_utime + used.ru_stime)
        log.seek(0)
        raise CpchubError(f"{' '.join(words)} ended with status {process.returncode}: {log.read()}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def worked(pid: int) -> float:
    """Seconds that cores have worked for a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answers(port: int) -> bool:
    """Whether there is a page; it is read to its end."""
    visitor = http.client.HTTPConnection("127.0.0.1", port)
    try:
        visitor.request("GET", "/")
        return bool(visitor.getresponse().read())
    except OSError:
        return False


def has_lines(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def made_photos(folder: Path, count: int) -> None:
    """JPEG files of smooth colours, 500 pixels wide."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        photo = small.resize((SIDE, SIDE * 3 // 4), Image.Resampling.BICUBIC)
        photo.save(folder / f"{number:03}.jpg", quality=90)


def collection_of(folder: Path, count: int, source: Path, *, index: bool = True) -> Path:
    """The folder of a collection of so many vectors, as if the encoder that ships with cpchub had embedded them."""
    spec = locate(bundled_encoder())
    paths = [f"{row // 500:05}/{row:07}.jpg" for row in range(count)]
    made = import_vectors(folder, clusters(count, spec.dim, 0), paths, source=source)
    made.manifest["encoder"] |= {"name": spec.name, "fingerprint": spec.fingerprint}
    write_json(made.folder / MANIFEST, made.manifest)
    if index:
        Index.build(Collection.open(made.folder))
    return made.folder


def prepared(here: Path, vectors: int) -> Bench:
    """Photos, a collection of so many vectors, and the two caches."""
    made_photos(here / "photos", PHOTOS)
    made_photos(here / "few", BATCH)
    folder = collection_of(here / "made", vectors, here / "photos")
    plain = os.environ | {"CPCHUB_NO_ADVICE": "1"}
    bench = Bench(here, folder, {cache: plain | {"CPCHUB_CACHE": str(here / cache)} for cache in ("empty", "kept")})
    if engines := installed_engines():
        _, height, width = locate(bundled_encoder()).input_size
        keep_network(bench, max(engine.worth for engine in engines) // (height * width) + 1)
    return bench


def keep_network(bench: Bench, images: int) -> None:
    """Embed so many small images that the encoder's network is converted, and kept in one of the caches."""
    many = bench.here / "many"
    many.mkdir()
    Image.new("RGB", (32, 32)).save(many / "0.png")
    for number in range(1, images):
        os.link(many / "0.png", many / f"{number}.png")
    bench.command(["embed", "many", "-o", "embedded"], "kept")


def cases(bench: Bench) -> dict[str, Callable[[], Waited]]:
    """The cases by name; those of a kept network only where one was kept."""
    found: dict[str, Callable[[], Waited]] = {
        "import torch": lambda: waited([sys.executable, "-c", "import torch"], bench.here, dict(os.environ), None),
        "index": lambda: bench.index("empty"),
        "search": lambda: bench.search("empty"),
        "demo": lambda: bench.demo("empty"),
        "train": lambda: bench.train("empty"),
    }
    if any((bench.here / "kept" / "networks").glob("[!.]*")):
        found["index, kept"] = lambda: bench.index("kept")
        found["search, kept"] = lambda: bench.search("kept")
        found["demo, kept"] = lambda: bench.demo("kept")
    return found


def table(times: Mapping[str, list[Waited]]) -> dict[str, dict[str, float]]:
    """Medians of each case."""
    rows: dict[str, dict[str, float]] = {}
    torch = statistics.median(each.clock for each in times["import torch"])
    for name, all_of in times.items():
        clock = statistics.median(each.clock for each in all_of)
        rows[name] = {
            "clock_s": round(clock, 2),
            "fastest_s": round(min(each.clock for each in all_of), 2),
            "cores_s": round(statistics.median(each.cores for each in all_of), 2),
            "beyond_torch_s": round(clock - torch, 2),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cold_start.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways = cases(prepared(Path(folder), options.vectors))
        times: dict[str, list[Waited]] = {name: [] for name in ways}
        for run in range(options.runs + 1):
            for name, way in ways.items():
                found = way()
                if run:  # the first fills the disk cache, and writes the byte code
                    times[name].append(found)
    rows = table(times)
    print(f"{'':<16}{'clock':>9}{'cores':>9}{'beyond torch':>15}")
    for name, row in rows.items():
        print(f"{name:<16}{row['clock_s']:>7.2f} s{row['cores_s']:>7.2f} s{row['beyond_torch_s']:>13.2f} s")
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "runs": options.runs,
        "vectors": options.vectors,
        "results": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written: {options.out}")


if __name__ == "__main__":
    in_one_line(main)
