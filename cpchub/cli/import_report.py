"""What `cpchub import` prints: which tensors were used, which were dropped, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpchub.importers.convert import Imported


def formats() -> Iterator[str]:
    """A line a format: its name for `--as`, and whose code writes it."""
    from cpchub.importers.formats.registry import FORMATS

    width = max(len(each.name) for each in FORMATS)
    for each in FORMATS:
        yield f"{each.name:<{width}}  {each.title}"


def account(imported: Imported, every_tensor: bool = False) -> Iterator[str]:
    """The format and the network; what was used, then what was dropped: a line a reason, or `every_tensor`."""
    yield f"{imported.title}: {imported.architecture}"
    yield from (f"note     {note}" for note in imported.notes)
    if every_tensor:
        yield from (f"used     {name} -> {new}" for name, new in imported.used.items())
        yield from (f"dropped  {name}: {reason}" for name, reason in imported.dropped.items())
        return
    yield f"used     {_shared(imported.used)}"
    for reason in dict.fromkeys(imported.dropped.values()):
        names = [name for name, why in imported.dropped.items() if why == reason]
        yield f"dropped  {_shared(names)}: {reason}"


def _shared(names: Iterable[str]) -> str:
    """The names in short: what they begin with, and how many there are."""
    names = list(names)
    if len(names) == 1:
        return names[0]
    first, last = min(names), max(names)  # what these two share, all of them do
    length = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    common = re.sub(r"[^./]*$", "", first[:length])
    return f"{common}* ({len(names)} tensors)"
