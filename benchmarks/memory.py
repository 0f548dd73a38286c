"""The most memory that index, search, demo and train take, of a thousand, a hundred thousand and a million items.

    python -m benchmarks.memory [--items 1000 100000 1000000] [--only search demo] [--out memory.json]

index: the search index of a collection is built (`cpchub.Index.build`, the last part of `cpchub index`). search:
`cpchub search` of an item by its id. demo: `cpchub demo`, until it has encoded an uploaded image, and has answered with
the page, a search, a filter, a page of results and paths that are typed. train: `cpchub train` of streamed images,
until its first steps are done. Vectors lie around 2,000 centres; the items have names, and no images. The images of
train are so many names of 32 files.

Counted is the whole process tree, every 20 ms: anonymous memory (RssAnon and RssShmem of /proc/PID/status), which the
system cannot give away, and mapped files (RssFile), whose pages it can drop and read again. The two peaks need not be
at the same time. growth: the anonymous peak, each by that of the next smaller number of items.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.cold_start import collection_of, free_port, made_photos
from benchmarks.in_one_line import in_one_line, known
from cpchub.errors import CpchubError

MB, EVERY, FILES, A_FOLDER = 1e6, 0.02, 32, 1000
PATIENCE = 1800  # seconds
BUILD = """
import sys
from cpchub.collection.collection import Collection
from cpchub.index import Index
Index.build(Collection.open(sys.argv[1]))
"""
ASKED = ("/", "/page/search/results", "/page/search/results?q=id:5", "/page/search/find?text=00005")
ASKED += ("/page/search/results?where=id%20%3E%3D%20500", "/page/search/results?q=id:5&where=id%20%3E%3D%20500")


class Watch(threading.Thread):
    """The most memory of a process and its descendants, in bytes, until it has ended."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.anonymous, self.mapped = pid, 0, 0
        self.start()

    def run(self) -> None:
        while sizes := [size for pid in tree(self.pid) if (size := memory(pid)) is not None]:
            self.anonymous = max(self.anonymous, sum(anonymous for anonymous, _ in sizes))
            self.mapped = max(self.mapped, sum(mapped for _, mapped in sizes))
            time.sleep(EVERY)

    def found(self) -> dict[str, float]:
        """Both peaks, in MB."""
        return {"anonymous_mb": round(self.anonymous / MB, 1), "mapped_mb": round(self.mapped / MB, 1)}


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:  # it has ended
            continue
        for child in found:
            yield from tree(int(child))


def memory(pid: int) -> tuple[int, int] | None:
    """Anonymous memory and mapped files of a process, in bytes; None once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    kilobytes = {name: int(number) for name, number in re.findall(r"^(Rss\w+):\s+(\d+) kB$", status, re.M)}
    if not kilobytes:  # it has ended, and its parent has not looked yet
        return None
    return 1024 * (kilobytes["RssAnon"] + kilobytes["RssShmem"]), 1024 * kilobytes["RssFile"]


@contextmanager
def running(words: list[str], here: Path) -> Iterator[tuple[subprocess.Popen[str], Watch, Path]]:
    """A process, its memory, and the file of what it says; it is ended afterwards."""
    log = here / f"{uuid.uuid4().hex}.log"
    environment = os.environ | {"CPCHUB_CACHE": str(here / "cache"), "CPCHUB_NO_ADVICE": "1"}
    with (
        log.open("w") as said,
        subprocess.Popen(words, cwd=here, env=environment, stdout=said, stderr=said, text=True) as process,
    ):
        try:
            yield process, Watch(process.pid), log
        finally:
            process.kill()


def to_the_end(words: list[str], here: Path) -> dict[str, float]:
    """The peaks of a command that ends by itself."""
    with running(words, here) as (process, watch, log):
        if process.wait(PATIENCE):
            raise CpchubError(f"{' '.join(words)}: {log.read_text()}")
        watch.join()
        return watch.found()


def until(words: list[str], here: Path, ready: Callable[[Path], bool]) -> dict[str, float]:
    """The peaks of a command until it is ready, as its log or a visitor tells."""
    with running(words, here) as (process, watch, log):
        end = time.monotonic() + PATIENCE
        while not ready(log):
            if process.poll() is not None or time.monotonic() > end:
                raise CpchubError(f"{' '.join(words)}: {log.read_text()}")
            time.sleep(0.1)
        return watch.found()


def visited(port: int, photo: bytes, _: Path) -> bool:
    """Whether the page is there; then it has encoded an image, and answered everything that a visitor may ask."""
    try:
        ask(port, "GET", "/")
    except OSError:
        return False
    border = uuid.uuid4().hex
    head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    form = head.encode() + photo + f"\r\n--{border}--\r\n".encode()
    ask(port, "POST", "/v1/embeddings", form, {"Content-Type": f"multipart/form-data; boundary={border}"})
    for address in ASKED:
        ask(port, "GET", address)
    return True


def ask(port: int, method: str, address: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> None:
    """One request; raises CpchubError for an answer that is none."""
    visitor = http.client.HTTPConnection("127.0.0.1", port)
    visitor.request(method, address, body, headers or {})
    answer = visitor.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise CpchubError(f"{address}: status {answer.status}: {said[:500].decode(errors='replace')}")


def index(here: Path, items: int) -> dict[str, float]:
    folder = collection_of(here / "made", items, here / "photos", index=False)
    return to_the_end([sys.executable, "-c", BUILD, str(folder)], here)


def search(here: Path, items: int) -> dict[str, float]:
    folder = collection_of(here / "made", items, here / "photos")
    return to_the_end([sys.executable, "-m", "cpchub", "search", str(folder), "id:5"], here)


def demo(here: Path, items: int) -> dict[str, float]:
    folder, port = collection_of(here / "made", items, here / "photos"), free_port()
    photo = (here / "photos" / "000.jpg").read_bytes()
    words = [sys.executable, "-m", "cpchub", "demo", str(folder), "--port", str(port)]
    return until(words, here, partial(visited, port, photo))


def train(here: Path, items: int) -> dict[str, float]:
    files = sorted((here / "photos").iterdir())
    for number in range(items):
        name = here / "names" / f"{number // A_FOLDER:04}" / f"{number:07}.jpg"
        name.parent.mkdir(parents=True, exist_ok=True)
        os.link(files[number % len(files)], name)
    words = [sys.executable, "-m", "cpchub", "train", "simclr_photos", "--images", "names", "-o", "run"]
    words += ["--stream", "always", "--batch-size", "16", "--epochs", "1000", "--backbone", "resnet18"]
    words += ["--knn-every", "0"]
    return until(words, here, lambda log: " steps, epoch" in log.read_text())


CASES: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "index": index,
    "search": search,
    "demo": demo,
    "train": train,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--items", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--only", nargs="*", default=[], help=f"of {', '.join(CASES)}")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "memory.json")
    options = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    for name in known(options.only, CASES):
        found: dict[int, dict[str, float]] = {}
        for items in options.items:
            with tempfile.TemporaryDirectory() as folder:
                made_photos(Path(folder) / "photos", FILES)
                found[items] = CASES[name](Path(folder), items)
            print(f"{name:<8}{items:>10,} items{found[items]['anonymous_mb']:>9.0f} MB anonymous"
                  f"{found[items]['mapped_mb']:>9.0f} MB mapped", flush=True)  # fmt: skip
        growth = [round(found[b]["anonymous_mb"] / found[a]["anonymous_mb"], 3) for a, b in pairwise(options.items)]
        results[name] = {"items": {str(items): each for items, each in found.items()}, "growth": growth}
    report = {"cpus": os.cpu_count(), "results": results}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"written: {options.out}")


if __name__ == "__main__":
    in_one_line(main)
