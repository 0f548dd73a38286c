"""Random numbers for a part of a batch: drawn for all of its images, so that a view does not depend on who makes it.

A rank makes the views of its own images only. It draws the few numbers of each view for the whole batch and keeps those
of its images. Then a step of several ranks shows what the step of one shows.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


class PartOfBatch(Generator):
    """A generator for the images `first` to `first + n` of a batch of `whole`; see `rand`."""

    def __new__(cls, device: torch.device, seed: int, first: int, whole: int) -> PartOfBatch:
        made = super().__new__(cls, device=device)  # type: ignore[call-arg]
        made.manual_seed(seed)
        made.first, made.whole = first, whole
        return made

    first: int
    whole: int

    def of_its_own(self, number: int) -> Generator:
        """A generator for draws that are no function of one image, such as the order of all patches: the part's own."""
        seed = (self.initial_seed() + 0x9E3779B97F4A7C15 * (1 + number) + self.first) % 2**63
        return Generator(device=self.device).manual_seed(seed)


def rand(
    *shape: int,
    device: torch.device,
    generator: Generator | None,
    images: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Uniform numbers in [0, 1), as `torch.rand`; dimension `images` of `shape` counts the images."""
    if not isinstance(generator, PartOfBatch):
        return torch.rand(shape, device=device, generator=generator, dtype=dtype)
    whole = (*shape[:images], generator.whole, *shape[images + 1 :])
    drawn = torch.rand(whole, device=device, generator=generator, dtype=dtype)
    return drawn.narrow(images, generator.first, shape[images])
