"""One evaluation of the command line: load the encoder and the data, print the results, write the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from cpchub.catalog.spec import EVALUATION
from cpchub.common.files import write_json, writing
from cpchub.common.progress import console
from cpchub.common.quiet import remark
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub.encoders.model_folder import render_card
from cpchub.fewlabels import plot_label_curve
from cpchub.fewlabels.curve import LabelCurve
from cpchub.fewlabels.labels_saved import Saved
from cpchub.media.rules import NO_RULES, Rules
from cpchub_training.evaluate.datasets import open_labelled
from cpchub_training.evaluate.evaluation import curves, evaluate, merged, read_evaluation
from cpchub_training.evaluate.features import FeatureCache
from cpchub_training.evaluate.in_words import in_words
from cpchub_training.evaluate.naming import home_of
from cpchub_training.evaluate.task import Settings

WAYS = {
    "linear": "frozen encoder, linear",
    "resnet_head": "frozen encoder, 11-block ResNet",
    "finetune": "fine-tuned encoder",
    "scratch": "from scratch",
}


def load_encoder(name: str) -> tuple[Encoder, Path | None]:
    """The encoder of that name and, where the name is a folder, its model folder. A run folder means its export.

    Raises as `cpchub.load` does, and ArgumentError for an encoder of sounds.
    """
    encoder = load(name)
    encoder.spec.check_takes_images("an evaluation")
    return encoder, encoder.spec.folder if encoder.spec.status == "local" else None


def measure(
    name: str,
    data_name: str,
    protocols: Sequence[str],
    settings: Settings,
    *,
    out: Path | None = None,
    cache: Path | None = None,
    rules: Rules = NO_RULES,
) -> dict[str, Any]:
    """Evaluate, print the table, and write `eval.json` and `label_curve-<data>.png` into `home_of` the encoder.

    If the encoder is given as a model folder, the folder's `eval.json` and card are updated too. Rows of an earlier
    evaluation of the same encoder are kept unless they were measured again. Raises OutputError for an `out` with the
    measurements of a different encoder.
    """
    data = open_labelled(data_name, rules, cache)
    encoder, folder = load_encoder(name)
    home = home_of(encoder.spec, name, out)
    content = evaluate(encoder, data, protocols, settings=settings, cache=FeatureCache(encoder, cache))
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
    whole = merged(read_evaluation(home / EVALUATION), content)
    write_json(home / EVALUATION, whole)
    show(whole, data.name)
    by_way = label_curves(whole, data.name)
    if any(len(curve.labels) > 1 for curve in by_way.values()):
        plot = plot_label_curve(by_way, home / f"label_curve-{data.name}.png", unit="labels", title=encoder.spec.name)
        remark(f"Label curve: {plot}")
    if folder is not None:
        write_json(folder / EVALUATION, merged(read_evaluation(folder / EVALUATION), content))
        render_card(folder)
        remark(f"{folder / EVALUATION} and the card beside it have the new numbers")
    remark(f"Evaluation: {home / EVALUATION}")
    return whole


def label_curves(content: Mapping[str, Any], dataset: str) -> dict[str, LabelCurve]:
    """The low-label rows of one data set as curves over the number of labels, by title."""
    rows = [r for r in [*content["results"], *content.get("rivals", [])] if r["dataset"] == dataset]
    return {
        WAYS.get(way, way): LabelCurve.of_points({row["labels"]: row.get("values") or [row["value"]] for row in points})
        for way, points in curves(rows).items()
    }


def show(content: Mapping[str, Any], dataset: str) -> None:
    """Print the measurements on a data set, and how many times more labels training from scratch needs."""
    table = Table("measurement", "labels", "accuracy", title=f"{content['model']} on {dataset}")
    for row in [*content["results"], *content.get("rivals", [])]:
        if row["dataset"] == dataset:
            spread = f" ± {100 * row['std']:.1f}" if row["std"] is not None else ""
            table.add_row(
                in_words(row["config"], row["labels"]), f"{row['labels']:,}", f"{100 * row['value']:.1f}{spread} %"
            )
    console.print(table)
    rows = [row for row in content.get("labels_saved", []) if row["dataset"] == dataset]
    if not rows:
        return
    saved = Table(
        "way", "labels", "accuracy", "labels saved", title="Times the labels that training from scratch needs"
    )
    for row in rows:
        factor = Saved(row["labels"], row["accuracy"], row["factor"], row["bound"])
        saved.add_row(WAYS.get(row["way"], row["way"]), f"{row['labels']:,}", f"{row['accuracy']:.1%}", str(factor))
    console.print(saved)
