"""From measured sizes to sizes that nobody measured: powers of the number of images, with the error that they had."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpchub.common.words import size
from cpchub.hub.card_tables import table

ASKED = (10**6, 10**7, 10**8, 10**9)
HOUR = 3600


@dataclass(frozen=True)
class Power:
    """cost = factor * count ^ exponent; `error` is the largest size's measurement over its prediction, minus 1."""

    factor: float
    exponent: float
    error: float

    def __call__(self, count: float) -> float:
        return float(self.factor * count**self.exponent)

    @classmethod
    def of(cls, measured: dict[int, float]) -> Power:
        """Fitted to all sizes by least squares of the logarithms; the error is that of a fit without the largest.

        measured: three sizes at least, each with its cost.
        """
        *smaller, largest = sorted(measured)
        exponent, factor = _line({count: measured[count] for count in smaller})
        error = measured[largest] / (factor * largest**exponent) - 1
        exponent, factor = _line(measured)
        return cls(factor, exponent, error)


def _line(measured: dict[int, float]) -> tuple[float, float]:
    exponent, height = np.polyfit(np.log(list(measured)), np.log(list(measured.values())), 1)
    return float(exponent), float(np.exp(height))


class Costs:
    """What `benchmarks/scale.py` measured, and what follows from it for other sizes."""

    def __init__(self, done: dict[str, Any]) -> None:
        self.items = float(done["items_bytes_an_image"])  # of paths, labels and columns, compressed
        self.search = {int(count): row for count, row in done["search"].items()}
        self.embed = {int(count): row for count, row in done["embed"].items()}
        self.approximate = {count: row for count, row in self.search.items() if row["kind"] != "exact"}

    def power(self, field: str) -> Power:
        """The power that a number of the approximate index grows with."""
        return Power.of({count: row[field] for count, row in self.approximate.items()})

    def ram_a_vector(self) -> float:
        """Bytes in memory besides mapped files, of the largest size."""
        return float(self.search[max(self.search)]["ram_bytes_per_vector"])

    def images_a_second(self) -> float:
        """The rate of the largest embedded size."""
        return float(self.embed[max(self.embed)]["images_a_second"])


def markdown(done: dict[str, Any], asked: argparse.Namespace) -> str:
    """The table of `benchmarks/scale.py table`."""
    costs = Costs(done)
    query, build = costs.power("p50_ms"), costs.power("build_cpu_s")
    rate = (asked.images_a_second or costs.images_a_second()) * asked.machines
    rows: dict[str, Callable[[int], str]] = {
        "the images": lambda count: size(count * asked.megabytes_an_image * 1e6),
        f"embedding, {rate:,.0f} images/s": lambda count: _time(count / rate),
        "vectors": lambda count: size(count * asked.dim * asked.vector_bytes),
        "paths, labels, columns": lambda count: size(count * costs.items),
        "index in memory": lambda count: size(count * costs.ram_a_vector()),
        "building it, one core": lambda count: _time(build(count)),
        "one query, one core": lambda count: f"{query(count):.2g} ms",
    }
    heads = ["", *(f"{count:,}" for count in ASKED)]
    written = table(heads, ([name, *map(cell, ASKED)] for name, cell in rows.items()))
    largest = max(costs.approximate)
    recalls = [row["recall"] for row in costs.approximate.values()]
    said = (
        f"Measured up to {largest:,}. Building grows with the power {build.exponent:.2f} of the number of images, a "
        f"query with {query.exponent:.2f}. The error of such a fit is seen where only the smaller sizes are asked for "
        f"{largest:,}: building takes {1 + build.error:.1f} times and a query {1 + query.error:.1f} times as long as "
        "they say. The time of a query depends on its recall too, which each size reaches in steps: here "
        f"{min(recalls):.2f} to {max(recalls):.2f}."
    )
    return f"{written}\n\n{said}"


def measured(done: dict[str, Any]) -> str:
    """The table of `benchmarks/scale.py measured`."""
    heads = ("vectors", "index", "build", "recall@10", "one query, p50", "bytes a vector in memory")
    rows = [
        (
            f"{count:,}",
            row["kind"],
            f"{row['build_s']:,.1f} s",
            f"{row['recall']:.3f}",
            f"{row['p50_ms']:.2f} ms",
            f"{row['ram_bytes_per_vector']:,.0f}",
        )
        for count, row in sorted(Costs(done).search.items())
    ]
    return table(heads, rows)


def _time(seconds: float) -> str:
    for unit, long in (("days", 24 * HOUR), ("hours", HOUR), ("min", 60)):
        if seconds >= 2 * long:
            return f"{seconds / long:,.0f} {unit}"
    return f"{seconds:.0f} s"
