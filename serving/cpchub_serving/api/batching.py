"""Images of many requests go through the network together: the first one waits a few milliseconds for others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image

from cpchub_serving.api.failures import Refused
from cpchub_serving.api.limits import Limits

Vectors = npt.NDArray[np.float32]
Encode = Callable[[Sequence[Image.Image]], Vectors]
USUAL_RATE = 50.0  # images a second, before any was measured
SMOOTH = 0.8  # of the old rate that stays when a new one is measured


@dataclass
class _Job:
    images: Sequence[Image.Image]
    answer: asyncio.Future[Vectors]


class Batcher:
    """One network, used by one thread, with a queue of bounded length. Made and used in one event loop.

    encode: images to vectors `[N, D]`; called with up to `limits.batch` images of several requests.
    """

    def __init__(self, encode: Encode, limits: Limits) -> None:
        self._encode = encode
        self._limits = limits
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="api-network")
        self._task: asyncio.Task[None] | None = None
        self._rate = USUAL_RATE
        self.waiting = 0  # images that wait or are computed
        self.on_batch: Callable[[int], None] = lambda size: None  # told the size of each batch

    def start(self) -> None:
        """Begin to take batches from the queue."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Answer what was accepted, then end."""
        while self.waiting:
            await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    def check_room(self, count: int) -> None:
        """Raise Refused, with the seconds until there is room, where the queue cannot take `count` images more."""
        if self.waiting + count > self._limits.queue:
            raise Refused(
                429,
                f"{self.waiting:,} images are waiting already; try again later",
                kind="rate_limit_error",
                retry_after=max(1, ceil(self.waiting / self._rate)),
            )

    async def vectors(self, images: Sequence[Image.Image]) -> Vectors:
        """The vectors `[N, D]` of the images, computed together with those of other requests."""
        self.check_room(len(images))
        job = _Job(images, asyncio.get_running_loop().create_future())
        self.waiting += len(images)
        try:
            self._jobs.put_nowait(job)
            return await job.answer
        finally:
            self.waiting -= len(images)

    async def _run(self) -> None:
        while True:
            jobs = await self._together()
            images = [image for job in jobs for image in job.images]
            if images:
                await self._compute(jobs, images)

    async def _together(self) -> list[_Job]:
        """The jobs of the next batch: one, and what comes within the wait, unless the batch is full before."""
        loop = asyncio.get_running_loop()
        jobs = [await self._jobs.get()]
        until = loop.time() + self._limits.wait_ms / 1000
        while sum(len(job.images) for job in jobs) < self._limits.batch:
            if self._jobs.empty() and loop.time() >= until:
                break
            try:
                jobs.append(await asyncio.wait_for(self._jobs.get(), max(0.0, until - loop.time())))
            except asyncio.TimeoutError:
                break
        return [job for job in jobs if not job.answer.done()]  # done: its client has gone

    async def _compute(self, jobs: Sequence[_Job], images: Sequence[Image.Image]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        work = loop.run_in_executor(self._thread, self._encode, images)
        await asyncio.wait([work])
        if (error := work.exception()) is not None:  # each client gets it, and the next batch is computed all the same
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(error)
            return
        vectors = work.result()
        self._rate = SMOOTH * self._rate + (1 - SMOOTH) * len(images) / max(1e-6, loop.time() - started)
        self.on_batch(len(images))
        at = 0
        for job in jobs:
            if not job.answer.done():
                job.answer.set_result(vectors[at : at + len(job.images)])
            at += len(job.images)
