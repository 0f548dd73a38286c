"""The training loop: a recipe in, a run folder out.

    run folder: recipe.json  metrics.jsonl  tensorboard/  checkpoints/last.safetensors  export/ (a publishable encoder)

Lightning Fabric supplies device, precision and DDP (CPU, one GPU, or several under `torchrun`); the loop is all here.
A step is a function of (seed, step, rank) and the state: the order of the pictures comes from (seed, epoch), the views
from (seed, step, rank). So there is no random state to save, and a killed run that goes on ends with the same bits.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn as nn
from lightning_fabric import Fabric
from torch import Tensor

import cpchub.architectures  # noqa: F401  (registers our networks with timm)
from cpchub.errors import RecipeError, RunError
from training import checkpoint, data, methods
from training.monitors import Metrics, knn_accuracy
from training.progress import ProgressLine
from training.recipes import Recipe
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
    precision: Any = {"fp32": "32-true", "bf16": "bf16-mixed"}[recipe.precision]
    local_ranks, nodes = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"))
    fabric = Fabric(accelerator=accelerator, devices=local_ranks, num_nodes=nodes, precision=precision)
    fabric.launch()
    if pictures is None:
        pictures = data.load(recipe.data, size=recipe.stored_size)
    recipe.check(len(pictures), fabric.world_size, labelled=pictures.labels is not None)
    torch.manual_seed(recipe.seed)
    method: nn.Module = methods.build(recipe, build_backbone(recipe), len(pictures))
    if fabric.is_global_zero:
        _claim(run_dir, recipe)

    method = method.to(memory_format=torch.channels_last)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        method = nn.SyncBatchNorm.convert_sync_batchnorm(method)
    optimizer = _optimizer(recipe, method)
    last = run_dir / "checkpoints" / "last.safetensors"
    done = checkpoint.load(last, method, optimizer)["step"] if last.exists() else 0
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
                rows = _rows(recipe, len(images), step, steps_per_epoch, fabric.global_rank, fabric.world_size)
                rows = rows.to(fabric.device)
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
                    if not math.isfinite(value):
                        raise RunError(
                            f"the loss is {value} at step {step} of {recipe.name}; the last good state is {last}. "
                            "Lower --lr, raise --warmup-epochs, or use --precision fp32, in a new run folder"
                        )
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
                    if fabric.is_global_zero:
                        checkpoint.save(last, method, optimizer.optimizer, {"step": done})
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


def _rows(recipe: Recipe, n: int, step: int, steps_per_epoch: int, rank: int, world: int) -> Tensor:
    """Which pictures this rank sees at `step`: its part of the batch, in the order drawn for the epoch."""
    epoch, i = divmod(step, steps_per_epoch)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_seed(recipe.seed, epoch, -1)))
    mine = recipe.batch_size // world
    start = i * recipe.batch_size + rank * mine
    return order[start : start + mine]


def _seed(seed: int, a: int, b: int) -> int:
    """One 63-bit seed from three numbers, well mixed (splitmix64), so that neighbouring steps share nothing."""
    x = (seed * 0x9E3779B97F4A7C15 + a * 0xBF58476D1CE4E5B9 + (b + 2) * 0x94D049BB133111EB) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return (x ^ (x >> 31)) >> 1


def _claim(run_dir: Path, recipe: Recipe) -> None:
    """Make `run_dir` this recipe's, or refuse it when it holds another one."""
    path = run_dir / "recipe.json"
    if path.exists():
        theirs = Recipe.from_dict(json.loads(path.read_text()))
        if theirs != recipe:
            mine, other = recipe.to_dict(), theirs.to_dict()
            changed = ", ".join(f"{k}: {other[k]!r} there, {mine[k]!r} here" for k in mine if mine[k] != other[k])
            raise RunError(f"{run_dir} holds a run of another recipe ({changed}); choose another --out")
    elif run_dir.exists() and any(run_dir.iterdir()):
        raise RunError(f"{run_dir} exists and is not a run folder; choose another --out")
    run_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recipe.to_dict(), indent=2) + "\n")
