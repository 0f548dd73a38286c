"""The training loop: a recipe in, a run folder out.

    run folder: recipe.json  metrics.jsonl  tensorboard/  checkpoints/last.safetensors  export/ (a publishable encoder)

Lightning Fabric supplies device, precision and DDP (CPU, one GPU, or several under `torchrun`); the loop is all here.
A step is a function of (seed, step, rank) and the state: the order of the pictures comes from (seed, epoch), the views
from (seed, step, rank). So there is no random state to save, and a killed run that goes on ends with the same bits
(on a GPU up to rounding: sums have no fixed order there).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn
from lightning_fabric import Fabric
from timm.layers import convert_sync_batchnorm
from torch import Tensor

from cpchub.errors import CpchubError, OtherRunError, RunError
from cpchub.fewlabels import label_fractions
from cpchub.weight_gradient import quicken
from training import checkpoint, data, methods, optimizers, ranks
from training.advice import Advice
from training.average import WeightAverage
from training.backbone import build_backbone, start_from
from training.batches import Plan
from training.losses.ranks import rank, world_size
from training.methods import DataFacts, Method
from training.methods.semi_supervised import UNLABELLED
from training.monitors import Metrics, look
from training.progress import ProgressLine
from training.recipes import Recipe
from training.run_folder import CHECKPOINT, claimed
from training.saved_run import build_method
from training.stopping import StopBetweenSteps
from training.streaming import open_data


@dataclass(frozen=True)
class Result:
    """What a finished run leaves: the trained method, the encoder to keep, the last line of its metrics, and on how
    many pictures it was trained.
    """

    method: Method
    backbone: nn.Module
    metrics: dict[str, Any]
    pictures: int


def train(
    recipe: Recipe,
    run_dir: Path,
    *,
    pictures: data.Source | None = None,
    accelerator: str = "auto",
    stop_after_steps: int | None = None,
) -> Result:
    """Train `recipe` in `run_dir`, going on from its last checkpoint if there is one.

    One device, or under `torchrun` one a process. `pictures` replaces the recipe's data set (already loaded).
    `stop_after_steps` ends this call early, with a checkpoint, as a time limit would. Raises `RecipeError` before any
    work for values that cannot work, `RunError` for a folder that holds another run, a loss that is no longer finite,
    or a rank that is gone.
    """
    fabric = ranks.launch(accelerator, recipe.precision)
    torch.backends.cudnn.benchmark = True  # the shapes of all steps are equal: look for the fastest convolutions once
    with ExitStack() as held, _failures_named(run_dir):
        with ranks.first_writes(f"the run folder {run_dir}") as mine:
            if pictures is None:
                pictures = open_data(recipe, methods.check)
            methods.check(recipe, len(pictures), pictures.labels is not None, fabric.world_size)
            method = _method(recipe, pictures)
            if mine:
                steps = Plan(recipe, len(pictures), 0, fabric.world_size).steps_per_epoch
                held.enter_context(claimed(run_dir, recipe, steps))
        return _run(recipe, run_dir, pictures, method, fabric, stop_after_steps)


def _method(recipe: Recipe, pictures: data.Source) -> Method:
    """The recipe's method around its network, the same on every rank."""
    torch.manual_seed(recipe.seed)
    backbone = build_backbone(recipe)
    if recipe.init_from:
        start_from(recipe, backbone)
    n_classes = 0 if pictures.labels is None else int(pictures.labels.max()) + 1
    return build_method(recipe, backbone, DataFacts(len(pictures), n_classes))


def _run(
    recipe: Recipe,
    run_dir: Path,
    pictures: data.Source,
    method: Method,
    fabric: Fabric,
    stop_after_steps: int | None,
) -> Result:
    """The steps from the last checkpoint on, in a folder that is ours."""
    # on the device first: an optimizer loads its state to where its parameters are
    method = method.to(fabric.device).to(memory_format=torch.channels_last)
    quicken(method)
    if fabric.world_size > 1 and fabric.device.type == "cuda" and method.sync_batch_norm:
        method = convert_sync_batchnorm(method)
    backbone = method.get_submodule("backbone")
    optimizer = optimizers.build(recipe, method)
    average = WeightAverage(backbone, recipe.ema_decay) if recipe.ema_decay else None
    state = {"method": method} | ({"average": average} if average else {})
    last = run_dir / CHECKPOINT
    seen = f"{len(pictures)} pictures, {pictures.digest()}"
    done = first = _resume(last, state, optimizer, seen)
    ranks.check_alike(
        f"the run folder {run_dir}",
        f"{done} steps done there, on {seen}",
        "all machines must share the disk of the run folder, and have the same pictures",
    )
    kept = average.network if average else backbone
    compiled: Any = torch.compile(method) if recipe.compile else method
    forward, optimizer = fabric.setup(compiled, optimizer)

    taught, labelled = pictures.labels, None
    if methods.get(recipe.method).labels == "some" and taught is not None:
        share = recipe.semi.label_fraction
        labelled = torch.from_numpy(label_fractions(taught.numpy(), [share], recipe.seed)[share])
        taught = torch.full_like(taught, UNLABELLED).index_copy(0, labelled, taught[labelled])
    plan = Plan(recipe, len(pictures), fabric.global_rank, fabric.world_size, labelled)
    total = stop = recipe.epochs * plan.steps_per_epoch
    if stop_after_steps is not None:
        stop = min(total, done + stop_after_steps)
    metrics = Metrics(run_dir if fabric.is_global_zero else None, from_step=done)
    advice = Advice(recipe, len(pictures), plan.steps_per_epoch, method)
    saved_at = started = time.monotonic()
    line: dict[str, Any] = {}
    method.train()
    try:
        with StopBetweenSteps() as stopping, ProgressLine(recipe, total, done, fabric.is_global_zero) as progress:
            for batch, views in pictures.views(plan.batches(done, stop), recipe, fabric.device):
                step, rows = batch.step, data.sent(batch.rows, fabric.device)
                labels = None if taught is None else data.sent(taught[batch.rows], fabric.device)
                torch.manual_seed(batch.seed)
                for group in optimizer.param_groups:
                    group["lr"] = optimizers.rate(recipe, step, plan.steps_per_epoch)

                optimizer.zero_grad()
                losses, scalars = [], {}
                parts = min(recipe.accumulate, len(rows))
                for i in range(parts):
                    mine = slice(i * len(rows) // parts, (i + 1) * len(rows) // parts)
                    with fabric.no_backward_sync(forward, enabled=i < parts - 1):
                        part_labels = None if labels is None else labels[mine]
                        loss, scalars = forward([v[mine] for v in views], indices=rows[mine], labels=part_labels)
                        fabric.backward(loss / parts)
                    losses.append(loss.detach())
                if recipe.clip_norm:
                    norm = fabric.clip_gradients(
                        forward, optimizer, max_norm=recipe.clip_norm, error_if_nonfinite=False
                    )
                    scalars |= {"gradient_norm": norm}
                optimizer.step()
                if average:
                    average.update(backbone)
                done = step + 1

                loss = torch.stack(losses).mean()
                end_of_epoch = done % plan.steps_per_epoch == 0
                if step % 10 == 0 or not line or end_of_epoch or done == stop:
                    value = loss.item()
                    _check_finite(math.isfinite(value), f"the loss is {value}", step, last)
                    speed = (done - first) * recipe.batch_size / (time.monotonic() - started)
                    line = {"step": done, "epoch": done / plan.steps_per_epoch, "loss": value}
                    line |= {"lr": optimizer.param_groups[0]["lr"], "images_per_second": round(speed, 1)}
                    line |= {k: float(v) for k, v in scalars.items()}
                if end_of_epoch:
                    due = recipe.knn_every and ((batch.epoch + 1) % recipe.knn_every == 0 or done == total)
                    if due and fabric.is_global_zero:
                        line |= look(kept, pictures, recipe, fabric.device)
                    metrics.write(line)
                    for sentence in advice.about(line):
                        progress.say(sentence)
                    first, started = done, time.monotonic()  # the speed is an epoch's, without compiling and looking
                progress.advance(done, batch.epoch, line)
                minutes = (time.monotonic() - saved_at) / 60
                asked = _agreed(stopping.asked, step, fabric.device)
                if done == stop or asked or minutes >= recipe.checkpoint_minutes:
                    # only the last one is waited for: it may be read next; for those on the way each clock has its time
                    end = done == stop or asked
                    with ranks.first_writes(f"the checkpoint {last}") if end else nullcontext():
                        _check_finite(_all_finite(loss, method), "loss or weights are not finite", step, last)
                        if fabric.is_global_zero:
                            checkpoint.save(last, state, optimizer.optimizer, {"step": done, "pictures": seen})
                    saved_at = time.monotonic()
                if asked and done < total:
                    raise KeyboardInterrupt(f"stopped at step {done} of {total}, saved in {last}; to go on")
    finally:
        metrics.close()
    return Result(method, kept, line, len(pictures))


def _resume(last: Path, state: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, seen: str) -> int:
    """Restore the checkpoint, if there is one, and return how many steps it holds."""
    if not last.exists():
        return 0
    progress = checkpoint.load(last, state, optimizer)
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


def _agreed(asked: bool, step: int, device: torch.device) -> bool:
    """Whether any rank was told to stop: all stop after the same step. Ranks ask one another every tenth step."""
    if world_size() == 1:
        return asked
    if step % 10:
        return False
    votes = torch.tensor(int(asked), device=device)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return bool(votes)


@contextmanager
def _failures_named(run_dir: Path) -> Iterator[None]:
    """Turns what a compiler says, or the collectives when another rank is gone, into a sentence with the way out."""
    try:
        yield
    except CpchubError:
        raise
    except RuntimeError as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().partition("\n")[0]
            raise RunError(f"torch.compile does not work here ({reason}); use --no-compile") from error
        if world_size() == 1 or not ranks.speaks_of_a_lost_rank(str(error)):
            raise
        raise RunError(
            f"rank {rank()}: another rank {ranks.GONE}, so this one stops. The last "
            f"good state, if any, is {run_dir / CHECKPOINT}; {ranks.AGAIN}"
        ) from error
