"""Words of sentences: numbers with their nouns, lists, sizes, and commands to type."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cpchub.errors import ArgumentError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def counted(number: int, what: str) -> str:
    """A number with its noun: 1 group, 2 groups, 1,000 groups."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def listed(words: Sequence[str]) -> str:
    """Words in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def some(names: Sequence[str], count: int | None = None, shown: int = 3) -> str:
    """The first few of the names in a sentence, and how many there are besides: a, b, c and 4 more.

    count: how many there are, where `names` has only the first of them.
    """
    more = (len(names) if count is None else count) - shown
    return listed([*names[:shown], *([f"{more:,} more"] if more > 0 else [])])


def typed(*words: object) -> str:
    """A command of ours as a shell takes it, by the program's name where the shell finds that, else by its path."""
    program = ["cpchub"]
    if shutil.which("cpchub") is None:
        program = [sys.argv[0]] if Path(sys.argv[0]).name == "cpchub" else [sys.executable, "-m", "cpchub"]
    return shlex.join([*program, *map(str, words)])


def size(number: float) -> str:
    """Bytes in words: 812 bytes, 45 MB, 1.3 GB."""
    for unit in ("bytes", "kB", "MB"):
        if number < 999.5:  # what is not rounded to a thousand
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB" if number < 999.95 else f"{number / 1000:.1f} TB"


def bytes_of(text: str) -> int:
    """A size such as "2GB", "500M" or "4096" in bytes. Raises ArgumentError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?\s*", text.upper())
    if match is None:
        raise ArgumentError(f"{text!r} is not a size; write it like 2GB or 500MB")
    return int(float(match[1]) * UNITS[match[2]])


def shares(counts: Mapping[str, int], shown: int = 10) -> str:
    """How many there are of each, the most first: cat 12, dog 3, others 5."""
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    named = [f"{name} {count:,}" for name, count in ordered[:shown]]
    others = sum(count for _, count in ordered[shown:])
    return ", ".join([*named, f"others {others:,}"] if others else named)
