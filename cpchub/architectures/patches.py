"""A grid of overlapping patches around a network: how CPC sees an image while it trains.

The image is cut into patches, every patch goes through the network by itself (all of them folded into the batch), and
each becomes one vector: its feature map, averaged. The feature map of the image is then the grid of these vectors,
`[B, D, rows, columns]`, and global pooling is the mean over the grid (van den Oord et al. 2018, section 3.2).

The weights are those of the network on whole images, under the same names, so one file serves both modes:

    timm.create_model("cpc_resnet161", patch_size=80, patch_stride=36)  # as trained: 6 x 6 patches of 260 pixels
    timm.create_model("cpc_resnet161")                                  # whole images: dense features, detection
    on_patches(timm.create_model("resnet50", num_classes=0), 64, 32)    # any other network of timm's
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from cpchub.errors import ArgumentError


def to_patches(x: Tensor, size: int, stride: int) -> Tensor:
    """Images `[B, C, H, W]` to overlapping patches `[B, rows, columns, C, size, size]`, row by row from the top left.

    There are `(H - size) // stride + 1` rows; what is left at the right and at the bottom is not seen.
    """
    if min(x.shape[-2:]) < size:
        raise ArgumentError(
            f"an image of {x.shape[-2]} x {x.shape[-1]} pixels has no patch of {size} x {size}; "
            "resize it, or take a smaller patch_size"
        )
    return x.unfold(2, size, stride).unfold(3, size, stride).permute(0, 2, 3, 1, 4, 5)


class PatchGrid(nn.Module):
    """The mode as a mixin, first among the bases of a network that keeps timm's contract.

    patch_size, patch_stride: in pixels; without them, or with a size of 0, the network works on whole images. (0 is
        for a model folder whose own size is to be overruled: timm takes a None for "as in the folder".)
    On patches, each entry of `forward_intermediates` is a grid of vectors too, so every reduction is `patch_stride`.
    """

    patch_size: int | None = None
    patch_stride: int | None = None
    feature_info: Any

    def __init__(
        self, *args: Any, patch_size: int | None = None, patch_stride: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if patch_size != 0 and (patch_size, patch_stride) != (None, None):
            self.use_patches(patch_size, patch_stride)

    def use_patches(self, size: int | None, stride: int | None) -> None:
        """From now on, work on patches of `size` pixels every `stride` pixels."""
        if size is None or stride is None or size < 1 or stride < 1:
            raise ArgumentError(
                f"patch_size is {size!r} and patch_stride is {stride!r}; give both, in pixels, or neither"
            )
        self.patch_size, self.patch_stride = int(size), int(stride)
        self.feature_info = [{**info, "reduction": self.patch_stride} for info in self.feature_info]

    def forward_features(self, x: Tensor, **kwargs: Any) -> Tensor:
        """`[B, C, H, W]` to `[B, D, h, w]`: the feature map, or the grid of the patches' vectors.

        On patches, ready ones are taken too, `[B, rows, columns, C, size, size]`: training changes each by itself.
        """
        # super() is never kept in a variable: torch.compile would break its graph there on Python 3.12
        if self.patch_size is None:
            return super().forward_features(x, **kwargs)  # type: ignore[misc]
        patches, rows, columns = self._fold(x)
        return _to_grid(super().forward_features(patches, **kwargs), rows, columns)  # type: ignore[misc]

    def forward_intermediates(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As timm's; on patches, each map is averaged over its patch and laid out on the grid."""
        if self.patch_size is None:
            return super().forward_intermediates(x, *args, **kwargs)  # type: ignore[misc]
        patches, rows, columns = self._fold(x)
        found = super().forward_intermediates(patches, *args, **kwargs)  # type: ignore[misc]
        if isinstance(found, list):
            return [_to_grid(each, rows, columns) for each in found]
        final, maps = found
        return _to_grid(final, rows, columns), [_to_grid(each, rows, columns) for each in maps]

    def _fold(self, x: Tensor) -> tuple[Tensor, int, int]:
        if self.patch_size is None or self.patch_stride is None:
            raise ArgumentError("this network works on whole images; call use_patches first")
        patches = x if x.ndim == 6 else to_patches(x, self.patch_size, self.patch_stride)
        return patches.flatten(0, 2), patches.shape[1], patches.shape[2]


def on_patches(model: nn.Module, patch_size: int, patch_stride: int) -> nn.Module:
    """Put a network of timm's on patches, in place: its class gets the mixin, its weights keep their names.

    Raises ArgumentError for a network that has no feature maps (`features_only`, transformers).
    """
    patched: Any = model
    if not isinstance(model, PatchGrid):
        network = type(model)
        if not hasattr(network, "forward_features") or not hasattr(network, "forward_intermediates"):
            raise ArgumentError(f"{network.__name__} does not keep timm's contract, so it cannot work on patches")
        patched.__class__ = type(f"{network.__name__}OnPatches", (PatchGrid, network), {})
    patched.use_patches(patch_size, patch_stride)
    return model


def _to_grid(features: Tensor, rows: int, columns: int) -> Tensor:
    """Maps of the patches `[B * rows * columns, D, h, w]` to the grid of their means `[B, D, rows, columns]`."""
    if features.ndim != 4:
        raise ArgumentError(
            f"the network's features have shape {tuple(features.shape)}, not [B, D, h, w]; only networks with feature "
            "maps work on patches"
        )
    vectors = features.mean((2, 3))
    return vectors.reshape(-1, rows, columns, vectors.shape[1]).permute(0, 3, 1, 2)
