"""The training loop: a recipe in, a run folder out.

    run folder: recipe.json  metrics.jsonl  tensorboard/  checkpoints/last.safetensors  export/ (a publishable encoder)

Lightning Fabric supplies device, precision and DDP (CPU, one GPU, or several under `torchrun`); the loop is all here.
A step is a function of (seed, step, rank) and the state: the order of the pictures comes from (seed, epoch), the views
from (seed, step, rank). So there is no random state to save, and a killed run that goes on ends with the same bits.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn as nn
from lightning_fabric import Fabric
from timm.layers import convert_sync_batchnorm
from torch import Tensor

import cpchub.architectures  # noqa: F401  (registers our networks with timm)
from cpchub.errors import OtherRunError, RecipeError, RunError
from training import checkpoint, data, methods
from training.monitors import Metrics, knn_accuracy
from training.progress import ProgressLine
from training.recipes import Recipe
from training.run_folder import CHECKPOINT, claimed
from training.stopping import StopBetweenSteps


@dataclass(frozen=True)
class Result:
    """What a finished run leaves: the trained method and the last line of its metrics."""

    method: nn.Module
    metrics: dict[str, Any]


def train(
    recipe: Recipe,
    run_dir: Path,
    *,
    pictures: data.Pictures | None = None,
    accelerator: str = "auto",
    stop_after_steps: int | None = None,
) -> Result:
    """Train `recipe` in `run_dir`, going on from its last checkpoint if there is one.

    One device, or under `torchrun` one a process. `pictures` replaces the recipe's data set (already loaded).
    `stop_after_steps` ends this call early, with a checkpoint, as a time limit would. Raises `RecipeError` before any
    work for values that cannot work, `RunError` for a folder that holds another run or a loss that is no longer finite.
    """
    precision: Any = "bf16-mixed" if recipe.precision == "bf16" else "32-true"
    local_ranks, nodes = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"))
    fabric = Fabric(accelerator=accelerator, devices=local_ranks, num_nodes=nodes, precision=precision)
    fabric.launch()
    if pictures is None:
        pictures = data.load(recipe.data, size=recipe.stored_size)
    recipe.check(len(pictures), fabric.world_size, labelled=pictures.labels is not None)
    torch.manual_seed(recipe.seed)
    method: nn.Module = methods.build(recipe, build_backbone(recipe), len(pictures))
    with claimed(run_dir, recipe) if fabric.is_global_zero else nullcontext():
        return _run(recipe, run_dir, pictures, method, fabric, stop_after_steps)


def _run(
    recipe: Recipe,
    run_dir: Path,
    pictures: data.Pictures,
    method: nn.Module,
    fabric: Fabric,
    stop_after_steps: int | None,
) -> Result:
    """The steps from the last checkpoint on, in a folder that is ours."""
    # on the device first: an optimizer loads its state to where its parameters are
    method = method.to(fabric.device).to(memory_format=torch.channels_last)
    if fabric.world_size > 1 and fabric.device.type == "cuda" and getattr(method, "sync_batch_norm", True):
        method = convert_sync_batchnorm(method)
    optimizer = _optimizer(recipe, method)
    last = run_dir / CHECKPOINT
    seen = f"{len(pictures)} pictures, {pictures.digest()}"
    done = _resume(last, method, optimizer, seen)
    backbone = method.get_submodule("backbone")
    compiled: Any = torch.compile(method) if recipe.compile else method
    forward, optimizer = fabric.setup(compiled, optimizer)

    images = pictures.images.to(fabric.device)
    labels = None if pictures.labels is None else pictures.labels.to(fabric.device)
    mean = torch.tensor(recipe.mean, device=fabric.device).reshape(1, 3, 1, 1)
    std = torch.tensor(recipe.std, device=fabric.device).reshape(1, 3, 1, 1)
    steps_per_epoch = len(images) // recipe.batch_size  # the last, smaller batch waits for the next epoch's order
    total = stop = recipe.epochs * steps_per_epoch
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    cooldown = recipe.cooldown if recipe.schedule == "trapezoid" else None
    steps = recipe.steps if recipe.schedule == "steps" else None
    if stop_after_steps is not None:
        stop = min(total, done + stop_after_steps)
    metrics = Metrics(run_dir if fabric.is_global_zero else None, from_step=done)
    generator = torch.Generator(device=fabric.device)
    saved_at = started = time.monotonic()
    first = done
    line: dict[str, Any] = {}
    method.train()
    try:
        with StopBetweenSteps() as stopping, ProgressLine(recipe, total, done, fabric.is_global_zero) as advance:
            for step in range(done, stop):
                epoch = step // steps_per_epoch
                order = _order(len(images), _seed(recipe.seed, epoch, -1), fabric.device)
                mine = recipe.batch_size // fabric.world_size
                start = step % steps_per_epoch * recipe.batch_size + fabric.global_rank * mine
                rows = order[start : start + mine]
                seed = _seed(recipe.seed, step, fabric.global_rank)
                generator.manual_seed(seed)
                torch.manual_seed(seed)
                batch = images[rows]
                views = [recipe.views(batch, generator) for _ in range(recipe.n_views)]
                views = [((v - mean) / std).contiguous(memory_format=torch.channels_last) for v in views]
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr * schedule(step, total, warmup, cooldown, steps)

                loss, scalars = forward(views, indices=rows, labels=None if labels is None else labels[rows])
                optimizer.zero_grad()
                fabric.backward(loss)
                optimizer.step()
                done = step + 1

                end_of_epoch = done % steps_per_epoch == 0
                if step % 10 == 0 or not line or end_of_epoch or done == stop:
                    value = loss.item()
                    _check_finite(math.isfinite(value), f"the loss is {value}", step, last)
                    speed = (done - first) * recipe.batch_size / (time.monotonic() - started)
                    line = {"step": done, "epoch": done / steps_per_epoch, "loss": value}
                    line |= {"lr": optimizer.param_groups[0]["lr"], "images_per_second": round(speed, 1)}
                    line |= {k: v.item() for k, v in scalars.items()}
                if end_of_epoch:
                    due = recipe.knn_every and ((epoch + 1) % recipe.knn_every == 0 or done == total)
                    if due and pictures.labels is not None and fabric.is_global_zero:
                        line["knn_train"] = knn_accuracy(backbone, pictures, recipe, fabric.device)
                    metrics.write(line)
                advance(done, epoch, line)
                minutes = (time.monotonic() - saved_at) / 60
                if done == stop or stopping.asked or minutes >= recipe.checkpoint_minutes:
                    _check_finite(_all_finite(loss, method), "loss or weights are not finite", step, last)
                    if fabric.is_global_zero:
                        checkpoint.save(last, method, optimizer.optimizer, {"step": done, "pictures": seen})
                    saved_at = time.monotonic()
                if stopping.asked and done < total:
                    raise KeyboardInterrupt(f"stopped at step {done} of {total}, saved in {last}; to go on")
    finally:
        metrics.close()
    return Result(method, line)


def build_backbone(recipe: Recipe) -> nn.Module:
    """The recipe's timm network without a classifier, freshly initialised."""
    try:
        return timm.create_model(recipe.backbone, num_classes=0, **dict(recipe.backbone_args))
    except (RuntimeError, TypeError) as e:
        args = dict(recipe.backbone_args)
        raise RecipeError(f"timm cannot build backbone={recipe.backbone!r} with {args}: {e}") from e


def schedule(
    step: int,
    total: int,
    warmup: int,
    cooldown: float | None = None,
    steps: Sequence[tuple[float, float]] | None = None,
) -> float:
    """The share of the learning rate at `step`: linear warm-up over `warmup` steps, then half a cosine down to 0.

    (arXiv 1608.03983, no restarts.) With `cooldown`, a trapezoid instead: constant until the last `cooldown` share of
    the run, then linear down to 0 (arXiv 2405.18392). With `steps`, pairs of a share of the run and the share of the
    rate from there on, 1 before the first.
    """
    if step < warmup:
        return (step + 1) / warmup
    if cooldown is not None:
        return min(1.0, (total - step) / (cooldown * total))
    if steps is not None:
        return next((share for since, share in reversed(steps) if step >= since * total), 1.0)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def _optimizer(recipe: Recipe, method: nn.Module) -> torch.optim.Optimizer:
    """Weight decay on matrices and kernels only: norms and biases are left alone."""
    trained = [p for p in method.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _resume(last: Path, method: nn.Module, optimizer: torch.optim.Optimizer, seen: str) -> int:
    """Restore the checkpoint, if there is one, and return how many steps it holds."""
    if not last.exists():
        return 0
    progress = checkpoint.load(last, method, optimizer)
    if progress["pictures"] != seen:
        raise OtherRunError(f"{last} was trained on {progress['pictures']}, now there are {seen}: choose another --out")
    return int(progress["step"])


def _all_finite(loss: Tensor, method: nn.Module) -> bool:
    return bool(loss.isfinite()) and all(bool(p.isfinite().all()) for p in method.parameters())


def _check_finite(fine: bool, what: str, step: int, last: Path) -> None:
    """Stop a run that has diverged before its state can replace the last good one."""
    if not fine:
        raise RunError(
            f"{what} at step {step}; the last good state, if any, is {last}. "
            "Lower --lr, raise --warmup-epochs, or use --precision fp32, in a new run folder"
        )


@lru_cache(maxsize=1)
def _order(n: int, seed: int, device: torch.device) -> Tensor:
    """The order in which an epoch takes the pictures, the same on every rank and device; kept until the next epoch."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(device)


def _seed(seed: int, a: int, b: int) -> int:
    """One 63-bit seed from three numbers, well mixed (splitmix64), so that neighbouring steps share nothing."""
    x = (seed * 0x9E3779B97F4A7C15 + a * 0xBF58476D1CE4E5B9 + (b + 2) * 0x94D049BB133111EB) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return (x ^ (x >> 31)) >> 1
