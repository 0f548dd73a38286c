"""Images for training: a whole data set as one uint8 tensor, so that a batch is an index.

`load("digits")` is scikit-learn's 1,797 handwritten digits, `load("cifar10")` reads the official files,
`load("/folder/of/pictures")` decodes a folder once to squares of one size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from cpchub.errors import SourceError
from cpchub_training.data.random_view import random_view
from cpchub_training.views.on_device import to_device

if TYPE_CHECKING:
    from cpchub_training.data.batches import Batch
    from cpchub_training.recipes import Recipe


class TrainingSet(Protocol):
    """The interface of a data set for the loop, in memory or streamed."""

    @property
    def labels(self) -> Tensor | None:
        """int64 `[N]` on the CPU, or None."""

    @property
    def shards(self) -> Tensor | None:
        """Where images lie together in files, the first image of each shard, int64 ascending; None elsewhere."""

    def __len__(self) -> int: ...

    def digest(self) -> str:
        """A short hash that is equal for equal data."""

    def take(self, rows: Tensor) -> Tensor:
        """The images at `rows` as they are, without randomness: uint8 `[N, C, H, W]` on the CPU."""

    def views(
        self, batches: Iterable[Batch], recipe: Recipe, device: torch.device
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        """Each batch with its `recipe.n_views` random views, normalised `[N, C, S, S]` float32 on `device`.

        The views are a function of the batch alone, and those of an image are the same on any number of ranks.
        """


@dataclass(frozen=True)
class Images:
    """A data set in memory: `images` uint8 `[N, C, H, W]`, `labels` int64 `[N]` or None, and where they came from."""

    name: str
    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()  # path and reason of the images that could not be read
    _copies: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def shards(self) -> None:
        """All images are in memory."""

    def __len__(self) -> int:
        return len(self.images)

    def class_of_each(self) -> np.ndarray:
        """The labels as int64 `[N]`; `SourceError` if there are none."""
        if self.labels is None:
            raise SourceError(f"{self.name} has no labels; put its images in one sub-folder a class")
        return self.labels.numpy()

    def subset(self, rows: np.ndarray) -> Images:
        """The images at `rows`, in that order."""
        keep = torch.from_numpy(rows)
        return replace(self, images=self.images[keep], labels=None if self.labels is None else self.labels[keep])

    def without_labels(self) -> Images:
        """The same images without labels."""
        return replace(self, labels=None)

    def take(self, rows: Tensor) -> Tensor:
        """The images at `rows`, uint8 `[N, C, H, W]`."""
        return self.images[rows]

    def views(
        self, batches: Iterable[Batch], recipe: Recipe, device: torch.device
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        """Each batch with its random views, made on `device`. The whole data set is copied there if it fits."""
        images = self._at(device)
        for batch in batches:
            generator = batch.generator(device)
            chosen = images[to_device(batch.rows, images.device)]
            if images.device != device:
                chosen = to_device(chosen, device)
            yield batch, [random_view(chosen, recipe, generator, i, batch.done) for i in range(recipe.n_views)]

    def _at(self, device: torch.device) -> Tensor:
        """The images on `device`, copied once; left where they are if they would take more than a quarter of its
        memory."""
        if device.type == "cuda" and self.images.nbytes > torch.cuda.get_device_properties(device).total_memory / 4:
            return self.images
        if device not in self._copies:
            self._copies[device] = self.images.to(device)
        return self._copies[device]

    def digest(self) -> str:
        """Short sha256 over the pixels and labels, which says whether two runs saw the same data."""
        h = hashlib.sha256(self.images.numpy().tobytes())
        if self.labels is not None:
            h.update(self.labels.numpy().tobytes())
        return h.hexdigest()[:16]
