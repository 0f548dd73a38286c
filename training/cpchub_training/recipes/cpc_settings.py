"""The settings of CPC, as typed values: for images (versions 1 and 2) and for sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cpchub.errors import RecipeError
from cpchub_training.views.settings import PatchViews


@dataclass(frozen=True)
class CPCSettings:
    """CPC on a grid of patches. The geometry, patch and stride, stands in the backbone's arguments.

    The defaults are those of CPC v2 (arXiv 1905.09272, its later versions). The paper leaves three points open. Do the
    directions share weights? Here they do not, except for the projection of the targets. Are their losses summed or
    averaged? Here they are averaged; Adam gives the same result. Which images are the negatives of one worker? Here
    `group` consecutive images of a batch, whatever the number of devices.
    """

    directions: Literal[1, 2, 4] = 4  # 1: from above to below; 2: and back; 4: and from left and right
    shared: bool = False  # one context network and one W_k for all directions
    first_offset: int = 0  # rows from a context to the nearest row it predicts; 0: the nearest without overlap
    offsets: int = 1  # how many rows are predicted, from the first on
    target_dim: int = 64  # what predictions and targets are compared in; 0: the encoder's own space, as in version 1
    emb_scale: float = 0.1  # factor on the predictions
    context_blocks: int = 5
    context_width: int = 256  # channels within a block of the context network
    group: int = 16  # images whose patches are one another's negatives; 0: all of a rank
    all_ranks: bool = False  # negatives from the images of every rank
    checkpoint_activations: bool = False  # compute the encoder's activations twice instead of keeping them
    patches: PatchViews = field(default_factory=PatchViews)

    def grid(self, side: int, patch: int, stride: int) -> tuple[int, range]:
        """The rows of the grid that `side` pixels give, and the offsets predicted on it.

        Raises `RecipeError` with the arithmetic for a geometry on which nothing can be predicted.
        """
        if patch > side:
            raise RecipeError(
                f"a patch of {patch} pixels is larger than the {side} pixels of a view; enlarge --views.size"
            )
        rows = (side - patch) // stride + 1
        how = f"({side} - {patch}) // {stride} + 1 = {rows}"
        if rows < 2:
            raise RecipeError(
                f"views of {side} pixels with patches of {patch} every {stride} give {how} row, and nothing to "
                "predict; use a smaller patch or stride in --backbone-args, or a larger --views.size"
            )
        first = self.first_offset or -(-patch // stride)
        last = first + self.offsets - 1
        if last > rows - 1:
            why = "--cpc.first-offset" if self.first_offset else f"ceil({patch} / {stride})"
            raise RecipeError(
                f"the grid has {how} rows, so offsets go up to {rows - 1}, but the last one asked for is {last} = "
                f"{first} ({why}) + {self.offsets} (--cpc.offsets) - 1; use fewer, a smaller stride or a larger view"
            )
        return rows, range(first, last + 1)

    def groups(self, images: int) -> int:
        """Into how many groups of negatives a rank's `images` fall; `RecipeError` where they do not divide."""
        if not self.group or images <= self.group:
            return 1
        if images % self.group:
            raise RecipeError(
                f"{images} images a rank do not fall into groups of {self.group} (--cpc.group), {images} = "
                f"{images // self.group} x {self.group} + {images % self.group}; use --batch-size "
                f"{images - images % self.group} a rank, or --cpc.group 0"
            )
        return images // self.group

    def check(self) -> None:
        """Raise `RecipeError` for values that cannot work whatever the geometry."""
        problems = {
            "directions": self.directions in (1, 2, 4),
            "first_offset": self.first_offset >= 0,
            "offsets": self.offsets >= 1,
            "target_dim": self.target_dim >= 0,
            "emb_scale": self.emb_scale > 0,
            "context_blocks": self.context_blocks >= 1,
            "context_width": self.context_width >= 1,
            "group": self.group >= 0,
        }
        for name, fine in problems.items():
            if not fine:
                raise RecipeError(
                    f"cpc.{name}={getattr(self, name)!r} cannot work; change --cpc.{name.replace('_', '-')}"
                )
        if self.all_ranks and self.group:
            raise RecipeError(
                f"cpc.all_ranks takes negatives from every rank, cpc.group={self.group} from {self.group} images; "
                "use --cpc.group 0 with it"
            )


@dataclass(frozen=True)
class AudioSettings:
    """CPC on sound (arXiv 1807.03748, section 3.1), lengths in samples; the defaults are the paper's."""

    sample_rate: int = 16_000
    window: int = 20_480
    steps: int = 12  # how many steps of the encoder ahead are predicted, each by a W_k of its own
    negatives: Literal["batch", "window"] = "batch"  # z from all windows of the rank, or from the same window only

    def check(self) -> None:
        """Raise `RecipeError` for values that cannot work."""
        problems = {
            "sample_rate": self.sample_rate >= 1,
            "window": self.window >= 1,
            "steps": self.steps >= 1,
            "negatives": self.negatives in ("batch", "window"),
        }
        for name, fine in problems.items():
            if not fine:
                raise RecipeError(
                    f"audio.{name}={getattr(self, name)!r} cannot work; change --audio.{name.replace('_', '-')}"
                )
