"""The state of a run (method, optimiser, steps done), one step of it, and its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributed.tensor import DTensor

from cpchub.encoders.fast.quick_conv import use_fast_weight_gradients
from cpchub.errors import OtherRunError, RunError
from cpchub_training import data, methods
from cpchub_training.data.batches import Batch, Batches
from cpchub_training.losses.ranks import mean_over_ranks
from cpchub_training.methods import Method
from cpchub_training.methods.semi_supervised import UNLABELLED
from cpchub_training.recipes import Recipe
from cpchub_training.run import checkpoint, optimizers, ranks
from cpchub_training.run.average import WeightAverage
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.batch_norms import synchronised
from cpchub_training.run.run_folder import CHECKPOINT
from cpchub_training.run.saved_run import build_method, facts_of
from cpchub_training.run.sharding import local
from cpchub_training.views.on_device import to_device


class TrainingRun:
    """A run of `recipe` in `run_dir`, at the step of its last checkpoint.

    `method` is moved to the device. `kept` is the encoder that is exported: the averaged one where the recipe averages.
    """

    def __init__(self, recipe: Recipe, run_dir: Path, images: data.TrainingSet, method: Method, fabric: Fabric) -> None:
        self.recipe, self.run_dir, self.images, self.fabric = recipe, run_dir, images, fabric
        self.device = fabric.device
        self.last = run_dir / CHECKPOINT
        self.sharded = recipe.fsdp and fabric.world_size > 1
        # to the device first: an optimizer loads its state onto the device of its parameters
        self.method = method.to(self.device)
        if not self.sharded:  # FSDP takes tensors of torch's own layout only
            self.method.to(memory_format=torch.channels_last)
        use_fast_weight_gradients(self.method)
        if fabric.world_size > 1:
            self.method = synchronised(self.method, self.device)
        self.backbone = self.method.get_submodule("backbone")
        self.average = WeightAverage(self.backbone, recipe.ema_decay) if recipe.ema_decay else None
        self.kept: nn.Module = self.average.network if self.average else self.backbone
        self.state: dict[str, nn.Module] = {"method": self.method}
        if self.average:
            self.state["average"] = self.average
        self.seen = f"{len(images)} images, {images.digest()}"
        self.done = self._resume()
        compiled: Any = torch.compile(self.method) if recipe.compile else self.method
        self.forward = fabric.setup(compiled)
        if self.sharded and self.average:
            fabric.setup(self.average.network)
        optimizer = optimizers.build(recipe, self.method)
        if self.done:
            checkpoint.load_optimizer(self.last, optimizer)
        self.optimizer = fabric.setup_optimizers(optimizer)
        self.labels, labelled = self._labels()
        self.plan = Batches(recipe, len(images), fabric.global_rank, fabric.world_size, labelled, images.shards)
        self.total = self.plan.total
        self._saved_at = time.monotonic()
        self.method.train()

    def step(self, batch: Batch, views: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Take one optimiser step. Returns the mean loss of the batch and the scalars of its last part."""
        rows = to_device(batch.rows, self.device)
        labels = None if self.labels is None else to_device(self.labels[batch.rows], self.device)
        torch.manual_seed(batch.seed)
        for group in self.optimizer.param_groups:
            group["lr"] = optimizers.rate(self.recipe, batch.step, self.plan.steps_per_epoch)

        self.optimizer.zero_grad()
        losses: list[Tensor] = []
        scalars: dict[str, Tensor] = {}
        parts = min(self.recipe.accumulate, len(rows))
        for i in range(parts):
            mine = slice(i * len(rows) // parts, (i + 1) * len(rows) // parts)
            with self.fabric.no_backward_sync(self.forward, enabled=i < parts - 1):
                part_labels = None if labels is None else labels[mine]
                loss, scalars = self.forward([v[mine] for v in views], indices=rows[mine], labels=part_labels)
                self.fabric.backward(loss / parts)
            losses.append(loss.detach())
        if self.recipe.clip_norm:
            norm = self.fabric.clip_gradients(
                self.forward, self.optimizer, max_norm=self.recipe.clip_norm, error_if_nonfinite=False
            )
            scalars["gradient_norm"] = norm.full_tensor() if isinstance(norm, DTensor) else norm
        self.optimizer.step()
        if self.average:
            self.average.update(self.backbone)
        self.done = batch.step + 1
        return torch.stack(losses).mean(), scalars

    def save(self, loss: Tensor, *, wait: bool) -> None:
        """Write the checkpoint. `wait`: no rank continues before rank 0 has written it, because it may be read next.

        Raises `RunError` where the loss or a weight is not finite; the last good checkpoint stays.
        """
        finite = bool(loss.isfinite()) and all(bool(local(p).isfinite().all()) for p in self.method.parameters())
        on_all = mean_over_ranks(torch.tensor(float(finite), device=self.device)) == 1
        self.check_finite(bool(on_all), "loss or weights are not finite")
        done = {"step": self.done, "pictures": self.seen}
        first = self.fabric.is_global_zero
        content = checkpoint.collected(self.state, self.optimizer.optimizer, done) if first or self.sharded else None
        with ranks.first_writes(f"the checkpoint {self.last}") if wait else nullcontext():
            if first and content:
                checkpoint.write(self.last, *content)
        self._saved_at = time.monotonic()

    def whole(self) -> tuple[Method, nn.Module]:
        """The method and the encoder to keep, of whole tensors: of a sharded run, as its last checkpoint has them."""
        if not self.sharded or not self.fabric.is_global_zero:
            return self.method, self.kept
        method = build_method(self.recipe, build_backbone(self.recipe), facts_of(self.images))
        checkpoint.load(self.last, {"method": method})
        if not self.average:
            return method, method.get_submodule("backbone")
        average = WeightAverage(method.get_submodule("backbone"), self.recipe.ema_decay)
        checkpoint.load(self.last, {"average": average})
        return method, average.network

    def minutes_since_checkpoint(self) -> float:
        """Minutes since the last checkpoint, or since the start."""
        return (time.monotonic() - self._saved_at) / 60

    def check_finite(self, fine: bool, what: str) -> None:
        """Raise `RunError` for a diverged run, before its state replaces the last good checkpoint."""
        if not fine:
            raise RunError(
                f"{what} at step {self.done - 1}; the last good state, if any, is {self.last}. "
                "Lower --lr, raise --warmup-epochs, or use --precision fp32, in a new run folder"
            )

    def _resume(self) -> int:
        """Restore the modules of the checkpoint, if there is one, and return how many steps it holds."""
        done = 0
        if self.last.exists():
            progress = checkpoint.load(self.last, self.state)
            seen = progress["pictures"].replace(" pictures,", " images,")  # the word of 0.1.0
            if seen != self.seen:
                raise OtherRunError(
                    f"{self.last} was trained on {seen}, now there are {self.seen}: choose another --out"
                )
            done = int(progress["step"])
        ranks.check_same_on_all_ranks(
            f"the run folder {self.run_dir}",
            f"{done} steps done there, on {self.seen}",
            "all machines must share the disk of the run folder, and have the same images",
        )
        return done

    def _labels(self) -> tuple[Tensor | None, Tensor | None]:
        """The labels `[N]` that the method may see, and the labelled rows if only some have a label."""
        labels = self.images.labels
        if labels is None or methods.get(self.recipe.method).labels != "some":
            return labels, None
        from cpchub.fewlabels import label_fractions  # here, since scikit-learn takes a second to import

        share = self.recipe.semi.label_fraction
        rows = torch.from_numpy(label_fractions(labels.numpy(), [share], self.recipe.seed)[share])
        return torch.full_like(labels, UNLABELLED).index_copy(0, rows, labels[rows]), rows
