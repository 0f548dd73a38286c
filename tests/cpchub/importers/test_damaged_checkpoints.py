"""A damaged checkpoint never runs, never hangs, and ends in a typed error."""

from __future__ import annotations

import argparse
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from cpchub.errors import CpchubError, ImportFormatError, UnsafeWeightsError
from cpchub.importers.readers.checkpoint import read_checkpoint
from tests.cpchub.foreign_checkpoints import MemoryBank
from tests.cpchub.importers.traps import LAYOUTS, RAN, Reduced, read_pickle, save, trap
from tests.processes import at_most


def valid_files(folder: Path) -> list[bytes]:
    content = {
        "state_dict": OrderedDict(w=torch.ones(2, 3), b=torch.zeros(3, dtype=torch.int64)),
        "opt": argparse.Namespace(lr=0.1),
        "best": np.float64(0.5),
        "bank": MemoryBank(),
        "call": Reduced(trap, 1),
    }
    return [save(folder, content, new).read_bytes() for new in LAYOUTS.values()]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file with a few bytes changed, a part cut out, repeated or put elsewhere, or its end missing."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if len(changed) < 2:
            break
        at, length = rng.randrange(len(changed)), rng.randrange(1, 16)
        match rng.randrange(5):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case 3:
                changed[at:at] = rng.choice((b"cos\nsystem\n", b"R", b"b", b"o", b"\x81", b"(", b"\x86R", b"0", b"2"))
            case 4:
                del changed[max(1, at) :]
    return bytes(changed) or b"\x80"


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_never_runs_never_hangs_and_ends_in_a_typed_error(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    files = valid_files(tmp_path)
    path, refused = tmp_path / "mutated.pth", 0
    for number in range(300):
        path.write_bytes(mutated(files[number % 2], rng))
        try:
            with at_most(cpu_seconds=5):
                checkpoint = read_checkpoint(path)
            assert all(isinstance(value, torch.Tensor) for value in checkpoint.tensors.values())
        except CpchubError:
            refused += 1
    assert 100 < refused < 300  # damage is noticed, and small damage to values cannot be
    assert not RAN


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_pickle_never_runs_never_hangs_and_ends_in_a_typed_error(seed: int, tmp_path: Path) -> None:
    rng = random.Random(100 + seed)
    with zipfile.ZipFile(
        save(tmp_path, {"w": torch.ones(2), "n": argparse.Namespace(a=1), "x": Reduced(trap)})
    ) as file:
        (name,) = [each for each in file.namelist() if each.endswith("data.pkl")]
        data = file.read(name)
    for _ in range(1500):
        try:
            read_pickle(mutated(data, rng))
        except (ImportFormatError, UnsafeWeightsError):
            continue
