"""Who embeds the shards of a job: this process, several processes of this machine, or the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cpchub.embedding.shards import Shard, ShardEncoder
from cpchub.embedding.workers import Job, embed_in_processes


def embed_shards(job: Job, shards: Iterable[Shard], advance: Callable[[int], object]) -> None:
    """Embed the shards into `job.pending`, each complete or not at all; the files do not depend on who does it.

    advance: called with numbers of images that are done.
    """
    if job.options.in_this_process:
        with ShardEncoder(job.source, job.encoder, job.options, job.images, job.first) as encoder:
            for number, rows, vectors in encoder.run(shards, advance):
                job.pending.write(number, rows, vectors)
        return
    if job.options.on == "ray":
        from cpchub.embedding.on_ray import embed_on_ray

        done = embed_on_ray(job, shards)
    else:
        done = embed_in_processes(job, shards)
    for some in done:
        advance(some)
