"""Classify from a few labels in three ways, beside one another: what the quickstart ends with.

A probe on the encoder that was just trained, a probe on the encoder that ships with the package, and the network
trained from scratch, on the same labels. The table says where a lead may be chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cpchub.catalog.listing import bundled_encoder
from cpchub.common.progress import Report, console
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub.fewlabels import LabelCurve, label_curve, label_subsets, plot_label_curve
from cpchub_training import data
from cpchub_training.evaluate import encode_images, from_scratch
from cpchub_training.recipes import Recipe

PER_CLASS = (1, 2, 5, 10)
SEEDS = (0, 1, 2)
TITLES = {"frozen": "own encoder", "package": "encoder in the package", "from_scratch": "from scratch"}


def compare_few_labels(
    recipe: Recipe,
    encoder: Encoder,
    train_set: data.Images,
    test_set: data.Images,
    scratch_steps: int,
    plot: Path,
) -> dict[str, Any]:
    """Print the test accuracies by number of labels a class, draw them as `plot`, and return them as JSON values."""
    y, y_test = train_set.class_of_each(), test_set.class_of_each()
    per_class = tuple(n for n in PER_CLASS if n <= np.bincount(y).min())
    curves = {}
    for name, each in (("frozen", encoder), ("package", load(bundled_encoder()))):
        x, x_test = (encode_images(each, part) for part in (train_set, test_set))
        with Report("Classifying", None):
            curves[name] = label_curve(x, y, x_test, y_test, per_class=per_class, seeds=SEEDS)
    curves["from_scratch"] = _scratch_curve(recipe, train_set, test_set, per_class, scratch_steps)
    console.print(_table(curves))
    for sentence in remarks(curves):
        console.print(f"   {sentence}", soft_wrap=True)
    plot_label_curve({TITLES[name]: curve for name, curve in curves.items()}, plot)
    console.print(f"   Label curve: {plot}", soft_wrap=True)
    return {
        "labels_per_class": list(per_class),
        "seeds": list(SEEDS),
        "accuracy": {
            name: {"mean": c.mean.round(4).tolist(), "std": c.std.round(4).tolist()} for name, c in curves.items()
        },
    }


def _scratch_curve(
    recipe: Recipe, train_set: data.Images, test_set: data.Images, per_class: tuple[int, ...], steps: int
) -> LabelCurve:
    """The accuracies of the recipe's network trained on the labels alone."""
    y, values = train_set.class_of_each(), []
    networks = len(SEEDS) * len(per_class)
    with Report("Training from scratch", networks, unit="network", rate=False) as report:
        step = partial(report.advance, 1 / steps)
        for seed in SEEDS:
            subsets = label_subsets(y, per_class, seed)
            rivals = (
                from_scratch(recipe, train_set, rows, test_set, steps=steps, seed=seed, after_step=step)
                for rows in subsets.values()
            )
            values.append(list(rivals))
    return LabelCurve(per_class, np.array(values))


def _table(curves: Mapping[str, LabelCurve]) -> Table:
    heads = [TITLES[name] for name in curves]
    table = Table("labels a class", *heads, title=f"Test accuracy, mean of {len(SEEDS)} draws")
    for i, n in enumerate(curves["frozen"].labels):
        table.add_row(str(n), *(f"{100 * c.mean[i]:.1f} ± {100 * c.std[i]:.1f} %" for c in curves.values()))
    return table


def remarks(curves: Mapping[str, LabelCurve]) -> Iterator[str]:
    """By how much the own encoder leads each of the others, and at which numbers of labels that may be chance.

    A lead is within its spread where its mean over the draws of the labels is no larger than its standard deviation.
    """
    own = curves["frozen"]
    for name, rival in curves.items():
        if name == "frozen":
            continue
        lead = LabelCurve(own.labels, own.values - rival.values)
        points = ", ".join(f"{100 * mean:+.1f}" for mean in lead.mean)
        unsure = [str(n) for n, mean, std in zip(lead.labels, lead.mean, lead.std, strict=True) if abs(mean) <= std]
        text = f"The own encoder minus {_in_words(name)}: {points} points."
        if len(unsure) == len(lead.labels):
            text += " That is within its spread: it may be chance."
        elif unsure:
            text += f" At {', '.join(unsure)} labels a class that is within its spread: it may be chance."
        yield text


def _in_words(name: str) -> str:
    return "the encoder in the package" if name == "package" else "training from scratch"
