"""The names of the formats, for `--as`: known without torch, which the formats themselves need."""

from __future__ import annotations

from cpchub.errors import ImportFormatError

NAMES = (
    "moco",
    "moco-v3",
    "google-simclr",
    "tonylins",
    "separius",
    "lemniscate",
    "cmc",
    "pycontrast",
    "sup-contrast",
    "swav",
    "simsiam",
    "solo-learn",
    "lightly",
    "bolts-cpc",
    "bolts-simclr",
    "vissl",
    "mmselfsup",
    "torchvision",
    "timm",
)


def check_format(name: str) -> None:
    """Raise ImportFormatError for a name that no format has."""
    if name not in NAMES:
        raise ImportFormatError(f"There is no format {name!r}; there are: {', '.join(NAMES)}")
