"""Ranks that `srun` starts by itself get torchrun's variables, and train as those of torchrun do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpchub_training.losses.ranks import world_size
from cpchub_training.run.loop import train
from cpchub_training.run.srun import name_ranks
from tests.training.several_ranks import on_ranks
from tests.training.small_runs import small, some_digits, weights

OF_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE")
OF_TORCHRUN = (*OF_TORCHRUN, "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")


def step_of(tasks: int, nodes: int, task: int) -> dict[str, str]:
    """What `srun` gives to one task of a job step."""
    return {
        "SLURM_JOB_ID": "123456",
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_STEP_NODELIST": "gpu[07-10],login1" if nodes > 1 else "gpu07",
        "SLURM_PROCID": str(task),
        "SLURM_LOCALID": str(task % (tasks // nodes)),
        "SLURM_NODEID": str(task // (tasks // nodes)),
    }


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without torchrun and SLURM, which is as before afterwards."""
    for name in (*OF_TORCHRUN, *step_of(2, 1, 0)):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_task_is_a_rank(nowhere: pytest.MonkeyPatch) -> None:
    for name, value in step_of(32, 4, 19).items():
        nowhere.setenv(name, value)
    name_ranks()
    expected = ["19", "3", "32", "8", "2", "4", "123456", "gpu07", "18456"]
    assert [os.environ[name] for name in OF_TORCHRUN] == expected


@pytest.mark.parametrize(
    "there",
    [
        {},
        {"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},  # in the script of sbatch
        step_of(1, 1, 0),  # srun of one task
    ],
    ids=["no SLURM", "sbatch", "one task"],
)
def test_one_process_stays_one(there: dict[str, str], nowhere: pytest.MonkeyPatch) -> None:
    for name, value in there.items():
        nowhere.setenv(name, value)
    name_ranks()
    assert not {*OF_TORCHRUN} & {*os.environ}


def test_below_torchrun_srun_says_nothing(nowhere: pytest.MonkeyPatch) -> None:
    for name, value in {**step_of(4, 4, 2), "RANK": "17"}.items():
        nowhere.setenv(name, value)
    name_ranks()
    assert os.environ["RANK"] == "17"
    assert "WORLD_SIZE" not in os.environ


def by_srun(run_dir: Path) -> None:
    number = int(os.environ["RANK"])
    for name in OF_TORCHRUN:
        os.environ.pop(name)
    os.environ |= step_of(2, 1, number)
    train(small(epochs=1, knn_every=0), run_dir, images=some_digits(), accelerator="cpu")
    assert world_size() == 2
    assert os.environ["RANK"] == str(number)


def by_torchrun(run_dir: Path) -> None:
    train(small(epochs=1, knn_every=0), run_dir, images=some_digits(), accelerator="cpu")


def test_two_tasks_train_as_two_ranks_of_torchrun(tmp_path: Path) -> None:
    on_ranks(2, tmp_path / "srun", by_srun, tmp_path / "a")
    on_ranks(2, tmp_path / "torchrun", by_torchrun, tmp_path / "b")
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
