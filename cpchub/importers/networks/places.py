"""Where in a file an encoder lies: training code wraps its networks in dictionaries and modules of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from cpchub.importers.format import Checkpoint

# What stands before a network's own names, the usual ones first: a dictionary of the file, then DataParallel's
# "module." or the "model." of a Lightning module.
_ROOTS = [
    f"{dictionary}{wrapper}"
    for dictionary in ("state_dict/", "", "model/", "model_state_dict/", "net/")
    for wrapper in ("", "module.", "model.", "model.module.")
]


def root_of(checkpoint: Checkpoint, *names: str) -> str | None:
    """What stands before one of these names, which end with "." for a module, or are a tensor's.

    The usual places come first. Any other place is taken where it is the only one, since a file may call its
    dictionaries as it likes. None where there is none, or where there are several.
    """
    found = dict.fromkeys(root for tensor in checkpoint.tensors for root in _before(tensor, names))
    usual = [root for root in _ROOTS if root in found]
    if usual:
        return usual[0]
    return next(iter(found)) if len(found) == 1 else None


def root_of_network(checkpoint: Checkpoint, names: Collection[str]) -> str | None:
    """What stands before the most of a network's tensors. None where there is none of them, or two networks alike."""
    wanted = frozenset(names)
    found: Counter[str] = Counter()
    for tensor in checkpoint.tensors:
        starts = [0, *(at + 1 for at, letter in enumerate(tensor) if letter in "/.")]
        found.update(tensor[:start] for start in starts if tensor[start:] in wanted)
    best = [root for root in found if found[root] == max(found.values())]
    usual = [root for root in _ROOTS if root in best]
    return usual[0] if usual else best[0] if len(best) == 1 else None


def _before(tensor: str, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        whole = not name.endswith(".")
        at = tensor.find(name)
        while at != -1:
            ends = at + len(name) == len(tensor) or not whole
            if ends and (at == 0 or tensor[at - 1] in "/."):
                yield tensor[:at]
                break
            at = tensor.find(name, at + 1)
