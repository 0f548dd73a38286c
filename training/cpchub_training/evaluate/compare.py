"""Compare encoders on data sets by the same protocols, in one table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from cpchub.catalog.spec import EVALUATION
from cpchub.common.files import replacing, write_json, writing
from cpchub.common.progress import console
from cpchub.common.quiet import remark
from cpchub.errors import ArgumentError
from cpchub.media.rules import NO_RULES, Rules
from cpchub_training.evaluate.datasets import open_labelled
from cpchub_training.evaluate.evaluation import evaluate, merged, read_evaluation
from cpchub_training.evaluate.features import FeatureCache
from cpchub_training.evaluate.in_words import in_words
from cpchub_training.evaluate.job import load_encoder
from cpchub_training.evaluate.naming import home_of, titles
from cpchub_training.evaluate.task import Settings

COLUMNS = ("encoder", "data", "config", "labels", "accuracy", "std", "protocol")


def compare(
    names: Sequence[str],
    data_names: Sequence[str],
    protocols: Sequence[str],
    settings: Settings,
    *,
    out: Path | None = None,
    cache: Path | None = None,
    rules: Rules = NO_RULES,
) -> list[dict[str, Any]]:
    """Measure every encoder on every data set, print the table (a line a measurement, a column an encoder), return it.

    An encoder that is named twice is measured once. Different encoders of one name are called by what was typed. Each
    encoder's numbers also go into its evaluation folder; `out` is a CSV of all. Raises ArgumentError for two data sets
    of one name.
    """
    datasets = [open_labelled(name, rules, cache) for name in data_names]
    called = [data.name for data in datasets]
    if not called:
        raise ArgumentError("no data set to compare on; name one or more with --images")
    if twice := [name for name in called if called.count(name) > 1]:
        raise ArgumentError(f"{len(twice)} data sets are called {twice[0]!r}, and tables go by name; rename a folder")
    lines: list[dict[str, Any]] = []
    specs = {name: load_encoder(name)[0].spec for name in names}  # a missing one is found before others are measured
    once = {spec.fingerprint: name for name, spec in reversed(specs.items())}
    names = [name for name in specs if name in once.values()]
    for name, title in zip(names, titles(names, [specs[name] for name in names]), strict=True):
        encoder, _ = load_encoder(name)
        home = home_of(encoder.spec, name)
        for data in datasets:
            content = evaluate(encoder, data, protocols, settings=settings, cache=FeatureCache(encoder, cache))
            with writing(home):
                home.mkdir(parents=True, exist_ok=True)
            write_json(home / EVALUATION, merged(read_evaluation(home / EVALUATION), content))
            for row in [*content["results"], *content.get("rivals", [])]:
                line = {"encoder": title, "data": data.name, "accuracy": row["value"]} | row
                lines.append({column: line[column] for column in COLUMNS})
    _show(lines)
    if out is not None:
        with replacing(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(lines)
        remark(f"Table: {out}")
    return lines


def _show(lines: Sequence[dict[str, Any]]) -> None:
    encoders = list(dict.fromkeys(line["encoder"] for line in lines))
    columns = [Column(encoder, overflow="fold") for encoder in encoders]  # whole: the ends of names tell them apart
    table = Table("data", "measurement", "labels", *columns, title="Test accuracy in per cent")
    rows = [(line["data"], in_words(line["config"], line["labels"])) for line in lines]
    cells = {(*key, line["encoder"]): line for key, line in zip(rows, lines, strict=True)}
    for data, words in dict.fromkeys(rows):
        row = [cells.get((data, words, encoder)) for encoder in encoders]
        best = max(round(each["accuracy"], 4) for each in row if each)
        labels = next(each["labels"] for each in row if each)
        table.add_row(data, words, f"{labels:,}", *(_cell(each, best) for each in row))
    console.print(table)


def _cell(line: dict[str, Any] | None, best: float) -> str:
    """The accuracy with its spread; the best of the line is bold."""
    if line is None:
        return ""
    spread = f" ± {100 * line['std']:.1f}" if line["std"] is not None else ""
    text = f"{100 * line['accuracy']:.1f}{spread}"
    return f"[bold]{text}[/bold]" if round(line["accuracy"], 4) == best else text
