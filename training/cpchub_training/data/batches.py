"""The images of each step, as a function of seed and step; ranks share them out. A checkpoint saves nothing of this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cpchub_training.data import order
from cpchub_training.recipes import Recipe
from cpchub_training.views.part_of_batch import PartOfBatch


@dataclass(frozen=True)
class Batch:
    """One rank's share of a step: `rows` of the data set (int64, on the CPU) and the seed of all that is random.

    done: the share of the run that is over before it.
    first, whole: `rows` are those from `first` on of a batch of `whole` on all ranks; 0 where they are all of it.
    """

    step: int
    epoch: int
    rows: Tensor
    seed: int
    first: int = 0
    whole: int = 0
    done: float = 1.0

    def generator(self, device: torch.device) -> PartOfBatch:
        """The source of the batch's views on `device`: the same views of an image, however many ranks share a step."""
        return PartOfBatch(device, self.seed, self.first, self.whole or len(self.rows))


class Batches:
    """The steps of a run over `n_images`, as rank `rank` of `world_size` sees them: its part of each batch.

    Images left over at the end of an epoch are dropped until the next epoch. With `drop_last=False` they make a
    smaller batch: the largest that ranks and accumulation divide evenly, with at least 2 images a part.

    `labelled`: rows with labels. The recipe's share of every batch is drawn from them, with repetition, at places
    spread evenly over the batch: ranks, and the parts of an accumulated batch, have equally many of them (up to one),
    and at least one each.

    `shards`: the first image of each shard, where images lie together in files; see `data.order`.
    """

    def __init__(
        self,
        recipe: Recipe,
        n_images: int,
        rank: int = 0,
        world_size: int = 1,
        labelled: Tensor | None = None,
        shards: Tensor | None = None,
    ) -> None:
        self.shards = shards
        self._laid: tuple[int, Tensor] | None = None
        self.labelled, self.share = labelled, recipe.semi.labelled_share
        self.seed, self.batch_size, self.n_images = recipe.seed, recipe.batch_size, n_images
        self.rank, self.world_size = rank, world_size
        full, left = divmod(n_images, recipe.batch_size)
        self.parts = world_size * recipe.accumulate
        self.ragged = 0 if recipe.drop_last or left < 2 * self.parts else left - left % self.parts
        self.steps_per_epoch = full + (self.ragged > 0)
        self.total = recipe.epochs * self.steps_per_epoch

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of the steps from `start` up to `stop`."""
        for step in range(start, stop):
            epoch, position = divmod(step, self.steps_per_epoch)
            rows = self._order(epoch)
            size = self.batch_size
            if self.ragged and position == self.steps_per_epoch - 1:
                size = self.ragged
            at = position * self.batch_size
            rows = self._some_labelled(rows[at : at + size], step)
            n = size // self.world_size
            first = self.rank * n
            yield Batch(step, epoch, rows[first : first + n], mixed(self.seed, step, 0), first, size, step / self.total)

    def _order(self, epoch: int) -> Tensor:
        """The order of the images in an epoch; that of images in shards is made once an epoch."""
        if self.shards is None:
            return order.shuffled(self.n_images, mixed(self.seed, epoch, -1))
        if self._laid is None or self._laid[0] != epoch:
            seed = mixed(self.seed, epoch, -1)
            self._laid = (epoch, order.in_lanes(self.shards, self.n_images, self.batch_size, seed))
        return self._laid[1]

    def _some_labelled(self, rows: Tensor, step: int) -> Tensor:
        """The rows of a batch, some of them replaced by labelled ones."""
        if self.labelled is None:
            return rows
        generator = torch.Generator().manual_seed(mixed(self.seed + 1, step, 0))
        n_drawn = max(self.parts, round(self.share * len(rows)))
        drawn = self.labelled[torch.randint(len(self.labelled), (n_drawn,), generator=generator)]
        before = torch.arange(len(rows) + 1) * n_drawn // len(rows)  # labelled ones before each place
        return torch.where(before.diff() > 0, drawn[before[:-1]], rows)


def mixed(seed: int, a: int, b: int) -> int:
    """One 63-bit seed from three numbers, mixed by splitmix64, so that neighbouring steps are unrelated."""
    x = (seed * 0x9E3779B97F4A7C15 + a * 0xBF58476D1CE4E5B9 + (b + 2) * 0x94D049BB133111EB) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return (x ^ (x >> 31)) >> 1
