"""Words of sentences: numbers with their nouns, lists, and commands to type."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def counted(number: int, what: str) -> str:
    """A number with its noun: 1 group, 2 groups, 1,000 groups."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def listed(words: Sequence[str]) -> str:
    """Words in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def typed(*words: object) -> str:
    """A command of ours as a shell takes it, by the program's name where the shell finds that, else by its path."""
    program = ["cpchub"]
    if shutil.which("cpchub") is None:
        program = [sys.argv[0]] if Path(sys.argv[0]).name == "cpchub" else [sys.executable, "-m", "cpchub"]
    return shlex.join([*program, *map(str, words)])
