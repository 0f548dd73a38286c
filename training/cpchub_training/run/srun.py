"""Ranks that SLURM's `srun` has started itself, without torchrun: they get the variables that torchrun would set."""

from __future__ import annotations

import os

from lightning_fabric.plugins.environments import SLURMEnvironment


def name_ranks() -> None:
    """Set torchrun's variables from those of a job step of several tasks; do nothing elsewhere.

    Below `sbatch` alone there is no step, and below `torchrun` the variables are there.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks == 1 or "RANK" in os.environ or "SLURM_LOCALID" not in os.environ:
        return
    nodes = int(os.environ["SLURM_STEP_NUM_NODES"])
    first = SLURMEnvironment.resolve_root_node_address(os.environ["SLURM_STEP_NODELIST"])
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "GROUP_RANK": os.environ["SLURM_NODEID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_WORLD_SIZE": str(tasks // nodes),
        "GROUP_WORLD_SIZE": str(nodes),
        "TORCHELASTIC_RUN_ID": os.environ["SLURM_JOB_ID"],
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", first),
        "MASTER_PORT": os.environ.get("MASTER_PORT", str(15000 + int(os.environ["SLURM_JOB_ID"]) % 10000)),
    }
