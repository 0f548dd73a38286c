"""Several ranks on this machine, as `torchrun` starts them, but without its agent, which would end survivors itself.

A server process imports torch once and forks a rank in a moment. Ranks meet over a file, so no port can be taken.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from cpchub.errors import CpchubError
from tests.processes import PATIENCE, wait_for

PRELOADED = ["cpchub_training.run.loop", "cpchub_training.jobs.distill"]  # by the server, once


class Rank:
    """One process, and what it has printed so far."""

    def __init__(self, process: ForkServerProcess, output: Path) -> None:
        self.process, self.output = process, output

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def end(self) -> int:
        """Wait for its end; its status as a shell gives it, below 0 for a signal."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, f"a rank hangs after: {self.said()}"
        return self.process.exitcode


@contextmanager
def started(n: int, folder: Path, work: Callable[..., None], *args: Any) -> Iterator[list[Rank]]:
    """`work(*args)` on each of `n` ranks; all of them have ended when this is left. `work` is a module's function."""
    folder.mkdir(parents=True, exist_ok=True)
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    multiprocessing.set_forkserver_preload(PRELOADED)
    context = multiprocessing.get_context("forkserver")
    ranks: list[Rank] = []
    try:
        os.environ.update(dict.fromkeys(threads, "1"))  # the server's: what has no threads can be forked
        for number in range(n):
            output = folder / f"rank{number}.txt"
            process = context.Process(target=_rank, args=(number, n, folder, output, work, args), daemon=True)
            process.start()
            ranks.append(Rank(process, output))
        for name, value in threads.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        yield ranks
    finally:
        for rank in ranks:
            rank.process.kill()
            rank.process.join()
            rank.process.close()


def on_ranks(n: int, folder: Path, work: Callable[..., None], *args: Any) -> list[str]:
    """Run `work(*args)` on `n` ranks to a good end, and return what each has printed."""
    with started(n, folder, work, *args) as ranks:
        wait_until(lambda: any(rank.process.exitcode for rank in ranks) or ended(ranks))
        assert not any(rank.process.exitcode for rank in ranks), "\n".join(each.said() for each in ranks)
        return [rank.said() for rank in ranks]


def ended(ranks: list[Rank]) -> bool:
    return all(rank.process.exitcode is not None for rank in ranks)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, within the bound, for what another process is to do."""
    wait_for(condition, "it has not come to that")


def _rank(number: int, n: int, folder: Path, output: Path, work: Callable[..., None], args: tuple[Any, ...]) -> None:
    with output.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n)}
    os.environ |= {"GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "test", "MASTER_PORT": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    for category in (DeprecationWarning, FutureWarning):  # pytest's filters do not reach this process
        warnings.filterwarnings("error", category=category, module="(cpchub|training|tests|lightning_fabric)")
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), n)
    dist.init_process_group("gloo", store=store, rank=number, world_size=n, timeout=timedelta(seconds=PATIENCE))
    try:
        work(*args)
    except CpchubError as error:  # as the command line does
        print(f"error: {error}", flush=True)
        sys.exit(2)
    if dist.is_initialized():
        dist.destroy_process_group()
