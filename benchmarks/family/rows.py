"""One row of the table: choose the settings of a method, train it, and measure it by the offline protocols."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from benchmarks.family.settings import BATCH, UNTRAINED, recipe_of
from benchmarks.photos_choice import Limited
from cpchub.common.files import write_json
from cpchub.encoders.load import load
from cpchub.fewlabels.knn import knn
from cpchub_training import data
from cpchub_training.evaluate import Settings, evaluate
from cpchub_training.evaluate.datasets import DataSet, Part
from cpchub_training.evaluate.features import FeatureCache
from cpchub_training.jobs.pretrain import FRACTIONS, export_run
from cpchub_training.jobs.suite_table import COLUMNS
from cpchub_training.recipes import Recipe
from cpchub_training.run import checkpoint
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.features import features
from cpchub_training.run.loop import Result, train
from cpchub_training.run.run_folder import CHECKPOINT

SLICE_SECONDS = 180  # of training between two checkpoints: what a kill can cost
CLOCK = "processor.json"


@dataclass(frozen=True)
class Pool:
    """The images: `train` is learned from, `held_out` chooses the settings, `test` is looked at once, at the end."""

    name: str
    images: int

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.random.default_rng(0).permutation(len(self._all))

    @cached_property
    def _all(self) -> data.Images:
        return data.load(self.name)

    @cached_property
    def train(self) -> data.Images:
        return self._all.subset(self._rows[: self.images])

    @cached_property
    def held_out(self) -> data.Images:
        return self._all.subset(self._rows[self.images : self.images + max(64, self.images // 4)])

    @cached_property
    def test(self) -> data.Images:
        return data.load(self.name, split="test")

    @property
    def labelled(self) -> DataSet:
        """The part that is learned from and the test part, as the protocols take them."""
        return DataSet(self.name, self.train.classes, _part(self.train), _part(self.test))


def tried(method: str, setting: Mapping[str, Any], pool: Pool, minutes: float) -> dict[str, Any]:
    """A run of some processor minutes with one setting: kNN of the held-out images, and how many images a second."""
    recipe, limited = recipe_of(method, setting), Limited(pool.train, 60 * minutes)
    started = time.process_time()
    with TemporaryDirectory() as folder:
        result = train(recipe, Path(folder) / "run", images=limited)
    seconds = time.process_time() - started
    x, q = (_features(result.backbone, each, recipe) for each in (pool.train, pool.held_out))
    k = min(200, len(pool.train))
    found = knn(x, pool.train.class_of_each(), q, [k])[k]
    return {
        "method": method,
        "setting": dict(setting),
        "knn_held_out": round(float(np.mean(found == pool.held_out.class_of_each())), 4),
        "images_per_second": round(limited.batches * BATCH / seconds, 2),
        "processor_minutes": round(seconds / 60, 2),
    }


def measured(
    method: str, seed: int, choice: Mapping[str, Any], pool: Pool, minutes: float, work: Path
) -> dict[str, Any]:
    """A run of its whole length with the chosen setting, and the four measurements of its final epoch.

    It goes on from the last slice of an earlier call. The number of steps follows from the rate of the choice, so it is
    the same for every seed.
    """
    recipe = recipe_of(method, choice.get("setting", {}), seed)
    if method == UNTRAINED:
        torch.manual_seed(seed)
        backbone, steps, seconds = build_backbone(recipe), 0, 0.0
    else:
        steps = max(1, round(60 * minutes * choice["images_per_second"] / BATCH))
        result, seconds = _trained(recipe, pool, steps, choice["images_per_second"], work / f"{method}-{seed}")
        backbone = result.backbone
    row: dict[str, Any] = {"method": method, "seed": seed, "setting": dict(choice.get("setting", {})), "steps": steps}
    row |= {"images_seen": steps * BATCH, "processor_minutes": round(seconds / 60, 2)}
    return row | _accuracies(recipe, backbone, pool)


def _trained(recipe: Recipe, pool: Pool, steps: int, rate: float, folder: Path) -> tuple[Result, float]:
    """The run after `steps` steps, slice by slice, and its processor seconds."""
    slice_ = max(1, round(SLICE_SECONDS * rate / BATCH))
    done, seconds = _clock(folder, rate)
    while True:
        started = time.process_time()
        result = train(recipe, folder, images=pool.train, stop_after_steps=min(slice_, steps - done))
        done += result.steps
        seconds += time.process_time() - started
        write_json(folder / CLOCK, {"step": done, "seconds": seconds})
        if done >= steps:
            return result, seconds


def _clock(folder: Path, rate: float) -> tuple[int, float]:
    """Steps done and processor seconds so far; of steps whose time was not noted, by the rate."""
    last, note = folder / CHECKPOINT, folder / CLOCK
    done = int(checkpoint.progress(last)["step"]) if last.is_file() else 0
    known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {"step": 0, "seconds": 0.0}
    return done, float(known["seconds"]) + (done - int(known["step"])) * BATCH / rate


def _accuracies(recipe: Recipe, backbone: nn.Module, pool: Pool) -> dict[str, float]:
    with TemporaryDirectory() as scratch:
        named = replace(recipe, data=f"{pool.name} slice")
        folder = export_run(named, backbone, Path(scratch) / "encoder", len(pool.train))
        encoder = load(str(folder), device="cpu")
        cache = FeatureCache(encoder, Path(scratch) / "cache")
        rows = evaluate(encoder, pool.labelled, settings=Settings(fractions=FRACTIONS), cache=cache)["results"]
    by_config = {row["config"]: row["value"] for row in rows}
    return {column: by_config[config] for column, config in COLUMNS.items() if config in by_config}


def _features(backbone: nn.Module, images: data.Images, recipe: Recipe) -> np.ndarray:
    return features(backbone, images.images, recipe, torch.device("cpu"))


def _part(images: data.Images) -> Part:
    return Part(list(images.images.permute(0, 2, 3, 1).numpy()), images.class_of_each(), images.digest())
