"""The distributions that random views are drawn from, as typed values: of images and of patches.

A recipe holds them. torch, which takes seconds to import, comes with the first view that is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cpchub.errors import RecipeError

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Views:
    """One distribution of views. Probabilities are per image; strengths follow torchvision's names and meaning.

    The defaults are SimCLR's for images of CIFAR size (arXiv 2002.05709, appendix B.9: strength 0.5, no blur).
    """

    size: int = 32
    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    jitter_p: float = 0.8
    grey_p: float = 0.2
    grey_first: bool = False  # before the jitter, as InstDisc and MoCo v1 do; then it can be coloured by nothing
    blur_p: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_p: float = 0.0
    gamma: float = 0.0  # exponent exp(U(-gamma, gamma))
    rotation: float = 0.0  # degrees, +-
    shear: float = 0.0  # degrees, +-
    elastic: float = 0.0  # largest displacement, as a share of the image's side
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    padding: Literal["reflection", "border", "zeros"] = "reflection"  # what lies outside the image

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """One random view of each image: `[N, C, H, W]` uint8 -> `[N, C, size, size]` float32 in [0, 1]."""
        from cpchub_training.views.batched import draw

        return draw(self, images, generator)

    def check_per_image(self) -> None:
        """Raise `RecipeError` for settings that only the batched views support."""
        for name in ("gamma", "rotation", "shear", "elastic"):
            if getattr(self, name):
                raise RecipeError(
                    f"views.{name}={getattr(self, name)} is for views made on the device: --views-on device"
                )
        if self.crop_scale[1] > 1:
            raise RecipeError(
                f"views.crop_scale={self.crop_scale} shows more than the image, which is for views made on the "
                "device: --views-on device"
            )


@dataclass(frozen=True)
class PatchViews:
    """One distribution of views of patches. Probabilities are per patch.

    A patch goes through the operations in the order of the fields. Where only some patches of a batch are changed by a
    costly operation, their share of the batch is exactly its probability, at random places.
    """

    jitter: int = 0  # pixels: CPC v1 shows a sub-crop smaller by this much, in the middle of the patch
    flip: float = 0.5
    operations: int = 2  # of AutoAugment's sixteen, one after the other
    elastic_p: float = 0.2
    elastic: float = 0.1  # largest displacement, as a share of the patch's side
    shear: float = 20.0  # degrees, +-, together with the elastic deformation
    histogram_p: float = 0.2
    distort_p: float = 0.8  # Inception's colour distortion: brightness, saturation, hue, contrast
    brightness: float = 32 / 255
    saturation: float = 0.5
    contrast: float = 0.5
    hue: float = 0.2
    drop_colours_p: float = 0.25  # two of the three channels become grey
    grey_p: float = 0.25

    def __call__(self, images: Tensor, size: int, stride: int, generator: Generator | None = None) -> Tensor:
        """`[B, 3, H, W]` float in [0, 1] to `[B, rows, columns, 3, size, size]`, each patch channels-last in memory.

        Raises `ArgumentError` for images smaller than a patch.
        """
        from cpchub_training.views.patches import draw

        return draw(self, images, size, stride, generator)


NO_PATCH_VIEWS = PatchViews(
    flip=0.0, operations=0, elastic_p=0.0, histogram_p=0.0, distort_p=0.0, drop_colours_p=0.0, grey_p=0.0
)
