"""Measurements of `eval.json` as the tables of a card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cpchub.catalog.vocabulary import data_title


def table(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """A table of Markdown."""
    head = list(header)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def value(row: Mapping[str, Any]) -> str:
    """A fraction as per cent, with its spread where there is one."""
    value, std = float(row["value"]), row.get("std")
    scale, unit = (100, " %") if row["metric"] in ("accuracy", "top1", "top5", "recall", "map") else (1, "")
    spread = f" ± {scale * float(std):.1f}" if std else ""
    return f"{scale * value:.1f}{spread}{unit}" if scale == 100 else f"{value:.4g}{spread}"


def count(labels: Any) -> str:
    return f"{labels:,}" if isinstance(labels, int) else str(labels or "")


def label_efficiency(evaluation: Mapping[str, Any]) -> list[str]:
    """The section that compares the encoder with training from scratch; empty if that was not measured."""
    rivals = [row for row in evaluation.get("rivals", []) if row["config"].startswith("scratch")]
    frozen = {
        (row["dataset"], row["labels"]): row for row in evaluation.get("results", []) if row["task"] == "low-label"
    }
    rows = []
    for rival in rivals:
        mine = frozen.get((rival["dataset"], rival["labels"]))
        saved = _saved(evaluation, rival["dataset"], rival["labels"])
        ours = value(mine) if mine else ""
        rows.append((data_title(rival["dataset"]), count(rival["labels"]), ours, value(rival), saved))
    if not rows:
        return []
    heads = ("Data", "Labels", "Frozen encoder and linear probe", "The same network from scratch", "Labels saved")
    return [
        "## Labels saved\n\nHow many times more labels training from scratch needs for the same accuracy, as far as "
        f"its own curve reaches:\n\n{table(heads, rows)}\n\nFrom scratch: {'; '.join(r['protocol'] for r in rivals)}."
    ]


def _saved(evaluation: Mapping[str, Any], dataset: str, labels: int) -> str:
    for row in evaluation.get("labels_saved", []):
        if (row["dataset"], row["labels"], row["way"]) == (dataset, labels, "linear"):
            return f"{row['bound'].replace('>=', '≥')} {row['factor']:g}x".strip()
    return ""
