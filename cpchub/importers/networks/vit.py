"""Which vision transformer is it? Read off the shapes of its tensors, in timm's names."""

from __future__ import annotations

import math
import re
from typing import Any

from cpchub.errors import ImportFormatError
from cpchub.importers.networks.resnet import Recognised, Shapes

_SIZES = {192: "tiny", 384: "small", 768: "base", 1024: "large"}  # by the length of a token, as timm names them


def recognise(shapes: Shapes, num_heads: int) -> Recognised:
    """The transformer whose tensors have these names and shapes; `num_heads`, which no tensor tells, is the format's.

    Raises ImportFormatError, naming the tensor, where it is none that timm can express.
    """
    if "patch_embed.proj.0.weight" in shapes:
        raise ImportFormatError(
            "patch_embed.proj.0.weight: its stem is made of convolutions (vit_conv_small, vit_conv_base), for which "
            "there is no network here"
        )
    patches, positions = shapes.get("patch_embed.proj.weight", ()), shapes.get("pos_embed", ())
    if len(patches) != 4 or patches[2] != patches[3]:
        raise ImportFormatError(f"patch_embed.proj.weight is {patches or 'missing'}; that is no vision transformer")
    if len(positions) != 3 or "cls_token" not in shapes:
        raise ImportFormatError("it has no pos_embed or no cls_token; that is another vision transformer than timm's")
    width, in_chans, patch = patches[0], patches[1], patches[2]
    grid = math.isqrt(max(0, positions[1] - 1))
    if grid * grid + 1 != positions[1]:
        raise ImportFormatError(f"pos_embed is {positions}: {positions[1] - 1} patches are no square")
    size = _SIZES.get(width)
    if size is None:
        raise ImportFormatError(f"patch_embed.proj.weight is {patches}: timm names no size with {width} channels")
    if patch != 16:
        raise ImportFormatError(f"patch_embed.proj.weight is {patches}: patches of {patch} pixels; 16 are known here")
    depth = len({match[1] for name in shapes if (match := re.match(r"blocks\.(\d+)\.", name))})
    # The class token is what the official code evaluates; timm's default is the same, and may change.
    args: dict[str, Any] = {"num_heads": num_heads, "global_pool": "token"}
    if grid != 14:
        args["img_size"] = grid * patch
    if depth != (24 if size == "large" else 12):
        args["depth"] = depth
    return Recognised(f"vit_{size}_patch16_224", args, patch, in_chans)
