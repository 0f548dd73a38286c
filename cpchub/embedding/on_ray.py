"""Embed the shards of a job on the nodes of a Ray cluster.

Workers (actors) hold the network: one on each GPU of the cluster, or `processes` on each node where it has none. This
process hands out shards and writes what comes back into `pending/`, so only it needs the output folder. Where a cluster
has GPUs and processors beside them, these read and decode. The shards of a worker or a node that is lost are handed
out again, and nodes that join are used.
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cpchub.collection.items import Row
from cpchub.embedding.ray_nodes import (
    CUT,
    GONE,
    Inspection,
    Node,
    connected,
    first_readable,
    nodes_of,
    on_node,
    reason_of,
    versions,
)
from cpchub.embedding.ray_worker import ShardWorker, read_part
from cpchub.embedding.shards import Shard
from cpchub.embedding.workers import Job
from cpchub.errors import CpchubError, CpchubWarning, WorkerError
from cpchub.media.sources.base import as_text

TRIES = 3  # of a shard, and of a node that finishes none
AHEAD = 2  # shards that a worker has: one that it embeds and one that waits there
LOOK_EVERY = 5.0  # seconds between two looks at the nodes of the cluster
ALONE = 60.0  # seconds without any worker until the job ends, or says what it waits for
KEPT = "What was complete is kept: run the same command again"
PART = 128  # images that a reading task gives a GPU at once


def embed_on_ray(job: Job, shards: Iterable[Shard]) -> Iterator[int]:
    """Embed the shards on the cluster at `job.options.address`; yields how many images are done.

    Raises WorkerError where no cluster is there, a node has other versions, or the work fails on several nodes, and
    SourceError where a node cannot see the images; complete shards are kept.
    """
    todo = deque(shards)
    with connected(job.options.address) as ray, _on_cpu(job.encoder):
        pool = _Pool(ray, job, todo)
        try:
            yield from pool.run()
        finally:
            pool.close()


@contextmanager
def _on_cpu(encoder: Any) -> Iterator[None]:
    """The encoder without a GPU's tensors, which another machine could not take."""
    home = encoder.device if hasattr(encoder, "to") and hasattr(encoder, "device") else None
    if home is not None:
        encoder.to("cpu")
    try:
        yield
    finally:
        if home is not None:
            encoder.to(home)


@dataclass(eq=False)
class _Worker:
    """An actor, and the shards that it has by what they will give, in the order in which they were handed out."""

    node: Node
    actor: Any
    ready: Any
    is_ready: bool = False
    shards: dict[Any, Shard] = field(default_factory=dict)


class _Pool:
    """The workers of a job and what each of them does.

    `_waiting`: what Ray will give -> the worker that has to answer, or the node that is looked at.
    """

    def __init__(self, ray: Any, job: Job, todo: deque[Shard]) -> None:
        self._ray, self._job, self._todo = ray, job, todo
        self._source, self._encoder = ray.put(job.source), ray.put(job.encoder)
        self._inspection = Inspection(ray, self._source, job.source.location, first_readable(job.source, todo))
        self._actor = ray.remote(ShardWorker)
        self._read = ray.remote(read_part).options(num_cpus=1, scheduling_strategy="SPREAD")
        self._reads_for = (uuid.uuid4().hex, versions(), [self._source], [self._encoder], job.options)
        self._nodes: dict[str, Node] = {}  # those that work or are looked at
        self._workers: list[_Worker] = []
        self._waiting: dict[Any, _Worker | Node] = {}
        self._tries: Counter[int] = Counter()  # shard -> how often it failed
        self._losses: Counter[str] = Counter()  # node -> workers lost there since a shard came from it
        self._last_loss = "none of its nodes has processors to give"
        self._looked = self._worked = time.monotonic()
        self._told = self._on_gpus = False

    def run(self) -> Iterator[int]:
        """Work until no shard is left; yields how many images are done."""
        self._start()
        while self._todo or any(worker.shards for worker in self._workers):
            self._hand_out()
            if self._waiting:
                done, _ = self._ray.wait([*self._waiting], timeout=LOOK_EVERY)
                for ref in done:
                    yield from self._take(ref)
            else:
                time.sleep(LOOK_EVERY)
            self._look_around()

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            self._ray.kill(worker.actor)

    def _start(self) -> None:
        """Look at the nodes that are there, all at once, and put workers on them."""
        nodes = nodes_of(self._ray)
        answers = [self._inspection.begin(node) for node in nodes]
        for node, answer in zip(nodes, answers, strict=True):
            try:
                self._inspection.check(node, self._ray.get(answer))
            except self._ray.exceptions.RayError as error:
                raise WorkerError(f"the node {node} does not answer: {reason_of(error)}") from error
        self._on_gpus = any(node.gpus for node in nodes)
        for node in nodes:
            self._nodes[node.id] = node
            self._employ(node)

    def _employ(self, node: Node) -> None:
        """Put workers on a node that was looked at."""
        for _ in range(node.gpus if self._on_gpus else self._job.options.processes):
            self._start_worker(node)

    def _start_worker(self, node: Node) -> None:
        job = self._job
        cores = min(1, node.cpus) if self._on_gpus else max(1, node.cpus // job.options.processes)
        place = on_node(self._ray, node)
        actor = self._actor.options(num_cpus=cores, num_gpus=int(self._on_gpus), scheduling_strategy=place).remote(
            self._source, self._encoder, job.options, job.images, job.first, cores, self._on_gpus
        )
        worker = _Worker(node, actor, actor.ready.remote())
        self._workers.append(worker)
        self._waiting[worker.ready] = worker

    def _hand_out(self) -> None:
        """Give each worker a shard, and then more, so that none waits; the last shards go to whoever is free."""
        idle = self._readers()
        ready = [worker for worker in self._workers if worker.is_ready]
        most = AHEAD + (
            -(-idle * PART // (len(self._todo[0].images) * len(ready))) if idle and ready and self._todo else 0
        )
        for depth in range(most):
            for worker in ready:
                if self._todo and len(worker.shards) <= depth and (not depth or len(self._todo) >= len(ready)):
                    self._give(worker, self._todo.popleft(), by_readers=idle > 0)

    def _readers(self) -> int:
        """How many processors the cluster has beside those of the workers, where these are on GPUs."""
        nodes = self._nodes.values()
        return sum(max(0, node.cpus - node.gpus) for node in nodes) if self._on_gpus else 0

    def _give(self, worker: _Worker, shard: Shard, *, by_readers: bool) -> None:
        parts: list[Any] = [shard.images]
        if by_readers:
            starts = range(0, len(shard.images), PART)
            parts = [self._read.remote(*self._reads_for, shard.images[start : start + PART]) for start in starts]
        ref = worker.actor.embed.remote(*parts)
        worker.shards[ref] = shard
        self._waiting[ref] = worker

    def _take(self, ref: Any) -> Iterator[int]:
        """Take in what one worker or node has answered."""
        who = self._waiting.pop(ref)
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            answer = error
        if isinstance(who, Node):
            self._welcome(who, answer)
            return
        if isinstance(answer, CpchubError):
            raise answer
        if isinstance(answer, self._ray.exceptions.RayError):
            self._lose(who, reason_of(answer))
            return
        if ref not in who.shards:
            who.is_ready = True
            return
        shard, (rows, vectors) = who.shards[ref], answer
        unseen = self._unseen(shard, rows)
        if unseen and self._tries[shard.number] + 1 < TRIES:
            self._lose(who, unseen)
            return
        del who.shards[ref]
        self._job.pending.write(shard.number, rows, vectors)
        self._losses.pop(who.node.id, None)
        yield len(rows)

    def _unseen(self, shard: Shard, rows: list[Row]) -> str:
        """Why a node could read none of the images of a shard, "" where that is not for the node's sake."""
        if any(row["sha256"] is not None for row in rows):
            return ""
        if first_readable(self._job.source, [shard]) is None:
            return ""
        return f"it can read none of {len(rows):,} images, {rows[0]['path']} the first: {rows[0]['reason']}"

    def _lose(self, worker: _Worker, reason: str) -> None:
        """Take back the shards of a worker that failed, and put another in its place. Raises WorkerError."""
        self._workers.remove(worker)
        self._ray.kill(worker.actor)
        shards = [*worker.shards.values()]
        for ref in (worker.ready, *worker.shards):
            self._waiting.pop(ref, None)
        self._todo.extendleft(reversed(shards))
        self._last_loss = f"{worker.node}: {reason}"
        lost = sum(len(shard.images) for shard in shards)
        warnings.warn(f"a worker is lost on the node {self._last_loss}{_again(lost)}", CpchubWarning, stacklevel=2)
        there = any(node.id == worker.node.id for node in nodes_of(self._ray))
        if not there:
            return
        self._losses[worker.node.id] += 1
        if shards and reason not in (GONE, CUT):  # no fault of the shard
            self._tries[shards[0].number] += 1
            if self._tries[shards[0].number] >= TRIES:
                first = as_text(shards[0].images[0].path)
                raise WorkerError(
                    f"the shard of {len(shards[0].images):,} images from {first} on failed {TRIES} times, the last on "
                    f"the node {self._last_loss}. {KEPT}"
                )
        if self._losses[worker.node.id] < TRIES:
            self._start_worker(worker.node)
        elif not self._workers and not self._waiting:
            raise WorkerError(f"no worker of the Ray cluster is left, the last was on {self._last_loss}. {KEPT}")

    def _look_around(self) -> None:
        """Find nodes that joined or are gone, and say so where there is nobody to work. Raises WorkerError."""
        now = time.monotonic()
        if any(worker.is_ready for worker in self._workers):
            self._worked = now
        if now - self._looked < LOOK_EVERY:
            return
        self._looked, there = now, {node.id: node for node in nodes_of(self._ray)}
        for node in [node for node in self._nodes.values() if node.id not in there]:
            del self._nodes[node.id]
        for node in there.values():
            if node.id not in self._nodes:
                self._nodes[node.id] = node
                self._waiting[self._inspection.begin(node)] = node
        if now - self._worked < ALONE:
            return
        if not self._waiting:
            raise WorkerError(f"no node of the Ray cluster can work; the last loss: {self._last_loss}. {KEPT}")
        if not self._told:
            self._told = True
            asked = ", ".join(sorted({str(worker.node) for worker in self._workers}))
            warnings.warn(
                f"waiting until other jobs leave room on the Ray cluster: {asked}", CpchubWarning, stacklevel=2
            )

    def _welcome(self, node: Node, answer: Any) -> None:
        """Put workers on a node that joined, unless it cannot do the work."""
        try:
            if isinstance(answer, self._ray.exceptions.RayError):
                raise WorkerError(f"the node {node} does not answer: {reason_of(answer)}")
            self._inspection.check(node, answer)
        except CpchubError as error:
            warnings.warn(f"a node that joined gets no work: {error}", CpchubWarning, stacklevel=2)
            return
        self._employ(node)


def _again(images: int) -> str:
    return f"; {images:,} images are handed out again" if images else ""
