"""A name for each start of the ranks, which keeps what they exchange apart from what an earlier start has left.

`torchrun --max-restarts` starts all ranks again when one is lost, beside a store that outlives them. torch finds the
addresses of the dead ranks there, and the new ones cannot connect (pytorch/pytorch#167288). The number of restarts that
torchrun tells is none of all machines: each counts for itself. So the ranks agree on a name through the store.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

START = "cpchub/start"


def join(device: torch.device, patience: timedelta) -> None:
    """Make the process group of the ranks that torchrun has started, if its store outlives them; else do nothing.

    Raises RuntimeError where not all ranks come in time.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or dist.is_initialized():
        return
    rank, world_size, port = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    there: Any = dist  # whose stores are not in its types
    store = there.TCPStore(os.environ["MASTER_ADDR"], port, is_master=False, timeout=patience)
    name = _agreed(store, rank, world_size, patience)
    ours = there.PrefixStore(name, store)
    alone = None if device.type == "cpu" else device
    backend = dist.get_default_backend_for_device(device)
    dist.init_process_group(backend, store=ours, rank=rank, world_size=world_size, timeout=patience, device_id=alone)


def _agreed(store: Any, rank: int, world_size: int, patience: timedelta) -> str:
    """Rank 0 names the start, each other rank answers with a name of its own, rank 0 repeats these.

    A rank that has read the name of an earlier start does not find its own among those repeated, and reads again.
    """
    mine = uuid.uuid4().hex
    if rank == 0:
        store.set(START, mine)
        answers = [f"{mine}/{other}" for other in range(1, world_size)]
        if answers:
            store.wait(answers, patience)
        store.set(f"{mine}/all", json.dumps([store.get(answer).decode() for answer in answers]))
        return mine
    until = time.monotonic() + patience.total_seconds()
    answered = ""
    while time.monotonic() < until:
        start = store.get(START).decode() if store.check([START]) else answered
        if start != answered:
            store.set(f"{start}/{rank}", mine)
            answered = start
        if store.check([f"{start}/all"]) and mine in json.loads(store.get(f"{start}/all")):
            return start
        time.sleep(0.05)
    raise RuntimeError("timed out waiting for the other ranks")
