"""How long a person waits for help, for a list, and for what is wrong: each in a fresh interpreter, medians.

    python -m benchmarks.startup [--runs 15] [--out benchmarks/results/startup.json]

Prints a table and writes it as JSON. An interpreter that does nothing is timed beside them. `import cpchub` counts from
when that one is ready, which is what a program that imports cpchub pays; a command counts as a whole, which is what a
person waits for. Offline, the Hub and the authors of an encoder are at an address where nobody listens. Names of timm
need torch, no other case does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.in_one_line import in_one_line
from cpchub.collection.import_vectors import import_vectors
from cpchub.index import Index

NOBODY = "http://127.0.0.1:9"
IMPORT = "import cpchub"
PATHS_S, OFFLINE_S = 1.0, 5.0
# words of the command line, and the most seconds that they may take
COMMANDS: Mapping[str, tuple[Sequence[str], float]] = {
    "cpchub --help": (["--help"], 0.3),
    "train --list": (["train", "--list"], 0.5),
    "train RECIPE --help": (["train", "simclr_digits", "--help"], PATHS_S),
    "index, no folder": (["index", "nowhere", "-o", "out"], PATHS_S),
    "index, no encoder": (["index", "photos", "-o", "out", "--encoder", "./nowhere"], PATHS_S),
    "search, no collection": (["search", "nowhere", "photos/a.png"], PATHS_S),
    "search, no file": (["search", "made", "nowhere.png"], PATHS_S),
    "train, no recipe": (["train", "simclr_digit"], PATHS_S),
    "train, no folder": (["train", "simclr_photos", "--images", "nowhere"], PATHS_S),
    "demo, no collection": (["demo", "nowhere"], PATHS_S),
    "eval, no run": (["eval", "./nowhere", "--images", "digits"], PATHS_S),
    "index, offline": (["index", "photos", "-o", "out", "--encoder", "org/none"], OFFLINE_S),
    "index, offline, public": (["index", "photos", "-o", "out", "--encoder", "dino-resnet50"], OFFLINE_S),
    "index, offline, timm": (["index", "photos", "-o", "out", "--encoder", "timm/resnet18.a1_in1k"], OFFLINE_S),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "startup.json")
    options = parser.parse_args()

    rows = table(measure(options.runs))
    print(f"{'':<24}{'median':>10}{'fastest':>10}{'limit':>10}")
    for name, row in rows.items():
        limit = f"{row['limit_s']:.1f} s" if row["limit_s"] else ""
        print(f"{name:<24}{row['median_s']:>8.3f} s{row['fastest_s']:>8.3f} s{limit:>10}")

    result = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "runs": options.runs,
        "results": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written: {options.out}")


def table(times: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float | None]]:
    """Median and fastest of each case, and what it may take."""
    bare = statistics.median(times["python"])
    limits = {IMPORT: 0.1, **{name: limit for name, (_, limit) in COMMANDS.items()}}
    rows: dict[str, dict[str, float | None]] = {}
    for name, seconds in times.items():
        less = bare if name == IMPORT else 0
        rows[name] = {
            "median_s": round(statistics.median(seconds) - less, 4),
            "fastest_s": round(min(seconds) - less, 4),
            "limit_s": limits.get(name),
        }
    return rows


def measure(runs: int) -> dict[str, list[float]]:
    """Seconds of each case; the cases take turns, so that a busy moment of the machine meets all of them."""
    cases: dict[str, tuple[Sequence[str], int]] = {"python": (["-c", "pass"], 0), IMPORT: (["-c", IMPORT], 0)}
    for name, (words, _) in COMMANDS.items():
        cases[name] = (["-m", "cpchub", *words], 0 if {"--help", "--list"} & set(words) else 2)
    times: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "photos").mkdir()
        Image.new("RGB", (8, 8)).save(here / "photos" / "a.png")
        Index.build(import_vectors(here / "made", np.eye(2, dtype=np.float32), ["a", "b"]))
        nobody = {"HF_ENDPOINT": NOBODY, "CPCHUB_MIRROR": NOBODY, "HF_HOME": str(here / "cache")}
        environment = os.environ | nobody
        for run in range(runs + 1):
            for name, (words, status) in cases.items():
                started = time.perf_counter()
                done = subprocess.run([sys.executable, *words], cwd=here, env=environment, capture_output=True)
                seconds = time.perf_counter() - started
                if done.returncode != status:
                    raise SystemExit(f"{name}: status {done.returncode}, not {status}: {done.stderr.decode()}")
                if run:  # the first fills the disk cache and writes the byte code
                    times[name].append(seconds)
    return times


if __name__ == "__main__":
    in_one_line(main)
