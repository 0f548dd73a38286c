"""Encoders that timm itself has, under the names that their authors and others call them by.

Nothing is converted for them: `cpchub.load("dinov2-vits14")` is `cpchub.load("timm/vit_small_patch14_dinov2.lvd142m")`.
"""

from __future__ import annotations

_SIZES = {"small": "s", "base": "b", "large": "l", "giant": "g"}


def _names() -> dict[str, str]:
    names = {}
    for size, letter in _SIZES.items():
        if size in ("small", "base"):
            for patch in (16, 8):
                names[f"dino-vit{letter}{patch}"] = f"vit_{size}_patch{patch}_224.dino"
            names[f"dino-vit-{size}"] = f"vit_{size}_patch16_224.dino"
        for mark, registers in (("", ""), ("-reg", "_reg4")):
            theirs = f"vit_{size}_patch14{registers}_dinov2.lvd142m"
            names[f"dinov2-vit{letter}14{mark}"] = names[f"dinov2-vit-{size}{mark}"] = theirs
    return names


TIMM_NAMES = _names()


def timm_name(name: str) -> str | None:
    """timm's name of such an encoder, hyphens and underscores alike; None for any other name."""
    return TIMM_NAMES.get(name.strip().lower().replace("_", "-"))
