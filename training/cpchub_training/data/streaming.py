"""Data sets larger than memory: threads decode images a few batches ahead of the network.

Order and views of a batch are a function of its rows and seed, so a streamed run repeats and resumes like a run in
memory. With views made on the device, both see the same views. Of a large image a smaller copy is made, which the next
epochs read from disk (`cpchub_training.data.kept_images`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cpchub.common.progress import remarks
from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.sources.parquet import read_at_many_places
from cpchub_training import data
from cpchub_training.data.batches import Batch, mixed
from cpchub_training.data.kept_images import NONE, Copies
from cpchub_training.data.left_out import tell_left_out
from cpchub_training.data.listing import Listed, square_of
from cpchub_training.data.order import LANES
from cpchub_training.data.random_view import normalised, random_view
from cpchub_training.data.resized import Copy, Smaller, Square
from cpchub_training.recipes import Recipe
from cpchub_training.views import per_image
from cpchub_training.views.on_device import to_device
from cpchub_training.views.settings import Views

AHEAD = 3  # batches that are decoded while the network works
MOST_BROKEN = 0.5  # of a batch
GREY = 128


class Stream:
    """A data set on disk or in a bucket, for the loop. `size`: the side of the squares that the device crops from.

    An unreadable image is replaced by plain grey, so that batches keep their size, and is listed in `skipped` with the
    reason. The first is reported at once, all of them when the batches end. A batch with half of its images broken
    raises SourceError.

    image_cache: as a recipe has it.
    """

    def __init__(self, listed: Listed, size: int, workers: int | None = None, image_cache: str = NONE) -> None:
        self.listed, self.size, self.image_cache = listed, size, image_cache
        self._copies: dict[Copy, Copies] = {}
        self.workers = workers or min(32, os.cpu_count() or 1)
        self.skipped: dict[str, str] = {}
        self._told = 0
        read_at_many_places(listed.source, LANES)

    @property
    def labels(self) -> Tensor | None:
        return self.listed.labels

    @property
    def shards(self) -> Tensor | None:
        return self.listed.shards()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.listed.classes

    def __len__(self) -> int:
        return len(self.listed)

    def digest(self) -> str:
        """Short sha256 over names and sizes."""
        return self.listed.digest()

    def subset(self, rows: np.ndarray) -> Stream:
        """The images at `rows`, in that order."""
        return Stream(self.listed.subset(rows), self.size, self.workers, self.image_cache)

    def without_labels(self) -> Stream:
        """The same images as if nobody knew what they show."""
        return Stream(replace(self.listed, labels=None, classes=()), self.size, self.workers, self.image_cache)

    @property
    def share_kept(self) -> float:
        """Of the images that were read, the share that came from the cache."""
        found, made = (sum(getattr(each, name) for each in self._copies.values()) for name in ("found", "made"))
        return found / max(1, found + made)

    def take(self, rows: Tensor) -> Tensor:
        """Squares of the images at `rows`, uint8 `[N, 3, size, size]`."""
        self._open(Square(self.size))
        with ThreadPoolExecutor(self.workers) as pool:
            return torch.stack(list(pool.map(self._square, rows.tolist())))

    def views(
        self, batches: Iterable[Batch], recipe: Recipe, device: torch.device
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        """Each batch with its views; the next batches are decoded in the meantime."""
        self._open(_copy(recipe, self.size))
        finish = self._views_of_squares if recipe.views_on == "device" else self._stacked_views
        waiting: deque[tuple[Batch, list[Future[Tensor]]]] = deque()
        batches = iter(batches)
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        try:
            while True:
                for batch in islice(batches, AHEAD + 1 - len(waiting)):
                    tasks = self._tasks(batch, recipe)
                    waiting.append((batch, [pool.submit(task, *given) for task, *given in tasks]))
                if not waiting:
                    return
                batch, futures = waiting.popleft()
                decoded = torch.stack([future.result() for future in futures])
                self._check(batch)
                yield batch, finish(batch, decoded, recipe, device)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._tell()

    def _tasks(self, batch: Batch, recipe: Recipe) -> list[tuple[Any, ...]]:
        rows = batch.rows.tolist()
        if recipe.views_on == "device":
            return [(self._square, row) for row in rows]
        each = [recipe.views_of(i, batch.done) for i in range(recipe.n_views)]
        smaller = self._copies[_copy(recipe, self.size)]
        return [
            (self._views_of_file, row, mixed(batch.seed, i, 0), each, smaller)
            for i, row in enumerate(rows, batch.first)
        ]

    def _open(self, copy: Copy) -> None:
        """Look for the copies that are kept, before threads ask for them."""
        if copy not in self._copies:
            self._copies[copy] = Copies(self.listed, copy, self.image_cache)

    def _square(self, row: int) -> Tensor:
        try:
            return square_of(self._copies[Square(self.size)].read(row), self.size)
        except BrokenImageError as error:
            self._skip(row, error)
            return torch.full((3, self.size, self.size), GREY, dtype=torch.uint8)

    def _views_of_file(self, row: int, seed: int, each: Sequence[Views], smaller: Copies) -> Tensor:
        """All views of one image, `[V, 3, S, S]`."""
        generator = torch.Generator().manual_seed(seed)
        try:
            encoded = smaller.read(row)
            made = [per_image.image_view(encoded, views, generator) for views in each]
        except BrokenImageError as error:
            self._skip(row, error)
            made = [torch.full((3, views.size, views.size), GREY / 255) for views in each]
        return torch.stack(made)

    def _views_of_squares(self, batch: Batch, squares: Tensor, recipe: Recipe, device: torch.device) -> list[Tensor]:
        generator = batch.generator(device)
        images = to_device(squares, device)
        return [random_view(images, recipe, generator, i, batch.done) for i in range(recipe.n_views)]

    def _stacked_views(self, batch: Batch, views: Tensor, recipe: Recipe, device: torch.device) -> list[Tensor]:
        return [normalised(to_device(view, device), recipe) for view in views.unbind(1)]

    def _skip(self, row: int, error: BrokenImageError) -> None:
        path = self.listed.images[row].path
        if path not in self.skipped:
            self.skipped[path] = str(error)
            if len(self.skipped) == 1:
                remarks().print(f"{path} is left out: {error}. Others like it are too.", soft_wrap=True)

    def _tell(self) -> None:
        """Report what is left out, if there is more than was reported before."""
        if len(self.skipped) > self._told:
            tell_left_out(sorted(self.skipped.items()), len(self), data.title(self.listed.source.location))
        self._told = len(self.skipped)

    def _check(self, batch: Batch) -> None:
        paths = [self.listed.images[row].path for row in batch.rows.tolist()]
        broken = [path for path in paths if path in self.skipped]
        if len(broken) > MOST_BROKEN * len(paths):
            raise SourceError(
                f"{len(broken)} of {len(paths)} images of a batch cannot be read, first {broken[0]}: "
                f"{self.skipped[broken[0]]}; check {self.listed.source.location}"
            )


def _copy(recipe: Recipe, size: int) -> Copy:
    """What views are drawn from: squares on the device, else images with the pixels that crops need."""
    return Square(size) if recipe.views_on == "device" else Smaller.of_views(recipe.largest_views)
