"""Protocols that train a whole network on few labels: the fine-tuned encoder, and the baseline from scratch.

The baseline is the same architecture with new weights, trained on the same labels. Its schedule grows with the number
of labels, and its accuracy is that of the last step. The defaults did best within some minutes on two CPU cores, on
held-out training images of CIFAR-10 at 5,000 labels. A longer training is better: use `--scratch-images` if you have
a GPU. The number of labels saved is relative to this budget.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch

from cpchub.encoders.load import load
from cpchub.fewlabels import FineTunedEncoder
from cpchub.fewlabels.network_training import Schedule, flip_and_shift, predict_proba, train
from cpchub_training.evaluate.task import Cell, Outcome, Subset, Task
from cpchub_training.views.settings import Views

PERCENT = 0.01


@dataclass(frozen=True)
class ScratchBaseline:
    """Training of the baseline: on mirrored and slightly shifted images of `side` times the encoder's input."""

    images: int = 20_000  # seen at one label in a hundred
    growth: float = 0.35  # exponent in the labels
    batch_size: int = 32
    lr: float = 2e-3
    weight_decay: float = 0.05
    side: float = 0.5  # a smaller image allows more steps in the same time

    def plan(self, labels: int, all_labels: int) -> Schedule:
        """The schedule for so many labels."""
        seen = self.images * (labels / (PERCENT * all_labels)) ** self.growth
        return Schedule(max(1, round(seen / self.batch_size)), self.batch_size, self.lr, self.weight_decay, warmup=0.1)


def from_scratch_cells(task: Task) -> list[Cell]:
    """The same network from new weights."""
    rival = ScratchBaseline(images=task.settings.scratch_images)

    def cell(subset: Subset) -> Cell:
        plan = rival.plan(len(subset.rows), len(task.y))
        protocol = (
            f"{task.spec.architecture} trained from scratch, {subset.words}, {plan.steps:,} steps of "
            f"{plan.batch_size}, AdamW at {plan.lr:g}, last step"
        )
        return Cell(
            "low-label",
            f"scratch_{subset.config}",
            protocol,
            len(subset.rows),
            lambda: Outcome(train_and_predict(task, subset, rival, plan)),
            subset.seed,
            asdict(rival),
            rival=True,
        )

    return [cell(subset) for subset in task.subsets]


def train_and_predict(task: Task, subset: Subset, rival: ScratchBaseline, plan: Schedule) -> np.ndarray:
    """Train on the subset, then predict every test image once."""
    spec = task.spec
    height, width = spec.input_size[1:]
    side = (_whole(height * rival.side), _whole(width * rival.side))
    torch.manual_seed(subset.seed)
    encoder = load(spec.folder or spec.name, pretrained=False, device=task.encoder.device)
    backbone = encoder.model.to(memory_format=torch.channels_last)
    head = torch.nn.Linear(encoder.dim, len(task.data.classes), device=encoder.device)
    images = _tensor(task.data.train.arrays(subset.rows, side=height)).to(encoder.device)
    train(
        backbone,
        head,
        images,
        torch.from_numpy(task.y[subset.rows]).to(encoder.device),
        plan,
        views=flip_and_shift(side[0]),
        mean=spec.mean,
        std=spec.std,
        seed=subset.seed,
    )
    tests = _tensor(task.data.test.arrays(side=height))
    return predict_proba(backbone, head, tests, side=side, mean=spec.mean, std=spec.std).argmax(axis=1)


def fine_tuned(task: Task) -> list[Cell]:
    """The encoder with a linear classifier, all of it trained on few labelled images."""
    steps, side = task.settings.finetune_steps, task.spec.input_size[1]
    views = Views(size=side, crop_scale=(0.5, 1.0), jitter_p=0, grey_p=0)

    def predict(subset: Subset) -> Outcome:
        estimator = FineTunedEncoder(task.encoder, steps=steps, views=views, random_state=subset.seed)
        estimator.fit(task.data.train.arrays(subset.rows, side=side), task.y[subset.rows])
        return Outcome(np.asarray(estimator.predict(task.data.test.arrays(side=side)), np.int64))

    def cell(subset: Subset) -> Cell:
        protocol = f"whole encoder fine-tuned, {subset.words}, {steps} steps, last step"
        config = f"lowshot_{subset.config}_finetune"
        return Cell(
            "low-label", config, protocol, len(subset.rows), lambda: predict(subset), subset.seed, {"steps": steps}
        )

    return [cell(subset) for subset in task.subsets]


def _tensor(arrays: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(arrays.transpose(0, 3, 1, 2)))


def _whole(side: float) -> int:
    """A side in whole pixels, a multiple of 8 where that is near."""
    return max(8, 8 * round(side / 8)) if side >= 16 else math.ceil(side)
