"""The family under one protocol: every method with one network, the same images and the same processor time.

    CPCHUB_DATA=FOLDER OMP_NUM_THREADS=1 python -m benchmarks.family [METHOD ...] [--minutes 10] [--work FOLDER]

Of each method four settings are tried for `--choice-minutes` each on 20,000 training images of CIFAR-10; the best by
kNN on 5,000 others is trained for `--minutes`, with three seeds. A row is in the file as soon as it is measured, and a
row that is there is not measured again, so the command goes on after any stop; within a row from the last slice in
`--work`. At the end, or with `--page` alone, it writes the plot and the section of the guide to training.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

import torch

from benchmarks.family import page
from benchmarks.family.rows import Pool, measured, tried
from benchmarks.family.settings import ARCHITECTURE, BATCH, NETWORK, TITLES, UNTRAINED, settings_of
from benchmarks.in_one_line import in_one_line, known
from cpchub.catalog.spec import read_json
from cpchub.common.files import only_writer, write_json
from cpchub.errors import OtherRunError

OUT = Path(__file__).parents[1] / "results" / "family.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(TITLES)}; all by default")
    parser.add_argument("--minutes", type=float, default=10, help="processor minutes of a run")
    parser.add_argument("--choice-minutes", type=float, default=2, help="of each of the four settings of a method")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default="cifar10", help="digits for a rehearsal")
    parser.add_argument("--work", type=Path, default=Path("runs", "family"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--page", action="store_true", help="write the plot and the guide from the file, nothing else")
    options = parser.parse_args()
    methods = known(options.methods, TITLES)
    if not options.page:
        torch.set_num_threads(1)
        options.work.mkdir(parents=True, exist_ok=True)
        with only_writer(options.work):
            compare(methods, options)
    if options.page or options.out == OUT:
        page.write(read_json(options.out))


def compare(methods: list[str], options: argparse.Namespace) -> None:
    """Measure what the file lacks."""
    report = opened(options)
    pool = Pool(options.data, options.images)

    def add(kind: str, row: dict[str, Any]) -> None:
        report[kind].append(row)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, report)
        print(row, flush=True)

    for method in methods:
        for setting in settings_of(method):
            if not any(row["method"] == method and row["setting"] == setting for row in report["choices"]):
                add("choices", tried(method, setting, pool, options.choice_minutes))
    for seed in range(options.seeds):
        for method in methods:
            if not any((row["method"], row["seed"]) == (method, seed) for row in report["results"]):
                choice = chosen(report, method)
                add("results", measured(method, seed, choice, pool, options.minutes, options.work))


def chosen(report: dict[str, Any], method: str) -> dict[str, Any]:
    """The choice with the best kNN of held-out images; {} for the untrained network."""
    if method == UNTRAINED:
        return {}
    rows = [row for row in report["choices"] if row["method"] == method]
    return dict(max(rows, key=lambda row: row["knn_held_out"]))


def opened(options: argparse.Namespace) -> dict[str, Any]:
    """The report as it is in the file, or a new one. Raises `OtherRunError` for a file of another protocol."""
    facts: dict[str, Any] = {
        "data": options.data,
        "images": options.images,
        "minutes": options.minutes,
        "choice_minutes": options.choice_minutes,
        "network": {"architecture": ARCHITECTURE, **NETWORK},
        "batch_size": BATCH,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }
    if not options.out.is_file():
        return {**facts, "choices": [], "results": []}
    report = read_json(options.out)
    if changed := [name for name, value in facts.items() if report.get(name) != value]:
        name = changed[0]
        raise OtherRunError(
            f"{options.out} was measured with {name}={report.get(name)!r}, not {facts[name]!r}; choose another --out"
        )
    return report


if __name__ == "__main__":
    in_one_line(main)
