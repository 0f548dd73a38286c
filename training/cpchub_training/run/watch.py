"""Reports of a run in progress: metrics after each step, measurements of the features, advice, and the progress
bar."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from cpchub_training.data.batches import Batch
from cpchub_training.data.streaming import Stream
from cpchub_training.losses.ranks import mean_over_ranks
from cpchub_training.run.advice import Advice
from cpchub_training.run.monitors import Metrics, measure_features
from cpchub_training.run.progress import ProgressLine
from cpchub_training.run.training_run import TrainingRun


class Watch:
    """A context manager around the steps of a run, up to step `stop`. `line` is the last line of the metrics."""

    def __init__(self, run: TrainingRun, stop: int) -> None:
        self.run, self.stop = run, stop
        first_rank = run.fabric.is_global_zero
        self.metrics = Metrics(run.run_dir if first_rank else None, from_step=run.done)
        self.advice = Advice(run.recipe, len(run.images), run.plan.steps_per_epoch, run.method)
        self.progress = ProgressLine(run.recipe, run.total, run.done, first_rank)
        self.line: dict[str, Any] = {}
        self._first, self._started = run.done, time.monotonic()

    def __enter__(self) -> Watch:
        self.progress.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.progress.__exit__(*exc)
        self.metrics.close()

    def after_step(self, batch: Batch, loss: Tensor, scalars: dict[str, Tensor]) -> None:
        """Call it after each step. The loss is read every tenth step only, because reading it waits for the GPU."""
        run = self.run
        end_of_epoch = run.done % run.plan.steps_per_epoch == 0
        if batch.step % 10 == 0 or not self.line or end_of_epoch or run.done == self.stop:
            self.line = self._measured(loss, scalars)
        if end_of_epoch:
            self._end_epoch(batch.epoch + 1, loss)
        self.progress.advance(run.done, batch.epoch, self.line)

    def _measured(self, loss: Tensor, scalars: dict[str, Tensor]) -> dict[str, Any]:
        run = self.run
        over_ranks = mean_over_ranks(torch.stack([loss.float(), *(scalar.float() for scalar in scalars.values())]))
        value, *values = over_ranks.tolist()
        run.check_finite(math.isfinite(value), f"the loss is {value}")
        kept = {"kept": run.images.share_kept} if isinstance(run.images, Stream) else {}
        speed = (run.done - self._first) * run.recipe.batch_size / (time.monotonic() - self._started)
        return {
            "step": run.done,
            "epoch": run.done / run.plan.steps_per_epoch,
            "loss": value,
            "lr": run.optimizer.param_groups[0]["lr"],
            "images_per_second": round(speed, 1),
            **dict(zip(scalars, values, strict=True)),
            **kept,
        }

    def _end_epoch(self, epochs: int, loss: Tensor) -> None:
        run = self.run
        due = run.recipe.knn_every and (epochs % run.recipe.knn_every == 0 or run.done == run.total)
        if due and run.sharded:
            run.save(loss, wait=True)  # which makes the encoder whole
        if due and run.fabric.is_global_zero:
            self.line |= measure_features(run.whole()[1].to(run.device), run.images, run.recipe, run.device)
        self.metrics.write(self.line)
        for sentence in self.advice.about(self.line):
            self.progress.say(sentence)
        # the speed is measured per epoch, without compilation and without these measurements
        self._first, self._started = run.done, time.monotonic()
