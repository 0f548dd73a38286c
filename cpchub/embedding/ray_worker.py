"""What runs on the nodes of a Ray cluster: workers that hold the network, and tasks that read images for them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cpchub.collection.items import Row
from cpchub.embedding.options import EmbedOptions
from cpchub.embedding.ray_nodes import check_versions, versions
from cpchub.embedding.shards import Outcome, Shard, ShardEncoder
from cpchub.embedding.workers import move
from cpchub.encoders.protocols import ImageEncoder, Vectors
from cpchub.errors import CpchubError
from cpchub.media.sources.base import ListedImage, Source

Embedded = tuple[list[Row], Vectors]
_readers: dict[str, ShardEncoder] = {}  # of this process, by job


class ShardWorker:
    """An actor: the encoder on the node's GPU or on some of its cores, and one shard at a time."""

    def __init__(
        self,
        source: Source,
        encoder: ImageEncoder,
        options: EmbedOptions,
        images: int,
        first: Sequence[ListedImage],
        cores: int,
        gpu: bool,
    ) -> None:
        """cores: how many it may use. gpu: whether it was given one."""
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(cores)
            if gpu and torch.cuda.is_available():
                move(encoder, "cuda:0")  # the one that it was given
        self._encoder = ShardEncoder(source, encoder, options, images, first)

    def ready(self) -> bool:
        """Answers once the network is there."""
        return True

    def embed(self, *parts: Sequence[ListedImage | Outcome]) -> Embedded | CpchubError:
        """Rows and vectors of a shard, given in parts, images or what was read of them; an error that ends the job."""
        images: list[Any] = [image for part in parts for image in part]
        try:
            [(_, rows, vectors)] = self._encoder.run([Shard(0, images)])
        except CpchubError as error:
            return error
        return rows, vectors


def read_part(
    job: str,
    wanted: dict[str, str],
    source: list[Any],
    encoder: list[Any],
    options: EmbedOptions,
    images: Sequence[ListedImage],
) -> list[Outcome]:
    """A task: images, read and prepared for the network, on any processor of the cluster.

    job: its name. wanted: the versions that the node has to have. source, encoder: in the object store, in lists so
    that Ray does not fetch them for each task anew.
    """
    reader = _readers.get(job)
    if reader is None:
        import ray

        check_versions("a node that joined", wanted, versions())
        _readers.clear()
        options = replace(options, decode="cpu")
        reader = _readers[job] = ShardEncoder(ray.get(source[0]), ray.get(encoder[0]), options, len(images))
    return reader.read(images)
