"""The interface of a protocol: it gets a task and returns predictions, never a score.

A protocol gets the test images without their labels, so it cannot choose anything by them.
`cpchub_training.evaluate.evaluation` compares predictions with labels, and has nothing to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cpchub.catalog.spec import ModelSpec
from cpchub.encoders.encoder import Encoder
from cpchub.errors import ArgumentError
from cpchub.fewlabels import label_fractions, label_subsets
from cpchub_training.evaluate.datasets import DataSet, Labels
from cpchub_training.evaluate.features import FeatureCache, Kind
from cpchub_training.recipes.seeds import check_seeds

FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SEEDS = (0, 1, 2)
UNKNOWN = -1  # the label of every test image, as a protocol sees it


@dataclass(frozen=True)
class Settings:
    """What the caller may change about the protocols."""

    fractions: Sequence[float] = FRACTIONS  # of the labels of each class
    per_class: Sequence[int] = ()  # labels a class, beside or instead of the fractions
    seeds: Sequence[int] = SEEDS
    scratch_images: int = 20_000  # that a training from scratch sees at 1 % of the labels, with repetition
    finetune_steps: int = 300
    head_steps: int = 300
    scratch_pictures: InitVar[int | None] = None  # the name of scratch_images in 0.1.0

    def __post_init__(self, scratch_pictures: int | None) -> None:
        if scratch_pictures is not None:
            object.__setattr__(self, "scratch_images", scratch_pictures)

    def check(self) -> None:
        """Raise `ArgumentError` for values that cannot be measured with."""
        check_seeds(self.seeds)
        for name in ("scratch_images", "finetune_steps", "head_steps"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name}={getattr(self, name)} must be 1 or more")

    def with_scratch_images(self, images: int | None) -> Settings:
        """The same with another length of the trainings from scratch, where one is given."""
        return self if images is None else replace(self, scratch_images=images)


@dataclass(frozen=True)
class Outcome:
    """Predicted class numbers `[N_test]`, and what was chosen on training images on the way."""

    predicted: Labels
    choice: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One measurement. `predict` runs only if its result is not cached.

    task, config, protocol, labels: as in `eval.json`. seed: of the labels drawn, None where nothing is drawn.
    settings: everything else that decides the result, besides encoder, data, config and seed. rival: True for a
    baseline, which does not use the encoder's weights.
    """

    task: str
    config: str
    protocol: str
    labels: int
    predict: Callable[[], Outcome]
    seed: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    rival: bool = False


@dataclass(frozen=True)
class Subset:
    """A subset of the training labels: its rows, its name in `config` and in words, and its seed."""

    rows: Labels
    config: str
    words: str
    seed: int


@dataclass(frozen=True)
class Task:
    """An encoder and a data set whose test labels are unknown."""

    encoder: Encoder
    data: DataSet
    cache: FeatureCache
    settings: Settings = field(default_factory=Settings)

    @staticmethod
    def blind(encoder: Encoder, data: DataSet, cache: FeatureCache, settings: Settings) -> Task:
        """The task on `data` with every test label taken away."""
        unknown = np.full(len(data.test), UNKNOWN, np.int64)
        return Task(encoder, replace(data, test=replace(data.test, labels=unknown)), cache, settings)

    @property
    def spec(self) -> ModelSpec:
        return self.encoder.spec

    @property
    def y(self) -> Labels:
        """The training labels, `[N]`."""
        return self.data.train.labels

    def features(self, kind: Kind = "pooled") -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Features of the training and of the test images."""
        return self.cache.of(self.data, "train", kind), self.cache.of(self.data, "test", kind)

    @cached_property
    def subsets(self) -> list[Subset]:
        """The label sets of every fraction and number a class, for every seed; each seed's are nested.

        All labels can be chosen in one way only, so that case comes with every seed but the same rows. Of fractions
        that come to the same labels, as 1 % and 2 % of some dozen images do, the first is here.
        """
        found: list[Subset] = []
        for seed in self.settings.seeds:
            of_seed: list[Subset] = []
            for share, rows in label_fractions(self.y, self.settings.fractions, seed).items():
                percent = f"{100 * share:g}"
                words = "all labels" if share == 1 else f"{percent} % of the labels of each class"
                of_seed.append(Subset(rows, f"{percent}pct".replace(".", "_"), words, seed))
            for n, rows in label_subsets(self.y, self.settings.per_class, seed).items():
                of_seed.append(Subset(rows, f"{n}shot", f"{n} labels a class", seed))
            first: dict[frozenset[int], Subset] = {}
            for each in of_seed:
                first.setdefault(frozenset(each.rows.tolist()), each)
            found += first.values()
        return found


Protocol: TypeAlias = Callable[[Task], list[Cell]]
