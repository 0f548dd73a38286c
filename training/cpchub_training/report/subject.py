"""All that a report shows of one encoder, gathered from its evaluation, its features and its run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cpchub.catalog.spec import EVALUATION
from cpchub.common.files import expanded
from cpchub.common.vectors import unit_length
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub.errors import SourceError
from cpchub_training.evaluate.datasets import DataSet
from cpchub_training.evaluate.evaluation import curves, read_evaluation, run
from cpchub_training.evaluate.features import FeatureCache
from cpchub_training.evaluate.job import load_encoder
from cpchub_training.evaluate.naming import home_of, identity, same_encoder, titles
from cpchub_training.evaluate.protocols import linear_protocol
from cpchub_training.evaluate.task import Settings, Task

METRICS = "metrics.jsonl"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """An encoder, what it is called, the data it was measured on, its `eval.json`, and the lines of its training, if
    there are any."""

    encoder: Encoder
    typed: str  # what it was asked for by
    name: str
    data: DataSet
    cache: FeatureCache
    evaluation: Row
    training: list[dict[str, float]]

    @staticmethod
    def of(name: str, data: DataSet, cache: Path | None) -> Subject:
        """Gather it. Raises SourceError where the encoder has not been measured on this data."""
        encoder, folder = load_encoder(name)
        places = [home_of(encoder.spec, name), *([folder] if folder else [])]
        found = [each for place in places if (each := read_evaluation(place / EVALUATION)) and _fits(each, data)]
        found = [each for each in found if same_encoder(each, identity(encoder.spec))]
        if not found:
            raise SourceError(
                f"{name} has no measurements on {data.name} as it is now; run `cpchub eval {name}` on the same --images"
            )
        lines = _training(expanded(name) / METRICS)
        most = max(found, key=lambda each: len(each["results"]) + len(each.get("rivals", [])))
        return Subject(encoder, name, encoder.spec.name, data, FeatureCache(encoder, cache), most, lines)

    @property
    def rows(self) -> list[Row]:
        """The measurements on this data, of the encoder."""
        return [row for row in self.evaluation["results"] if row["dataset"] == self.data.name]

    @property
    def rivals(self) -> list[Row]:
        """The measurements on this data of training from scratch."""
        return [row for row in self.evaluation.get("rivals", []) if row["dataset"] == self.data.name]

    @property
    def saved(self) -> list[Row]:
        """Labels saved on this data."""
        return [row for row in self.evaluation.get("labels_saved", []) if row["dataset"] == self.data.name]

    @property
    def by_way(self) -> dict[str, list[Row]]:
        """Few-label rows by the way of learning, from scratch too."""
        return curves([*self.rows, *self.rivals])

    def value(self, config: str) -> Row | None:
        """The measurement of that name."""
        return next((row for row in [*self.rows, *self.rivals] if row["config"] == config), None)

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """What the linear probe on all labels says of each test image."""
        task = Task.blind(self.encoder, self.data, self.cache, Settings())
        return run(task, linear_protocol(task))[0].predicted

    @cached_property
    def untrained(self) -> Encoder:
        """The same network with new weights, the same ones each time."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return load(self.typed, pretrained=False)

    def features(self, part: str) -> npt.NDArray[Any]:
        """Unit features of a part, `[N, D]`."""
        return unit_length(self.cache.of(self.data, "train" if part == "train" else "test"))


def subjects_of(names: Sequence[str], data: DataSet, cache: Path | None) -> list[Subject]:
    """The encoders of these names, each once, titled so that two do not look alike. Raises as `Subject.of` does."""
    found: dict[str, tuple[str, Subject]] = {}
    for name in names:
        subject = Subject.of(name, data, cache)
        found.setdefault(subject.encoder.spec.fingerprint, (name, subject))
    called = titles([name for name, _ in found.values()], [subject.encoder.spec for _, subject in found.values()])
    return [replace(subject, name=title) for (_, subject), title in zip(found.values(), called, strict=True)]


def _fits(evaluation: Row, data: DataSet) -> bool:
    """Whether it measured these very test images."""
    measured = any(row["dataset"] == data.name for row in evaluation["results"])
    facts = [evaluation.get("data", {}), *evaluation.get("datasets", [])]
    return measured and data.test.digest in [each.get("test_digest") for each in facts]


def _training(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
