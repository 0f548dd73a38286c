"""The ranks of a `torchrun`: they start together, wait for what the first one writes, and hear of one that failed.

The first rank alone writes, and what it writes the others may read. `first_writes` lets no rank go on before a file
is complete. A rank that fails on the way says so to all others; one that is gone is noticed by its closed connection,
one that hangs after `PATIENCE`. One process needs no process group and waits for nobody.
"""

from __future__ import annotations

import inspect
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from cpchub.encoders.fast.fast_embedder import cpu_has_bfloat16
from cpchub.errors import RunError
from cpchub_training.losses.ranks import rank, world_size

PATIENCE = timedelta(minutes=15)  # a checkpoint of many gigabytes on a slow disk takes minutes
GONE = "is gone (killed, out of memory, or its machine)"
AGAIN = "start the same command again to go on"
# torch 2.13 has renamed the option that keeps DDP from sending the first rank's buffers round before each step
_SENDS_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)
_meeting: tuple[Any, Any] = (None, None)  # the process group, and the group over which its ranks wait for each other


def launch(accelerator: str = "auto", precision: str = "fp32") -> Fabric:
    """Lightning Fabric on one device, or under `torchrun` on one a process; calling it again joins the same ranks.

    A CPU that would emulate bf16 computes in fp32. Raises `RunError` where not all ranks come within `PATIENCE`.
    """
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    mixed = precision == "bf16" and (not on_cpu or cpu_has_bfloat16())
    numbers: Any = "bf16-mixed" if mixed else "32-true"
    local_ranks, nodes = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"))
    # what a method remembers is the same on every rank: to broadcast a bank before each step would be for nothing
    several: Any = DDPStrategy(timeout=PATIENCE, **{_SENDS_BUFFERS: False}) if local_ranks * nodes > 1 else "auto"
    fabric = Fabric(accelerator=accelerator, devices=local_ranks, num_nodes=nodes, precision=numbers, strategy=several)
    try:
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
    """Gives True on the rank that is to write `what` in the block, the first; all leave the block when it is written.

    Where one rank fails in the block, it raises its own error, and all others `RunError` with the reason; so they do
    where a rank is gone, or does not arrive within `PATIENCE`. No collective call may stand in the block.
    """
    try:
        yield rank() == 0
    except BaseException as failure:
        with suppress(RunError):  # what this rank met itself says more
            _meet(what, {"failed": str(failure) or type(failure).__name__})
        raise
    _meet(what, {})


def check_alike(what: str, mine: str, way_out: str) -> None:
    """Raise `RunError` on all ranks where `mine`, what this rank sees of `what`, is not what the first rank sees."""
    _meet(what, {"sees": mine, "way_out": way_out})


def speaks_of_a_lost_rank(message: str) -> bool:
    """Whether what a collective call says means that another rank is gone."""
    signs = ("connection closed by peer", "connection reset", "broken pipe", "socket", "nccl", "gloo", "timed out")
    return any(sign in message.lower() for sign in signs)


def _meet(what: str, mine: dict[str, str]) -> None:
    """All ranks tell the first one how they fare, and it tells all of them what that amounts to."""
    if world_size() == 1:
        return
    if rank() > 0:
        verdict = _ask_first(what, mine)
    else:
        verdict = _gathered(what, mine)
    if verdict:
        raise RunError(f"rank {rank()} stops at {what}: {verdict}" + (f"; {AGAIN}" if GONE in verdict else ""))


def _ask_first(what: str, mine: dict[str, str]) -> str:
    """What the first rank makes of it all; empty where all is well."""
    until = time.monotonic() + PATIENCE.total_seconds()
    try:
        _send(mine, 0, until)
        return _receive(0, until)["verdict"]
    except RuntimeError as error:
        return f"rank 0 {_fate(error)}; what it says itself, if anything, says more"


def _gathered(what: str, mine: dict[str, str]) -> str:
    """Hear every other rank, and tell the verdict to those that are there."""
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
        with suppress(RuntimeError):  # gone since: there is nobody to tell, and the next meeting says so
            _send({"verdict": verdict}, other, time.monotonic() + PATIENCE.total_seconds())
    return verdict


def _fate(error: RuntimeError) -> str:
    if "timed out" in str(error).lower():
        return f"did not answer within {PATIENCE.total_seconds() / 60:g} minutes"
    return GONE


def _group() -> Any:
    """A group of all ranks that speaks between processors, whatever the devices speak to each other."""
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
    """The message of a rank. Raises RuntimeError where it is gone, or nothing has come at the time `until`."""
    length = torch.zeros(1, dtype=torch.int64)
    _wait(dist.irecv(length, source, group=_group()), until)
    content = torch.empty(int(length), dtype=torch.uint8)
    _wait(dist.irecv(content, source, group=_group()), until)
    return dict(json.loads(bytes(content.tolist())))


def _wait(work: Any, until: float) -> None:
    work.wait(timedelta(seconds=max(0.001, until - time.monotonic())))
