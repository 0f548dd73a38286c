"""Measurements in the words of `--protocol`, for whoever reads a table. `eval.json` has a key for each instead."""

from __future__ import annotations

import re

WORDS = {"linear_probe": "linear", "cpc_linear": "cpc-linear"}
LEARNERS = {
    "lowshot": "low-label",
    "lowshot_resnet_head": "resnet-head",
    "lowshot_finetune": "fine-tune",
    "scratch": "scratch",
}
NEIGHBOURS = re.compile(r"knn_k(\d+)")
FEW_LABELS = re.compile(r"(lowshot|scratch)_(\d+(?:_\d+)?)(pct|shot)(_resnet_head|_finetune)?")


def in_words(config: str, labels: int) -> str:
    """`knn, k = 139` for `knn_k200` of 139 labelled images, `low-label, 1 %` for `lowshot_1pct`.

    config: the key of a measurement; one that is not known stays as it is. labels: how many labels it used.
    """
    if found := NEIGHBOURS.fullmatch(config):
        return f"knn, k = {min(int(found[1]), labels)}"
    if found := FEW_LABELS.fullmatch(config):
        kind, number, unit, learner = found.groups(default="")
        return f"{LEARNERS[kind + learner]}, {number.replace('_', '.')} {'%' if unit == 'pct' else 'a class'}"
    return WORDS.get(config, config)
