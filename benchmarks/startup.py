"""How long `import cpchub` and `cpchub --help` take in a fresh interpreter: medians, as a table and as JSON.

    python -m benchmarks.startup [--runs 15] [--out benchmarks/results/startup.json]

An interpreter that does nothing is timed beside them. The import counts from when that one is ready, which is what a
program that imports cpchub pays; the command counts as a whole, which is what a person waits for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

CASES = {
    "python": [sys.executable, "-c", "pass"],
    "import cpchub": [sys.executable, "-c", "import cpchub"],
    "cpchub --help": [sys.executable, "-m", "cpchub", "--help"],
}
LIMITS = {"import cpchub": 0.1, "cpchub --help": 0.3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "startup.json")
    options = parser.parse_args()

    times = measure(options.runs)
    bare = statistics.median(times["python"])
    medians = {name: statistics.median(values) for name, values in times.items()}
    medians["import cpchub"] -= bare
    rows = {
        name: {
            "median_s": round(medians[name], 4),
            "fastest_s": round(min(times[name]) - (bare if name == "import cpchub" else 0), 4),
            "limit_s": LIMITS.get(name),
        }
        for name in CASES
    }
    print(f"{'':<16}{'median':>10}{'fastest':>10}{'limit':>10}")
    for name, row in rows.items():
        limit = f"{row['limit_s']:.1f} s" if row["limit_s"] else ""
        print(f"{name:<16}{row['median_s']:>8.3f} s{row['fastest_s']:>8.3f} s{limit:>10}")

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


def measure(runs: int) -> dict[str, list[float]]:
    """Seconds of each case; the cases take turns, so that a busy moment of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for run in range(runs + 1):
        for name, command in CASES.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if run:  # the first fills the disk cache and writes the byte code
                times[name].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()
