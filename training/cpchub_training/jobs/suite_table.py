"""The table of a suite: a row for each recipe, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cpchub.catalog.spec import CONFIG, EVALUATION, read_json
from cpchub.catalog.vocabulary import method_title
from cpchub.common.files import replacing, write_json
from cpchub.hub.card_tables import table
from cpchub_training.recipes import Recipe
from cpchub_training.run import checkpoint
from cpchub_training.run.run_folder import CHECKPOINT

JSON, MARKDOWN, METRICS = "table.json", "table.md", "metrics.jsonl"
COLUMNS = {
    "knn": "knn_k200",
    "linear": "linear_probe",
    "labels_1_percent": "lowshot_1pct",
    "labels_10_percent": "lowshot_10pct",
}
HEADS = ("Recipe", "Method", "Epochs", "Training, minutes", "kNN", "Linear", "1 % of the labels", "10 %")


def progress_row(recipe: Recipe, run_dir: Path, failure: str | None) -> dict[str, Any]:
    """How far a run has come that has no card yet."""
    lines = list(_lines(run_dir / METRICS))
    last = run_dir / CHECKPOINT
    step = int(checkpoint.progress(last)["step"]) if last.is_file() else 0
    row = {**_of_recipe(recipe), "step": step, "epoch": lines[-1]["epoch"] if lines else 0.0}
    row["training_minutes"] = training_minutes(recipe, lines)
    return row | ({"failed": failure} if failure else {})


def result_row(recipe: Recipe, run_dir: Path, card: Path) -> dict[str, Any]:
    """What is known of a finished run: the numbers of its card's `eval.json`, accuracies with mean and spread.

    A number is None where the data has no test part.
    """
    facts = read_json(card / CONFIG)["cpchub"]
    evaluation = read_json(card / EVALUATION) if (card / EVALUATION).is_file() else {"results": []}
    by_config = {row["config"]: row for row in evaluation["results"]}
    row = {**_of_recipe(recipe), "encoder": facts["name"], "parameters": facts["parameters"]}
    row["training_minutes"] = training_minutes(recipe, list(_lines(run_dir / METRICS)))
    row["command"] = facts.get("command")
    row["measured"] = bool(by_config)
    for column, config in COLUMNS.items():
        found = by_config.get(config)
        row[column] = found and {"value": found["value"], "std": found["std"]}
    return row


def training_minutes(recipe: Recipe, lines: Sequence[Mapping[str, Any]]) -> float:
    """Minutes of training by the rate of each epoch, without compiling, measuring, and what a kill has cost."""
    seconds, before = 0.0, 0
    for line in lines:
        if line["images_per_second"] > 0:
            seconds += (line["step"] - before) * recipe.batch_size / line["images_per_second"]
        before = line["step"]
    return round(seconds / 60, 4)


def write_table(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write the rows as `table.json` and `table.md` into `out`."""
    write_json(out / JSON, {"rows": list(rows)})
    with replacing(out / MARKDOWN) as partial:
        partial.write_text(markdown(rows), encoding="utf-8")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table of Markdown."""
    return table(HEADS, (_cells(row) for row in rows)) + "\n"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    epochs = str(row["epochs"]) if "knn" in row else f"{row['epoch']:.1f} of {row['epochs']}"
    numbers = [_percent(row.get(column)) for column in COLUMNS]
    if "failed" in row:
        epochs += ", failed"
    return (f"`{row['name']}`", method_title(row["method"]), epochs, f"{row['training_minutes']:.1f}", *numbers)


def _percent(number: Mapping[str, Any] | None) -> str:
    if number is None:
        return ""
    spread = "" if number["std"] is None else f" ± {100 * number['std']:.1f}"
    return f"{100 * number['value']:.1f}{spread} %"


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    return {"name": recipe.name, "method": recipe.method, "epochs": recipe.epochs, "recipe": values_of(recipe)}


def values_of(recipe: Recipe) -> dict[str, Any]:
    """The recipe as it is read back from JSON."""
    values: dict[str, Any] = json.loads(json.dumps(recipe.to_dict()))
    return values


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The complete lines of a run's metrics."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        if line.endswith("}"):
            yield json.loads(line)
