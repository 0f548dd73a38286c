"""Synchronise the ranks of a `torchrun`: common start, files that rank 0 writes, and failures.

Only rank 0 writes files; the other ranks may read them. In `first_writes` no rank continues before the file is
complete. A rank that fails reports the reason to all others. A lost rank is noticed by its closed connection, a
hanging rank after `PATIENCE`. A single process needs no process group and never waits.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy
from lightning_fabric.utilities.warnings import PossibleUserWarning
from torch.nn.parallel import DistributedDataParallel

from cpchub.encoders.fast.processor import cpu_has_bfloat16
from cpchub.errors import RunError
from cpchub_training.losses.ranks import rank, world_size
from cpchub_training.run import attempt, sharding, srun

PATIENCE = timedelta(minutes=15)  # a checkpoint of many gigabytes on a slow disk takes minutes
GONE = "is gone (killed, out of memory, or its machine)"
AGAIN = "start the same command again to go on"
# torch 2.13 has renamed the option that keeps DDP from sending the first rank's buffers round before each step
_SENDS_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)
# on import Lightning turns on notes on precision and ranks, written for its own users
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
_meeting: tuple[Any, Any] = (None, None)  # the process group, and the group over which its ranks wait for each other


def launch(accelerator: str = "auto", precision: str = "fp32", *, fsdp: bool = False) -> Fabric:
    """Lightning Fabric on one device, or under `torchrun` or `srun` on one device per process.

    A second call joins the same ranks. `fsdp`: several ranks share the weights out. A CPU without bf16 computes
    in fp32. Raises `RunError` where not all ranks come within `PATIENCE`.
    """
    srun.name_ranks()
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    mixed = precision == "bf16" and (not on_cpu or cpu_has_bfloat16())
    numbers: Any = "bf16-mixed" if mixed else "32-true"
    local_ranks, nodes = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"))
    # buffers are the same on every rank, so broadcasting a bank before each step would be wasted
    several: Any = "auto"
    if local_ranks * nodes > 1:
        whole = {_SENDS_BUFFERS: False}
        shared = {"data_parallel_size": local_ranks * nodes, "tensor_parallel_size": 1}
        several = (
            ModelParallelStrategy(sharding.over, timeout=PATIENCE, **shared)
            if fsdp
            else DDPStrategy(timeout=PATIENCE, **whole)
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)  # that we should use srun
            options: Any = {"devices": local_ranks, "num_nodes": nodes, "precision": numbers, "strategy": several}
            fabric = Fabric(accelerator=accelerator, **options)
            attempt.join(fabric.device, PATIENCE)
            fabric.launch()
        if world_size() > 1:
            _group()  # now, while all are there
    except RuntimeError as error:
        if local_ranks * nodes == 1:
            raise
        reason = str(error).strip().partition("\n")[0]
        raise RunError(
            f"rank {os.environ.get('RANK')} cannot reach the other ranks ({reason}); see whether all of them were "
            "started, and set GLOO_SOCKET_IFNAME to the network interface that the machines share"
        ) from error
    return fabric


@contextmanager
def first_writes(what: str) -> Iterator[bool]:
    """A context manager that gives True on rank 0, which writes `what`. All ranks leave the block once it is written.

    If a rank fails in the block, it raises its own error and all others raise `RunError` with the reason. They also
    raise `RunError` if a rank is lost or does not arrive within `PATIENCE`. The block must not contain a collective
    call.
    """
    try:
        yield rank() == 0
    except BaseException as failure:
        with suppress(RunError):  # this rank's own error says more
            _meet(what, {"failed": str(failure) or type(failure).__name__})
        raise
    _meet(what, {})


def check_same_on_all_ranks(what: str, mine: str, way_out: str) -> None:
    """Raise `RunError` on all ranks unless `mine`, this rank's value of `what`, is the same on every rank."""
    _meet(what, {"sees": mine, "way_out": way_out})


def is_lost_rank_message(message: str) -> bool:
    """Whether the error of a collective call means that another rank is lost."""
    signs = ("connection closed by peer", "connection reset", "broken pipe", "socket", "nccl", "gloo", "timed out")
    return any(sign in message.lower() for sign in signs)


def _meet(what: str, mine: dict[str, str]) -> None:
    """Every rank reports its status to rank 0; rank 0 sends the verdict to all."""
    if world_size() == 1:
        return
    if rank() > 0:
        verdict = _ask_first(what, mine)
    else:
        verdict = _gathered(what, mine)
    if verdict:
        raise RunError(f"rank {rank()} stops at {what}: {verdict}" + (f"; {AGAIN}" if GONE in verdict else ""))


def _ask_first(what: str, mine: dict[str, str]) -> str:
    """The verdict of rank 0; empty if every rank is well."""
    until = time.monotonic() + PATIENCE.total_seconds()
    try:
        _send(mine, 0, until)
        return _receive(0, until)["verdict"]
    except RuntimeError as error:
        return f"rank 0 {_fate(error)}; what it says itself, if anything, says more"


def _gathered(what: str, mine: dict[str, str]) -> str:
    """On rank 0: receive the status of every other rank, and send the verdict to those that are present."""
    until = time.monotonic() + PATIENCE.total_seconds()
    heard, lost = {0: mine}, {}
    for other in range(1, world_size()):
        try:
            heard[other] = _receive(other, until)
        except RuntimeError as error:
            lost[other] = _fate(error)
    failed = {r: f"failed ({said['failed']})" for r, said in heard.items() if "failed" in said}
    differs = {
        r: f"sees {said['sees']}, rank 0 sees {mine['sees']}; {mine['way_out']}"
        for r, said in heard.items()
        if not failed and said.get("sees") != mine.get("sees")
    }
    troubles = dict(sorted((lost | differs | failed).items()))
    verdict = "; ".join(f"rank {r} {trouble}" for r, trouble in troubles.items())
    for other in heard.keys() - {0}:
        with suppress(RuntimeError):  # lost in the meantime: the next meeting reports it
            _send({"verdict": verdict}, other, time.monotonic() + PATIENCE.total_seconds())
    return verdict


def _fate(error: RuntimeError) -> str:
    if "timed out" in str(error).lower():
        return f"did not answer within {PATIENCE.total_seconds() / 60:g} minutes"
    return GONE


def _group() -> Any:
    """A process group of all ranks that communicates over the CPU, whatever the devices use."""
    global _meeting
    if _meeting[0] is not dist.group.WORLD:
        _meeting = (dist.group.WORLD, dist.new_group(backend="gloo", timeout=PATIENCE))
    return _meeting[1]


def _send(message: dict[str, str], to: int, until: float) -> None:
    """Raises RuntimeError as `_receive` does."""
    content = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
    for part in (torch.tensor([len(content)]), content):
        _wait(dist.isend(part, to, group=_group()), until)


def _receive(source: int, until: float) -> dict[str, str]:
    """The message of a rank. Raises RuntimeError if the rank is lost or nothing has arrived by the time `until`."""
    length = torch.zeros(1, dtype=torch.int64)
    _wait(dist.irecv(length, source, group=_group()), until)
    content = torch.empty(int(length), dtype=torch.uint8)
    _wait(dist.irecv(content, source, group=_group()), until)
    return dict(json.loads(bytes(content.tolist())))


def _wait(work: Any, until: float) -> None:
    work.wait(timedelta(seconds=max(0.001, until - time.monotonic())))
