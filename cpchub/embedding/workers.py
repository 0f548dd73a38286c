"""Several processes that embed the shards of one job, on the cores or the GPUs of one machine.

The process that was asked hands out shards; a worker writes each into `pending/` when it is complete, under the number
that it would have with one process, so that the files of the collection are the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, cast

from cpchub.embedding.options import EmbedOptions
from cpchub.embedding.pending import Pending
from cpchub.embedding.shards import Shard, ShardEncoder
from cpchub.encoders.protocols import ImageEncoder
from cpchub.errors import ArgumentError, CpchubError, WorkerError
from cpchub.media.sources.base import ListedImage, Source


@dataclass(frozen=True)
class Job:
    """What a worker needs beside its shards: `images` is how many the whole job has, `first` are the first of them."""

    source: Source
    encoder: ImageEncoder
    pending: Pending
    options: EmbedOptions
    images: int
    first: Sequence[ListedImage]


def embed_in_processes(job: Job, shards: Iterable[Shard]) -> Iterator[int]:
    """Embed the shards in the processes and on the devices of `job.options`; yields how many images are done.

    Raises what a worker raises, and WorkerError where one ends without a word; complete shards are kept.
    """
    todo = iter(shards)
    with _started(job) as workers:
        busy = dict(workers)
        for connection in busy:
            _hand_out(todo, connection)
        while busy:
            for connection in cast("list[Connection]", wait(list(busy))):
                try:
                    message = connection.recv()
                except (EOFError, ConnectionResetError):
                    process = busy.pop(connection)
                    process.join()
                    if process.exitcode:
                        raise WorkerError(
                            f"a worker process ended by itself (exit code {process.exitcode}; -9 is often too little "
                            "memory). What was complete is kept: run the same command again, with fewer --processes"
                        ) from None
                    continue
                if isinstance(message, CpchubError):
                    raise message
                if message is None:
                    _hand_out(todo, connection)
                else:
                    yield message


def _hand_out(todo: Iterator[Shard], connection: Connection) -> None:
    """The next shard, or None where there is no more."""
    try:
        connection.send(next(todo, None))
    except BrokenPipeError:  # it has ended; reading from it will say so
        return


@contextmanager
def _started(job: Job) -> Iterator[dict[Connection, SpawnProcess]]:
    """The workers, each by our end of its pipe; all have ended when this is left, however it is left."""
    context = multiprocessing.get_context("spawn")  # a fork would copy threads' locks as they happen to be
    workers: dict[Connection, SpawnProcess] = {}
    processes, devices = job.options.processes, job.options.devices
    cores = max(1, (os.cpu_count() or 1) // processes)
    encoder: Any = job.encoder
    home = encoder.device if devices and hasattr(encoder, "to") else None
    if home is not None:
        encoder.to("cpu")  # a GPU's tensors would have to stay mapped in this process
    try:
        for number in range(processes):
            ours, theirs = context.Pipe()
            device = devices[number % len(devices)] if devices else None
            process = context.Process(target=_work, args=(job, theirs, device, cores), daemon=True)
            process.start()
            theirs.close()
            workers[ours] = process
        yield workers
    finally:
        for connection, process in workers.items():
            process.terminate()
            process.join()
            connection.close()
        if home is not None:
            encoder.to(home)


def _work(job: Job, connection: Connection, device: str | None, cores: int) -> None:
    """A worker: take a shard, embed it, write it, ask for the next."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the process that was asked
    _end_with_parent()
    os.environ["OMP_NUM_THREADS"] = str(cores)  # for what is imported from now on
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(cores)
    try:
        if device is not None:
            move(job.encoder, device)
        with ShardEncoder(job.source, job.encoder, job.options, job.images, job.first) as encoder:
            while (shard := connection.recv()) is not None:
                for number, rows, vectors in encoder.run([shard], connection.send):
                    job.pending.write(number, rows, vectors)
                connection.send(None)
    except CpchubError as error:
        connection.send(error)
    except EOFError:  # nobody is there to work for
        return


def move(encoder: Any, device: str) -> None:
    """Put an encoder that can be moved on a device. Raises ArgumentError where there is no such device."""
    if not hasattr(encoder, "to"):
        return
    try:
        if device.startswith("cuda:") and "torch" in sys.modules:
            sys.modules["torch"].cuda.set_device(device)  # else pinned memory takes room on the first GPU
        encoder.to(device)
    except (RuntimeError, ValueError, AssertionError) as error:  # the last: a torch without CUDA
        raise ArgumentError(f"device {device!r} cannot be used: {error}") from error


def _end_with_parent() -> None:
    """End at once when the process that started this one is gone: the next run must find no other writer."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
