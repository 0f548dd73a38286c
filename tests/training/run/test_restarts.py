"""torchrun's agent starts all ranks again when one is killed: the job goes on and ends with the same weights."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from cpchub_training.jobs.pretrain import leave_process_group
from cpchub_training.losses.ranks import rank
from cpchub_training.run import attempt
from cpchub_training.run.loop import train
from cpchub_training.run.training_run import TrainingRun
from tests.processes import PATIENCE
from tests.training.several_ranks import PRELOADED, on_ranks
from tests.training.small_runs import small, some_digits, weights


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[LaunchConfig]:
    """What `torchrun --standalone --nproc-per-node 2 --max-restarts 2` makes, with ranks that are forked."""
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
    before = {number: signal.getsignal(number) for number in numbers}
    multiprocessing.set_forkserver_preload(PRELOADED)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    yield LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=2,
        monitor_interval=0.05,
        start_method="forkserver",
        local_addr="localhost",
    )
    for number, handler in before.items():
        signal.signal(number, handler)


RECIPE = small(epochs=4, checkpoint_minutes=0, knn_every=0)


def never_killed(run_dir: Path) -> None:
    train(RECIPE, run_dir, images=some_digits(), accelerator="cpu")


def killed_twice(run_dir: Path) -> None:
    """A run that saves at its first and eleventh step. In the fourteenth rank 1 dies, after the restart rank 0."""
    step = TrainingRun.step
    restarts = int(os.environ["TORCHELASTIC_RESTART_COUNT"])

    def fatal(run: TrainingRun, batch: Any, views: Any) -> Any:
        if batch.step == 13 and (rank(), restarts) in ((1, 0), (0, 1)):
            os.kill(os.getpid(), signal.SIGKILL)
        return step(run, batch, views)

    TrainingRun.step = fatal  # type: ignore[method-assign]
    result = train(RECIPE, run_dir, images=some_digits(), accelerator="cpu")
    (run_dir / f"rank {rank()} took {result.steps} steps").touch()
    leave_process_group()


def test_ranks_that_are_killed_cost_the_steps_since_the_last_checkpoint(agent: LaunchConfig, tmp_path: Path) -> None:
    on_ranks(2, tmp_path / "ranks", never_killed, tmp_path / "whole")
    elastic_launch(agent, killed_twice)(tmp_path / "killed")
    took = {path.name for path in (tmp_path / "killed").glob("* took *")}
    assert took == {"rank 0 took 5 steps", "rank 1 took 5 steps"}  # of 16
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_each_start_has_a_name_of_its_own_that_all_of_its_ranks_know() -> None:
    """In one store, as a restart finds it: with what the start before, and one that never came together, have left."""
    store, names = dist.HashStore(), []
    for _ in range(2):
        with ThreadPoolExecutor(3) as pool:
            ranks = [pool.submit(attempt._agreed, store, each, 3, timedelta(seconds=PATIENCE)) for each in (2, 1, 0)]
            names.append({each.result() for each in ranks})
        store.set(attempt.START, "a start whose first rank died")
    assert [len(each) for each in names] == [1, 1]
    assert names[0] != names[1]


def test_the_wait_for_a_rank_that_does_not_come_again_is_bounded() -> None:
    for number in (0, 1):
        with pytest.raises(RuntimeError, match=r"(?i)time"):
            attempt._agreed(dist.HashStore(), number, 2, timedelta(seconds=0.2))
