"""The images of each step, as a function of seed, step and rank. A checkpoint saves nothing of this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from cpchub_training.recipes import Recipe


@dataclass(frozen=True)
class Batch:
    """One rank's share of a step: `rows` of the data set (int64, on the CPU) and the seed of all that is random."""

    step: int
    epoch: int
    rows: Tensor
    seed: int


class Batches:
    """The steps of a run over `n_images`, as rank `rank` of `world_size` sees them.

    Images left over at the end of an epoch are dropped until the next epoch. With `drop_last=False` they make a
    smaller batch: the largest that ranks and accumulation divide evenly, with at least 2 images a part.

    `labelled`: rows with labels. The recipe's share of every batch is drawn from them, with repetition. The parts of
    an accumulated batch have equally many of them (up to one), and at least one each.
    """

    def __init__(
        self, recipe: Recipe, n_images: int, rank: int = 0, world_size: int = 1, labelled: Tensor | None = None
    ) -> None:
        self.labelled, self.share, self.parts = labelled, recipe.semi.labelled_share, recipe.accumulate
        self.seed, self.batch_size, self.n_images = recipe.seed, recipe.batch_size, n_images
        self.rank, self.world_size = rank, world_size
        full, left = divmod(n_images, recipe.batch_size)
        parts = world_size * recipe.accumulate
        self.ragged = 0 if recipe.drop_last or left < 2 * parts else left - left % parts
        self.steps_per_epoch = full + (self.ragged > 0)

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of the steps from `start` up to `stop`."""
        for step in range(start, stop):
            epoch, position = divmod(step, self.steps_per_epoch)
            order = _order(self.n_images, mixed(self.seed, epoch, -1))
            size = self.batch_size
            if self.ragged and position == self.steps_per_epoch - 1:
                size = self.ragged
            mine = size // self.world_size
            first = position * self.batch_size + self.rank * mine
            yield Batch(step, epoch, self._rows(order[first : first + mine], step), mixed(self.seed, step, self.rank))

    def _rows(self, rows: Tensor, step: int) -> Tensor:
        """The rows, some of them replaced by labelled ones."""
        if self.labelled is None:
            return rows
        generator = torch.Generator().manual_seed(mixed(self.seed + 1, step, self.rank))
        n_drawn = max(self.parts, round(self.share * len(rows)))
        drawn = torch.randint(len(self.labelled), (n_drawn,), generator=generator)
        mixture = torch.cat([self.labelled[drawn], rows[n_drawn:]])
        return torch.cat([mixture[i :: self.parts] for i in range(self.parts)])


@lru_cache(maxsize=2)
def _order(n: int, seed: int) -> Tensor:
    """The order of the images in an epoch, the same on every rank; cached for two epochs."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def mixed(seed: int, a: int, b: int) -> int:
    """One 63-bit seed from three numbers, mixed by splitmix64, so that neighbouring steps are unrelated."""
    x = (seed * 0x9E3779B97F4A7C15 + a * 0xBF58476D1CE4E5B9 + (b + 2) * 0x94D049BB133111EB) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return (x ^ (x >> 31)) >> 1
