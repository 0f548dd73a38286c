"""What holds for files of Meta's training code under CC-BY-NC 4.0: MoCo, SwAV and SimSiam."""

from __future__ import annotations

LICENSE = "cc-by-nc-4.0"
NOT_COMMERCIAL = (
    "The code that trains it, and the weights that Meta published, are under CC-BY-NC 4.0: not for commercial use."
)
