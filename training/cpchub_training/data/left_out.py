"""Report unreadable images, which a job leaves out."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cpchub.common.progress import console

NAMED = 5


def tell_left_out(broken: Sequence[tuple[str, str]], total: int, name: str) -> None:
    """Print how many of `total` images are left out, and the path and reason of the first ones. Print nothing for
    none.

    Under `torchrun` only rank 0 prints.
    """
    if not broken or os.environ.get("RANK", "0") != "0":
        return
    those = "1 image that cannot be read" if len(broken) == 1 else f"{len(broken):,} images that cannot be read"
    console.print(f"{name}: left out of {total:,} images: {those}", soft_wrap=True, markup=False)
    for path, reason in broken[:NAMED]:
        console.print(f"   {path}: {reason}", soft_wrap=True, markup=False)
    if len(broken) > NAMED:
        console.print(f"   and {len(broken) - NAMED:,} more", soft_wrap=True)
