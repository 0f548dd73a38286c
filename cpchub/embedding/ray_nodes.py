"""A Ray cluster and its nodes: start or join it, and find out whether a node can do the work before it gets any."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from typing import Any

from cpchub.common.extras import import_extra
from cpchub.embedding.shards import Shard
from cpchub.errors import ArgumentError, BrokenImageError, CpchubError, SourceError, WorkerError
from cpchub.media.sources.base import ListedImage, Source, as_text

DECIDE = ("cpchub", "pillow", "timm", "torch")  # the packages that decide the vectors
READ_AHEAD = 16  # images that are looked at for one that can be read here
GONE, CUT = "the node is gone", "the connection to it was cut"
REASONS = (  # what Ray writes, among much else, and what it means
    ("node has died", GONE),
    ("temporarily unavailable", CUT),
    ("low on memory", "Ray ended it, since the node ran low on memory"),
    ("unexpectedly exits", "its process ended by itself, often for too little memory"),
)
ANSWERS = 10.0  # seconds in which the head node has to answer
THIS_MACHINE = "127.0.0.1"  # whoever reaches a port of Ray can run code there


@dataclass(frozen=True)
class Node:
    """A node of the cluster. cpus, gpus: how many it has, whoever uses them."""

    id: str
    name: str
    cpus: int
    gpus: int

    def __str__(self) -> str:
        return self.name


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at `address`; None: the one of RAY_ADDRESS, else one of this machine.

    A connection that the program has already is used, and stays. Raises DependencyError, ArgumentError, WorkerError.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use to its makers otherwise
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it Ray prints a remark
    if address is not None and "://" in address:
        raise ArgumentError(
            f"address {address!r}: give HOST:PORT of the cluster's head node, or 'auto' on a node of it"
        )
    ray = import_extra("ray", extra="ray")
    if ray.is_initialized():
        yield ray
        return
    with _own_sigterm():
        _connect(ray, address)
        try:
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS")
    of_this_machine: dict[str, Any] = (
        {}
        if address
        else {
            "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "include_dashboard": False,
            "_node_ip_address": THIS_MACHINE,
        }
    )
    try:
        host, colon, port = (address or "").rpartition(":")
        if colon and port.isdigit():  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), timeout=ANSWERS).close()
        ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **of_this_machine)
    except Exception as error:  # another Python, another Ray, no answer in time: Ray has no type for each
        where = f"the Ray cluster at {address} cannot be joined" if address else "Ray does not start on this machine"
        raise WorkerError(f"{where}: {str(error).strip().splitlines()[0]}") from error


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what SIGTERM does; Ray sets it in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def nodes_of(ray: Any) -> list[Node]:
    """The nodes that are alive and have processors to give."""
    nodes = []
    for each in ray.nodes():
        resources = each["Resources"]
        node = Node(
            id=each["NodeID"],
            name=f"{each['NodeManagerHostname']} ({each['NodeManagerAddress']})",
            cpus=int(resources.get("CPU", 0)),
            gpus=int(resources.get("GPU", 0)),
        )
        if each["Alive"] and (node.cpus or node.gpus):
            nodes.append(node)
    return sorted(nodes, key=lambda node: node.id)


def on_node(ray: Any, node: Node) -> Any:
    """The scheduling strategy that keeps work on a node."""
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)


def versions() -> dict[str, str]:
    """Package -> its version here, of those that decide the vectors; the builds for a GPU and a CPU are the same."""
    found = {}
    for name in DECIDE:
        try:
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:  # cpchub, imported from a folder
            continue
    return found


def check_versions(node: str, wanted: Mapping[str, str], there: Mapping[str, str | None]) -> None:
    """Raise WorkerError where a node has other versions than the process that hands out the work, naming both."""
    other = [name for name, here in wanted.items() if there.get(name) != here]
    if other:
        said = ", ".join(f"{name} {there.get(name) or 'missing'} instead of {wanted[name]}" for name in other)
        raise WorkerError(f"{node} has {said}; install the same versions on all nodes")


def first_readable(source: Source, shards: Sequence[Shard]) -> ListedImage | None:
    """One of the first images of the shards that can be read here, which a node has to be able to read too."""
    for image in islice((image for shard in shards for image in shard.images), READ_AHEAD):
        try:
            source.read(image)
            return image
        except BrokenImageError:
            continue
    return None


class Inspection:
    """Looks at nodes: `begin` it, and `check` what comes back."""

    def __init__(self, ray: Any, source: Any, location: str, image: ListedImage | None) -> None:
        """source: the source in the object store. image: one that every node has to be able to read."""
        self._ray, self._source, self._location, self._image = ray, source, location, image
        self._wanted = versions()
        self._look = ray.remote(_look())

    def begin(self, node: Node) -> Any:
        """What the node will say, to be waited for."""
        look = self._look.options(num_cpus=0, scheduling_strategy=on_node(self._ray, node))
        return look.remote(self._wanted, [self._source], self._image)

    def check(self, node: Node, answer: tuple[dict[str, str | None], str]) -> None:
        """Raise WorkerError where the node has other versions, SourceError where it cannot see the images."""
        there, reason = answer
        check_versions(f"the node {node}", self._wanted, there)
        if reason and self._image is not None:
            raise SourceError(
                f"the node {node} cannot read {as_text(self._image.path)} of {self._location} ({reason}), which can be "
                "read here. Every node has to see the images: put them on a disk that all nodes mount under this "
                "path, or into a bucket"
            )


def _look() -> Callable[..., tuple[dict[str, str | None], str]]:
    """The function that looks at a node. Within a function, so that it travels as code: cpchub may not be there."""

    def look(wanted: dict[str, str], source: list[Any], image: Any) -> tuple[dict[str, str | None], str]:
        """The versions there, and why the image cannot be read there, "" if it can."""
        from importlib import metadata

        there: dict[str, str | None] = {}
        for name in wanted:
            try:
                there[name] = metadata.version(name).partition("+")[0]
            except metadata.PackageNotFoundError:
                there[name] = None
        if there != wanted or image is None:
            return there, ""
        import ray

        from cpchub.errors import CpchubError

        try:
            ray.get(source[0]).read(image)
        except CpchubError as error:
            return there, str(error)
        return there, ""

    return look


def reason_of(error: BaseException) -> str:
    """Why a worker or a node was lost, in one line, of Ray's report of many."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, CpchubError):
        return str(cause)
    text = str(error)
    for found, reason in REASONS:
        if found in text:
            return reason
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
