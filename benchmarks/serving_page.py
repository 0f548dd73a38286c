"""The page on 50,000 images: seconds until it answers, the round trip of a search, 200 tiles, the memory of a visitor,
and the time of a click that labels.

`python -m benchmarks.serving FOLDER --only page` calls it. The collection has 50,000 names for the images of FOLDER,
and vectors in 2,000 clusters: what is measured depends on their number, not on what they show.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import serving_label
from benchmarks.search_vectors import clusters
from cpchub.collection.items import as_items
from cpchub.collection.tables import FAILURE_SCHEMA
from cpchub.collection.writer import write_state
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.index import Index
from cpchub.media.sources import open_source

COUNT, REAL, A_FOLDER = 50_000, 40, 500
SEARCHES, VISITORS, STARTS = 100, 40, 5
TILES, CONNECTIONS = 200, 6  # a browser holds six connections to a server
REPOSITORY = Path(__file__).resolve().parents[1]
# What a page takes is imported, then the clock starts; it ends when the first visitor has the whole page.
START = """
import http.client, os, signal, sys, threading, time
import timm
from cpchub.cli.main import main
from cpchub_serving import app
port = int(sys.argv[2])
def visit():
    while True:
        visitor = http.client.HTTPConnection("127.0.0.1", port)
        try:
            visitor.request("GET", "/")
            visitor.getresponse().read()
        except OSError:
            time.sleep(0.01)
        else:
            print("seconds", time.perf_counter() - begun, time.process_time() - computed, flush=True)
            os.kill(os.getpid(), signal.SIGINT)
            return
threading.Thread(target=visit, daemon=True).start()
begun, computed = time.perf_counter(), time.process_time()
main(["demo", sys.argv[1], "--port", str(port)])
"""


def make_collection(folder: Path, images: Path, encoder: str) -> Path:
    """A collection of 50,000 images below `folder`, with an index: the same few images under many names."""
    files = [images / image.path for image in open_source(images).listing().images][:REAL]
    for number, file in enumerate(files):
        place = folder / "images" / "000" / f"{number:05}{file.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    loaded = load(encoder)
    small = embed(folder / "images", folder / "collection", loaded, progress=False, labels="folders")
    first = [folder / "images" / path for path in small.paths]
    paths = [f"{row // A_FOLDER:03}/{row:05}{first[row % len(first)].suffix}" for row in range(COUNT)]
    for row, path in enumerate(paths[len(first) :], len(first)):
        place = folder / "images" / path
        place.parent.mkdir(exist_ok=True)
        os.link(first[row % len(first)], place)
    rows = pa.array([row % len(first) for row in range(COUNT)])
    facts = small.items.take(rows).drop(["id", "path", "label"])
    table = facts.append_column("id", pa.array(range(COUNT))).append_column("path", pa.array(paths))
    items = as_items(table).append_column("label", pa.array([path[:3] for path in paths]))
    ids, vectors = np.arange(COUNT), clusters(COUNT, small.dim, 0)
    manifest = small.manifest | {"generation": 2, "count": COUNT, "next_id": COUNT, "search": None}
    Index.build(write_state(small.folder, manifest, items, FAILURE_SCHEMA.empty_table(), [(ids, vectors)]), loaded)
    return small.folder


def seconds_to_start(collection: Path, port: int) -> dict[str, float]:
    """Seconds from `cpchub demo` with its imports done until the first visitor has the page; medians."""
    walls, computed, whole = [], [], []
    for _ in range(STARTS):
        begun = time.perf_counter()
        command = [sys.executable, "-c", START, str(collection), str(port)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("seconds ")]
        if not found:
            raise SystemExit(done.stdout + done.stderr)
        walls.append(float(found[0][0]))
        computed.append(float(found[0][1]))
        whole.append(time.perf_counter() - begun)
    return {
        "start_s": round(statistics.median(walls), 2),
        "start_cpu_s": round(statistics.median(computed), 2),
        "with_imports_and_end_s": round(statistics.median(whole), 2),
    }


@contextmanager
def page_of(collection: Path, port: int) -> Iterator[int]:
    """The process id of `cpchub demo`."""
    command = [sys.executable, "-m", "cpchub", "demo", str(collection), "--port", str(port)]
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            while not _answers(port):
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(log.read())
                time.sleep(0.1)
            yield process.pid
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/healthz") is not None
    except OSError:
        return False


def ask(port: int, method: str, path: str, body: Any = None) -> Any:
    """The answer, as JSON where it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    sent = None if body is None else json.dumps(body).encode()
    connection.request(method, path, sent, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {text.decode()[:300]}")
    return json.loads(text) if answer.headers.get_content_type() == "application/json" else text.decode()


def searches(port: int) -> dict[str, float]:
    """Milliseconds of a search by an image of the collection: as the page asks, with its tiles, and by the API."""
    ways = {
        "page": lambda row: ask(port, "GET", f"/page/search/results?q=id:{row}"),
        "api": lambda row: ask(port, "POST", "/v1/search", {"id": row, "k": 24}),
    }
    found = {}
    for name, search in ways.items():
        seconds = []
        for number in range(SEARCHES):
            begun = time.perf_counter()
            search(number * 487 % COUNT)
            seconds.append(time.perf_counter() - begun)
        found[f"{name}_p50_ms"] = round(1000 * statistics.median(seconds), 1)
        found[f"{name}_p95_ms"] = round(1000 * sorted(seconds)[int(0.95 * SEARCHES)], 1)
    return found


def thumbnails(port: int) -> dict[str, float]:
    """Seconds until a browser has 200 tiles over six connections: when they have to be made, then the median again."""
    tiles = "".join(ask(port, "GET", f"/page/search/results?count={TILES}")["tiles"])
    addresses = re.findall(r'src="(page/thumb/[^"]+)"', tiles)

    def fetch(some: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for address in some:
            connection.request("GET", f"/{address}")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"{address}: {answer.status}")

    seconds = []
    for _ in range(6):
        begun = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(fetch, [addresses[i::CONNECTIONS] for i in range(CONNECTIONS)]))
        seconds.append(time.perf_counter() - begun)
    return {"thumbnails_first_s": round(seconds[0], 2), "thumbnails_s": round(statistics.median(seconds[1:]), 3)}


def megabytes_of_a_visitor(port: int, process: int) -> float:
    """What a visitor adds to the memory of the server: one who has opened the page and changed each tab's state."""
    with ExitStack() as stack:

        def visit() -> None:
            ask(port, "GET", "/")
            config, session = ask(port, "GET", "/config"), uuid.uuid4().hex
            stream = stack.enter_context(_open(port, f"/gradio_api/heartbeat/{session}"))
            stream.readline()
            states = {each["id"] for each in config["components"] if each["type"] == "state"}
            of_state = {
                tuple(each["inputs"]): each["id"]
                for each in config["dependencies"]
                if each["backend_fn"] and each["inputs"] and states.issuperset(each["inputs"])
            }
            if not of_state:
                raise SystemExit("the page has no event that takes a state alone, so no visitor's state can be made")
            for inputs, number in of_state.items():
                event = {"data": [None] * len(inputs), "fn_index": number, "session_hash": session}
                ask(port, "POST", "/gradio_api/queue/join", event)
                with _open(port, f"/gradio_api/queue/data?session_hash={session}") as answers:
                    answers.read()

        for _ in range(10):
            visit()  # what the first ones add is loaded once
        before = _resident(process)
        for _ in range(VISITORS):
            visit()
        return round((_resident(process) - before) / VISITORS / 2**20, 2)


@contextmanager
def _open(port: int, path: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def _resident(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def report(images: Path, encoder: str, port: int = 7917) -> dict[str, Any]:
    """Everything measured of the page."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        collection = make_collection(Path(scratch), images, encoder)
        found: dict[str, Any] = {"images": COUNT, "cpus": os.cpu_count(), "load_1m": round(os.getloadavg()[0], 2)}
        found |= seconds_to_start(collection, port)
        with page_of(collection, port) as process:
            found |= searches(port) | thumbnails(port) | {"visitor_mb": megabytes_of_a_visitor(port, process)}
            found |= serving_label.clicks(f"http://127.0.0.1:{port}")
    return found
