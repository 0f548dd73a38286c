"""The order of the images in an epoch, the same on every rank and on any number of ranks.

Files of their own come in any order. Images that lie together, in a tar shard or in a row group of Parquet, are read
together: a file that was opened for one image serves the next ones, and a rank reads its own part of the files.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Generator, Tensor

LANES = 256  # places in a batch that are filled from files of their own; as many files are open on all ranks together
BLOCK = 512  # most neighbours that follow each other in a lane


@lru_cache(maxsize=2)
def shuffled(n: int, seed: int) -> Tensor:
    """The numbers below `n` in random order; cached for two epochs."""
    return torch.randperm(n, generator=Generator().manual_seed(seed))


def in_lanes(starts: Tensor, n: int, batch_size: int, seed: int) -> Tensor:
    """The numbers below `n` in an order of which each batch takes a few from many files, the next batch the next ones.

    starts: the first image of each shard or row group, ascending from 0. They are cut into blocks, of fewer images the
    smaller the data set; the blocks are shuffled and laid end to end. `LANES` readers, or the next smaller divisor of
    the batch size, begin at equal distances and walk on together. The places of a batch belong to the readers in turn,
    so the ranks, which share a batch out, have readers of their own.
    """
    generator = Generator().manual_seed(seed)
    lanes = max(each for each in range(1, min(LANES, batch_size) + 1) if batch_size % each == 0)
    firsts, lengths = _blocks(starts, n, max(1, min(BLOCK, n // (8 * lanes))))
    order = torch.randperm(len(firsts), generator=generator)
    firsts, lengths = firsts[order], lengths[order]
    laid = torch.arange(n) + torch.repeat_interleave(firsts - (lengths.cumsum(0) - lengths), lengths)
    laid = laid.roll(int(torch.randint(n, (1,), generator=generator)))  # blocks begin at other steps in each epoch
    steps = n // batch_size
    whole = laid[: steps * batch_size].reshape(lanes, steps, batch_size // lanes)
    return torch.cat([whole.transpose(0, 1).reshape(-1), laid[steps * batch_size :]])


def _blocks(starts: Tensor, n: int, size: int) -> tuple[Tensor, Tensor]:
    """First image and length of each block of at most `size` images of one file."""
    ends = torch.cat([starts[1:], torch.tensor([n])])
    counts = (ends - starts + size - 1) // size
    number = torch.arange(int(counts.sum())) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    firsts = torch.repeat_interleave(starts, counts) + number * size
    return firsts, torch.minimum(torch.repeat_interleave(ends, counts) - firsts, torch.tensor(size))
