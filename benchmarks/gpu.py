"""What has no result yet of docs/gpu-runs.md, unattended, in a bounded time, on one GPU:

    python -m benchmarks.gpu --minutes 8 --out FOLDER [--work runs/gpu] [--carried FOLDER] [--rehearse]

In this order: a smoke run, the training speed, SimCLR and CPC v2 on CIFAR-10, the time to 90 % kNN. The state lies in
`--work`, where the next call goes on. `--out` gets the results (`gpu.json`, to be put into benchmarks/results), the
log, and, in few files of bounded size, the state: a call on another machine takes it as `--carried`. Each part is a
process that is ended when its time is over, so one that hangs or fails costs its own minutes alone; what failed twice
is left out. `--rehearse` does the same with tiny sizes on a CPU. Needs no cpchub on the path, nor tyro.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import gpu_carry
from benchmarks.in_one_line import in_one_line

REPOSITORY = Path(__file__).parents[1]
KNOWN = REPOSITORY / "benchmarks" / "results" / "gpu.json"
RESULTS, FAILURES, LOG = "results", "failures.json", "gpu.log"
LEAST = 0.3  # minutes below which no part is begun
GRACE = 8  # seconds for a process that was asked to end
RESERVE = 30  # seconds at the end: for the grace, and for writing `--out`
TRIES = 2
LOG_KEPT = 1_000_000  # bytes


@dataclass(frozen=True)
class Part:
    """minutes: the most of one call; None for what goes on over several calls, as long as there is time."""

    name: str
    minutes: float | None
    of_cifar10: bool


PARTS = (
    Part("smoke", 1, False),
    Part("throughput", 2, False),
    Part("simclr", None, True),
    Part("cpc", None, True),
    Part("knn90", None, True),
)


class Job:
    """One call: what is done already, and what is done until the time is over."""

    def __init__(self, work: Path, minutes: float, rehearse: bool) -> None:
        self.work, self.rehearse = work, rehearse
        self.until = time.monotonic() + 60 * minutes - RESERVE
        self.child: subprocess.Popen[bytes] | None = None
        (work / RESULTS).mkdir(parents=True, exist_ok=True)

    def results(self) -> dict[str, Any]:
        """What is measured, by part: in the repository, or in `work`."""
        known = {} if self.rehearse else read(KNOWN).get(RESULTS, {})
        return {**known, **{path.stem: read(path) for path in sorted((self.work / RESULTS).glob("*.json"))}}

    def left(self) -> list[Part]:
        """The parts without a result that have not failed too often."""
        done, failures = self.results(), read(self.work / FAILURES)
        return [part for part in PARTS if part.name not in done and failures.get(part.name, 0) < TRIES]

    def run(self) -> None:
        """One part after the other, until the time is over."""
        for part in self.left():
            if part.of_cifar10 and not self.rehearse and not has_cifar10():
                print(f"{part.name}: CIFAR-10 is not there; set CPCHUB_DATA to the folder of its official files")
                continue
            minutes = (self.until - time.monotonic()) / 60
            if minutes < LEAST:
                return
            self.do(part, minutes if part.minutes is None else min(minutes, part.minutes))

    def do(self, part: Part, minutes: float) -> None:
        """A part in a process of its own, for so many minutes."""
        print(f"{part.name}: for up to {minutes:.1f} minutes", flush=True)
        command = [sys.executable, "-m", "benchmarks.gpu_work", part.name, "--work", self.work.resolve()]
        command += ["--minutes", str(minutes), *(["--rehearse"] if self.rehearse else [])]
        paths = [REPOSITORY, REPOSITORY / "training", REPOSITORY / "serving"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONUNBUFFERED": "1"}
        with (self.work / LOG).open("ab") as log:
            self.child = subprocess.Popen(map(str, command), cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
            status = ended(self.child, 60 * minutes)
        self.child = None
        if part.name in self.results():
            print(f"{part.name}: done")
        elif part.minutes is not None or status not in (0, -signal.SIGTERM, -signal.SIGKILL):
            self.failed(part, status)
        else:
            print(f"{part.name}: goes on with the next call")

    def failed(self, part: Part, status: int) -> None:
        failures = read(self.work / FAILURES)
        failures[part.name] = failures.get(part.name, 0) + 1
        write(self.work / FAILURES, failures)
        print(f"{part.name}: no result (status {status}, try {failures[part.name]} of {TRIES}); see {LOG}")

    def hand_over(self, out: Path) -> None:
        """End what still runs, and write what the call has to give into `out`."""
        if self.child is not None:
            ended(self.child, 0)
        out.mkdir(parents=True, exist_ok=True)
        left = [part.name for part in self.left()]
        facts = {RESULTS: self.results(), "failures": read(self.work / FAILURES), "next": left}
        write(out / "gpu.json", facts)
        log = self.work / LOG
        (out / LOG).write_bytes(log.read_bytes()[-LOG_KEPT:] if log.is_file() else b"")
        for sentence in gpu_carry.pack(self.work, out):
            print(sentence)
        print(f"next: {', '.join(left)}; the same command goes on" if left else "next: nothing, all is measured")


def ended(child: subprocess.Popen[bytes], seconds: float) -> int:
    """The status of a process that is given so many seconds; then it is asked to end, and then it is ended."""
    for wait, call in ((seconds, child.terminate), (GRACE, child.kill)):
        try:
            return child.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            call()
    return child.wait()


def has_cifar10() -> bool:
    """Whether the official files are where `CPCHUB_DATA` says."""
    root = Path(os.environ.get("CPCHUB_DATA", "data"))
    return any((place / "data_batch_1").is_file() for place in (root, root / "cifar-10-batches-py"))


def read(path: Path) -> dict[str, Any]:
    """A JSON object; {} where there is no file."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON object, complete or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, required=True, help="that the call may take, from start to end")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs", "gpu"))
    parser.add_argument("--carried", type=Path, metavar="FOLDER", help="the --out of a call on another machine")
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    job = Job(options.work, options.minutes, options.rehearse)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what there is is handed over
    try:
        if options.carried:
            gpu_carry.unpack(options.carried, options.work)
        job.run()
    except KeyboardInterrupt:
        print("stopped")
    finally:
        job.hand_over(options.out)


if __name__ == "__main__":
    in_one_line(main)
