"""Few labels on real images, one part after the other, into one JSON file.

    python -m benchmarks.fewlabels SET [SET ...] [--only PART ...] [--out benchmarks/results/fewlabels.json]

Each `SET` is a folder with a folder a class, or `cifar10` (see `sets.py`). A part is a module of this package with
`measure(sets)`, the entry of the JSON file, whose "results" are rows; `COLUMNS`, those that are shown; and
`title(found)`, what was found in a sentence. A part with `draw(found, png)` has a plot too, beside the JSON file. What
the parts are about is said where they are. A part that is not measured now keeps its entry. Nothing is chosen on these
sets.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import cpchub
from benchmarks.fewlabels.sets import open_set
from benchmarks.in_one_line import in_one_line
from cpchub.catalog.listing import bundled_encoder
from cpchub.common.files import write_json

PARTS = ("classifiers", "speed", "coverage", "growth", "errors", "openset", "unlabelled", "choice")
PACKAGES = ("torch", "scikit-learn", "numpy")
OUT = Path(__file__).parents[1] / "results" / "fewlabels.json"


def show(part: Any, found: dict[str, Any]) -> None:
    """The rows of a part as a table."""
    table = Table(*part.COLUMNS, title=part.title(found))
    for row in found["results"]:
        table.add_row(*(str(row.get(column, "")) for column in part.COLUMNS))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sets", nargs="+", metavar="SET")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--encoder", default=bundled_encoder(), help="a name or model folder; %(default)s")
    parser.add_argument("--cache", type=Path, help="where the vectors are kept; by default where `cpchub eval` does")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    encoder = cpchub.load(options.encoder)
    sets = [open_set(each, encoder, options.cache) for each in options.sets]
    found = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    for name in options.only:
        part = import_module(f"benchmarks.fewlabels.{name}")
        found[name] = {
            "encoder": encoder.spec.name,
            "sets": [each.facts for each in sets],
            "versions": {package: version(package) for package in PACKAGES} | {"python": platform.python_version()},
        } | part.measure(sets)
        write_json(options.out, found)
        if hasattr(part, "draw"):
            part.draw(found[name], options.out.with_name(f"{options.out.stem}_{name}.png"))
        show(part, found[name])


if __name__ == "__main__":
    in_one_line(main)
