"""Run the protocols on an encoder and a data set, count the hits, and make the content of `eval.json`.

Predictions are cached on disk, so a stopped evaluation resumes, and one with more seeds computes only the new ones.
Test labels are used only here, for counting.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cpchub.catalog.spec import read_json
from cpchub.common.files import replacing, writing
from cpchub.common.progress import Report
from cpchub.encoders.encoder import Encoder
from cpchub.errors import ArgumentError
from cpchub.fewlabels.labels_saved import labels_saved
from cpchub_training.evaluate import protocols
from cpchub_training.evaluate.datasets import DataSet, Labels
from cpchub_training.evaluate.features import FeatureCache
from cpchub_training.evaluate.in_words import in_words
from cpchub_training.evaluate.naming import identity, same_encoder
from cpchub_training.evaluate.task import Cell, Outcome, Settings, Task

FORMAT = 1
PACKAGES = ("torch", "timm", "scikit-learn", "numpy")
DEFAULT = ("knn", "linear", "low-label")
DIGESTS = ("train_digest", "test_digest")
Row = dict[str, Any]


def evaluate(
    encoder: Encoder,
    data: DataSet,
    names: Sequence[str] = DEFAULT,
    *,
    settings: Settings | None = None,
    cache: FeatureCache | None = None,
) -> dict[str, Any]:
    """Measure `encoder` on the test part of `data` by the named protocols: the content of `eval.json`.

    Raises ArgumentError for an unknown protocol and for invalid settings, BrokenImageError for an unreadable image.
    """
    settings, cache = settings or Settings(), cache or FeatureCache(encoder)
    settings.check()
    if not names:
        raise ArgumentError(f"no protocol to measure by; name one of {', '.join(protocols.PROTOCOLS)}")
    chosen = [protocols.get(name) for name in names]
    task = Task.blind(encoder, data, cache, settings)
    cells = [cell for protocol in chosen for cell in protocol(task)]
    outcomes = run(task, cells)
    rows = summarise(cells, outcomes, data.test.labels)
    rivals_too = [cell.config for cell in cells if cell.rival]
    results, rivals = (
        [{"dataset": data.name} | row for row in rows if (row["config"] in rivals_too) == wanted]
        for wanted in (False, True)
    )
    content = {
        "format": FORMAT,
        **identity(encoder.spec),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | versions(),
        "data": data.facts,
        "seeds": list(settings.seeds),
        "results": results,
    }
    if rivals:
        content["rivals"] = rivals
    return merged(None, content)


def run(task: Task, cells: Sequence[Cell]) -> list[Outcome]:
    """The outcome of every cell, from the cache if it is there."""
    outcomes = []
    what = f"Measuring {task.spec.name}"
    with Report(what, len(cells), unit="measurement", rate=False, left=False) as report:
        for cell in cells:
            words = in_words(cell.config, cell.labels)
            report.note = words if cell.seed is None else f"{words}, seed {cell.seed}"
            path = _path_of(task, cell)
            outcome = _kept(path)
            if outcome is None:
                outcome = cell.predict()
                _keep(path, outcome)
            outcomes.append(outcome)
            report.advance()
    return outcomes


def summarise(cells: Sequence[Cell], outcomes: Sequence[Outcome], y_test: Labels) -> list[Row]:
    """A row for each config, in the order of the cells: mean and sample standard deviation over its seeds."""
    by_config: dict[str, list[tuple[Cell, Outcome]]] = {}
    for cell, outcome in zip(cells, outcomes, strict=True):
        by_config.setdefault(cell.config, []).append((cell, outcome))
    rows = []
    for config, pairs in by_config.items():
        first = pairs[0][0]
        values = [float((outcome.predicted == y_test).mean()) for _, outcome in pairs]
        seeds = [cell.seed for cell, _ in pairs if cell.seed is not None]
        rows.append(
            {
                "split": "test",
                "metric": "accuracy",
                "task": first.task,
                "config": config,
                "value": round(float(np.mean(values)), 4),
                "std": round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None,
                "values": [round(v, 4) for v in values],
                "seeds": seeds,
                "protocol": first.protocol,
                "labels": first.labels,
                "choices": [dict(outcome.choice) for _, outcome in pairs if outcome.choice],
            }
        )
    return rows


def saved_rows(results: Iterable[Mapping[str, Any]], rivals: Iterable[Mapping[str, Any]]) -> list[Row]:
    """How many times more labels the baseline needs, for every data set and every low-label protocol."""
    rival: dict[str, dict[int, float]] = {}
    for row in rivals:
        rival.setdefault(row["dataset"], {})[row["labels"]] = row["value"]
    own = list(results)
    rows: list[Row] = []
    for dataset, points in rival.items():
        for way, curve in curves(row for row in own if row["dataset"] == dataset).items():
            for saved in labels_saved({row["labels"]: row["value"] for row in curve}, points):
                rows.append({"dataset": dataset, "way": way, **asdict(saved), "factor": round(saved.factor, 2)})
    return rows


def curves(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The low-label rows by the way they learn ("linear", "resnet_head", "finetune", "scratch"), by labels."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["task"] == "low-label":
            found.setdefault(_way(row), []).append(row)
    return {way: sorted(rows, key=lambda row: row["labels"]) for way, rows in found.items()}


def _way(row: Mapping[str, Any]) -> str:
    kind, _, rest = str(row["config"]).partition("_")
    return "scratch" if kind == "scratch" else rest.partition("_")[2] or "linear"


def _measures(row: Mapping[str, Any]) -> tuple[object, ...]:
    """What a row measures: two rows of the same are one measurement. 1 % and 2 % of few labels can be the same."""
    what = (_way(row), row["labels"]) if row["task"] == "low-label" else (row["config"],)
    return row["dataset"], *what


def merged(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """`new`, plus the rows of `old` that `new` did not measure. Rows of another encoder or of other images are dropped.

    `data` is the data set measured last, `datasets` all of them. Labels saved follow from the rows of both.
    """
    content, facts = dict(new), new["data"]
    kept_facts: list[Mapping[str, Any]] = []
    if old is not None and same_encoder(old, new):
        known = old.get("datasets") or [old["data"]]
        same = any(all(each.get(key) == facts[key] for key in ("name", *DIGESTS)) for each in known)
        kept_facts = [each for each in known if each["name"] != facts["name"]]
        for key in ("results", "rivals"):
            fresh = {_measures(row) for row in new.get(key, [])}
            kept = [
                row
                for row in old.get(key, [])
                if _measures(row) not in fresh and (row["dataset"] != facts["name"] or same)
            ]
            content[key] = [*kept, *new.get(key, [])]
    content["datasets"] = [*kept_facts, facts]
    if not content.get("rivals"):
        content.pop("rivals", None)
    elif saved := saved_rows(content["results"], content["rivals"]):
        content["labels_saved"] = saved
    return content


def read_evaluation(path: Path) -> dict[str, Any] | None:
    """What an earlier evaluation wrote, or None."""
    return read_json(path) if path.is_file() else None


def versions() -> dict[str, str]:
    """Versions of the packages that influence a number. Cached outcomes of other versions are not used, so `eval.json`
    is right about them."""
    return {package: version(package) for package in PACKAGES}


def _path_of(task: Task, cell: Cell) -> Path:
    """The cache path of an outcome; its name depends on everything that decides the outcome.

    A baseline starts from new weights, so only the encoder's network and transform matter.
    """
    spec, data = task.spec, task.data
    args = {k: v for k, v in spec.model_args.items() if k != "num_classes"}
    network = [spec.architecture, args, spec.transform] if cell.rival else spec.fingerprint
    identity = [network, data.train.digest, data.test.digest, cell.protocol, cell.seed, cell.settings, versions()]
    text = json.dumps(identity, sort_keys=True, default=str)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    seed = "" if cell.seed is None else f"-seed{cell.seed}"
    return task.cache.folder / "outcomes" / f"{data.name}-{cell.config}{seed}-{name}.npz"


def _kept(path: Path) -> Outcome | None:
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        return Outcome(file["predicted"].astype(np.int64), json.loads(str(file["choice"])))


def _keep(path: Path, outcome: Outcome) -> None:
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file, predicted=outcome.predicted.astype(np.int32), choice=np.array(json.dumps(dict(outcome.choice)))
        )
