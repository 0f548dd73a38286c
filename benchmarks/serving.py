"""The HTTP API under load: images a second of one client and of sixteen at once, and the time of one request.

    python -m benchmarks.serving FOLDER [--only page] [--out benchmarks/results/serving.json]

`FOLDER` has images, of which 300 are taken. `cpchub serve` runs as a process of its own on this machine. Each client
sends one image a request and waits for the answer. The two numbers of clients take turns; medians are reported. The
page on 50,000 images is measured after the API, or alone, see `serving_page.py`.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import serving_page
from benchmarks.in_one_line import in_one_line
from cpchub.catalog.listing import bundled_encoder
from cpchub.common.files import write_json
from cpchub.media.sources import open_source

IMAGES, TURNS, CLIENTS = 300, 3, (1, 16)


@contextmanager
def served(encoder: str) -> Iterator[str]:
    """Host and port of `cpchub serve`."""
    command = [sys.executable, "-m", "cpchub", "serve", "--encoder", encoder, "--port", "0"]
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            while True:
                log.seek(0)
                if found := re.search(r"http://(\S+)/docs", log.read()):
                    break
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(log.read())
                time.sleep(0.1)
            yield found[1]
        finally:
            process.terminate()


def ask(place: str, bodies: Sequence[bytes]) -> list[float]:
    """Seconds of each request of one client."""
    connection, seconds = http.client.HTTPConnection(place), []
    for body in bodies:
        started = time.perf_counter()
        connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(answer.read().decode())
        answer.read()
        seconds.append(time.perf_counter() - started)
    return seconds


def turn(place: str, bodies: Sequence[bytes], clients: int) -> dict[str, float]:
    """Images a second of so many clients, and the median and the 95th percentile of a request in milliseconds."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(ask, [place] * clients, [bodies[i::clients] for i in range(clients)]))
    rate = len(bodies) / (time.perf_counter() - started)
    seconds = sorted(second for part in parts for second in part)
    slow = seconds[int(0.95 * len(seconds))]
    return {"rate": rate, "p50_ms": 1000 * statistics.median(seconds), "p95_ms": 1000 * slow}


def report(folder: Path, encoder: str) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    files = [folder / image.path for image in open_source(folder).listing().images][:IMAGES]
    texts = [base64.b64encode(file.read_bytes()).decode() for file in files]
    bodies = [json.dumps({"input": text, "encoding_format": "base64"}).encode() for text in texts]
    turns: dict[int, list[dict[str, float]]] = {clients: [] for clients in CLIENTS}
    with served(encoder) as place:
        ask(place, bodies[:20])  # the first batches are slower
        for _ in range(TURNS):
            for clients in CLIENTS:
                turns[clients].append(turn(place, bodies, clients))
    rows = [
        {"clients": clients} | {name: round(statistics.median(each[name] for each in of), 1) for name in of[0]}
        for clients, of in turns.items()
    ]
    gain = round(rows[-1]["rate"] / rows[0]["rate"], 2)
    return {
        "encoder": encoder,
        "images": len(bodies),
        "turns": TURNS,
        "gain": gain,
        "cpus": os.cpu_count(),
        "results": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default=bundled_encoder(), help="a name or model folder; %(default)s")
    parser.add_argument("--only", choices=("api", "page"), help="measure one of the two; the other's figures stay")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "serving.json")
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.is_file() else {}
    if options.only != "page":
        found |= report(options.folder, options.encoder)
    if options.only != "api":
        found["page"] = serving_page.report(options.folder, options.encoder)
    write_json(options.out, found)
    Console().print(found)


if __name__ == "__main__":
    in_one_line(main)
