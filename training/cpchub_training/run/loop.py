"""The training loop: a recipe in, a run folder out.

    run folder: recipe.json  metrics.jsonl  tensorboard/  checkpoints/last.safetensors  export/ (a publishable encoder)

Lightning Fabric supplies device, precision, DDP and FSDP2 (CPU, one GPU, or several under `torchrun`); the loop itself
is here. A step is a function of the state and of (seed, step): the order of the images comes from (seed, epoch), the
views from (seed, step), whichever rank makes them. So no random state has to be saved, and any number of ranks goes on.
On a CPU a resumed run ends with the same bits as an uninterrupted one; on a GPU it differs by rounding, because sums
have no fixed order there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn

from cpchub.errors import CpchubError, RunError
from cpchub_training import data, methods
from cpchub_training.data.batches import Batches
from cpchub_training.data.loading import open_data
from cpchub_training.losses.ranks import rank, world_size
from cpchub_training.methods import Method
from cpchub_training.recipes import Recipe
from cpchub_training.run import ranks
from cpchub_training.run.backbone import build_backbone, start_from
from cpchub_training.run.run_folder import CHECKPOINT, claimed
from cpchub_training.run.saved_run import build_method, facts_of
from cpchub_training.run.stopping import StopBetweenSteps
from cpchub_training.run.training_run import TrainingRun
from cpchub_training.run.watch import Watch


@dataclass(frozen=True)
class Result:
    """The result of a run: the trained method, the encoder to keep, the last line of metrics, and the number of
    training images. `steps` is the number of steps that this call has taken: 0 where the run was finished before.
    `finished` is whether the run is at its last step.
    """

    method: Method
    backbone: nn.Module
    metrics: dict[str, Any]
    images: int
    steps: int
    finished: bool


def train(
    recipe: Recipe,
    run_dir: Path,
    *,
    images: data.TrainingSet | None = None,
    accelerator: str = "auto",
    stop_after_steps: int | None = None,
    stop_after_minutes: float | None = None,
) -> Result:
    """Train `recipe` in `run_dir`, going on from its last checkpoint if there is one.

    One device, or under `torchrun` one a process. `images` replaces the recipe's data set (already loaded).
    `stop_after_steps` and `stop_after_minutes` end this call early, after a step and with a checkpoint. Raises
    `RecipeError` before any work for values that cannot work, `RunError` for a folder that holds another run, a loss
    that is no longer finite, or a rank that is gone.
    """
    until = math.inf if stop_after_minutes is None else time.monotonic() + 60 * stop_after_minutes
    fabric = ranks.launch(accelerator, recipe.precision, fsdp=recipe.fsdp)
    torch.backends.cudnn.benchmark = True  # all steps have the same shapes: measure the convolutions once
    with ExitStack() as held, _failures_named(run_dir):
        with ranks.first_writes(f"the run folder {run_dir}") as mine:
            if images is None:
                images = open_data(recipe, methods.check)
            methods.check(recipe, len(images), images.labels is not None, fabric.world_size)
            method = _method(recipe, images)
            if mine:
                steps = Batches(recipe, len(images), 0, fabric.world_size).steps_per_epoch
                held.enter_context(claimed(run_dir, recipe, steps))
        return _run(TrainingRun(recipe, run_dir, images, method, fabric), stop_after_steps, until)


def _method(recipe: Recipe, images: data.TrainingSet) -> Method:
    """The recipe's method around its network, the same on every rank."""
    torch.manual_seed(recipe.seed)
    backbone = build_backbone(recipe)
    if recipe.init_from:
        start_from(recipe, backbone)
    return build_method(recipe, backbone, facts_of(images))


def _run(run: TrainingRun, stop_after_steps: int | None, until: float) -> Result:
    """The steps from the last checkpoint on, in a folder that is ours, up to the time `until` of `time.monotonic`."""
    before = run.done
    stop = run.total if stop_after_steps is None else min(run.total, before + stop_after_steps)
    with StopBetweenSteps() as stopping, Watch(run, stop) as watch:
        for batch, views in run.images.views(run.plan.batches(run.done, stop), run.recipe, run.device):
            loss, scalars = run.step(batch, views)
            watch.after_step(batch, loss, scalars)
            due = run.minutes_since_checkpoint() >= run.recipe.checkpoint_minutes
            late = time.monotonic() >= until
            asked, due, late = _agreed([stopping.asked, due, late], batch.step, run.device)
            end = run.done == stop or asked or late
            if end or due:
                run.save(loss, wait=end)
            if asked and run.done < run.total:
                raise KeyboardInterrupt(f"stopped at step {run.done} of {run.total}, saved in {run.last}; to go on")
            if late:
                break
    method, encoder = run.whole()
    return Result(method, encoder, watch.line, len(run.images), run.done - before, run.done >= run.total)


def _agreed(asked: list[bool], step: int, device: torch.device) -> list[bool]:
    """Of each question whether any rank says yes, so that all act after the same step; they ask every tenth step."""
    if world_size() == 1:
        return asked
    if step % 10:
        return [False] * len(asked)
    votes = torch.tensor([int(each) for each in asked], device=device)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return votes.bool().tolist()


@contextmanager
def _failures_named(run_dir: Path) -> Iterator[None]:
    """Turns errors of the compiler, and of collectives after another rank is lost, into errors with a way out."""
    try:
        yield
    except CpchubError:
        raise
    except RuntimeError as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().partition("\n")[0]
            raise RunError(f"torch.compile does not work here ({reason}); use --no-compile") from error
        if world_size() == 1 or not ranks.is_lost_rank_message(str(error)):
            raise
        raise RunError(
            f"rank {rank()}: another rank {ranks.GONE}, so this one stops. The last "
            f"good state, if any, is {run_dir / CHECKPOINT}; {ranks.AGAIN}"
        ) from error
