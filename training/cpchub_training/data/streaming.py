"""Data sets larger than memory: threads decode images a few batches ahead of the network.

Order and views of a batch are a function of its rows and seed, so a streamed run repeats and resumes like a run in
memory. With views made on the device, both see the same views.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
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
from cpchub_training.data.left_out import tell_left_out
from cpchub_training.data.listing import Listed, square
from cpchub_training.data.order import LANES
from cpchub_training.data.random_view import normalised, random_view
from cpchub_training.recipes import Recipe
from cpchub_training.views import per_image
from cpchub_training.views.on_device import to_device

AHEAD = 3  # batches that are decoded while the network works
MOST_BROKEN = 0.5  # of a batch
GREY = 128


class Stream:
    """A data set on disk or in a bucket, for the loop. `size`: the side of the squares that the device crops from.

    An unreadable image is replaced by plain grey, so that batches keep their size, and is listed in `skipped` with the
    reason. The first is reported at once, all of them when the batches end. A batch with half of its images broken
    raises SourceError.
    """

    def __init__(self, listed: Listed, size: int, workers: int | None = None) -> None:
        self.listed, self.size = listed, size
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
        return Stream(self.listed.subset(rows), self.size, self.workers)

    def without_labels(self) -> Stream:
        """The same images as if nobody knew what they show."""
        return Stream(replace(self.listed, labels=None, classes=()), self.size, self.workers)

    def take(self, rows: Tensor) -> Tensor:
        """Squares of the images at `rows`, uint8 `[N, 3, size, size]`."""
        with ThreadPoolExecutor(self.workers) as pool:
            return torch.stack(list(pool.map(self._square, rows.tolist())))

    def views(
        self, batches: Iterable[Batch], recipe: Recipe, device: torch.device
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        """Each batch with its views; the next batches are decoded in the meantime."""
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
        return [(self._views_of_file, row, mixed(batch.seed, i, 0), recipe) for i, row in enumerate(rows, batch.first)]

    def _square(self, row: int) -> Tensor:
        try:
            return square(self.listed.read(row), self.size)
        except BrokenImageError as error:
            self._skip(row, error)
            return torch.full((3, self.size, self.size), GREY, dtype=torch.uint8)

    def _views_of_file(self, row: int, seed: int, recipe: Recipe) -> Tensor:
        """All views of one image, `[V, 3, S, S]`."""
        generator = torch.Generator().manual_seed(seed)
        try:
            encoded = self.listed.read(row)
            views = [per_image.image_view(encoded, recipe.views_of(i), generator) for i in range(recipe.n_views)]
        except BrokenImageError as error:
            self._skip(row, error)
            side = recipe.views.size
            views = [torch.full((3, side, side), GREY / 255)] * recipe.n_views
        return torch.stack(views)

    def _views_of_squares(self, batch: Batch, squares: Tensor, recipe: Recipe, device: torch.device) -> list[Tensor]:
        generator = batch.generator(device)
        images = to_device(squares, device)
        return [random_view(images, recipe, generator, i) for i in range(recipe.n_views)]

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
