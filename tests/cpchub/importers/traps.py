"""Pickles that note it when they are executed, and how tests save and read pickles."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cpchub.importers.readers.unpickle import unpickle

LAYOUTS = {"zip": True, "the older one": False}
RAN: list[str] = []  # what a pickle has managed to run


def trap(*_: Any) -> None:
    RAN.append("a pickle ran this")


class Reduced:
    """Runs a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Built:
    """Runs code as its state is set."""

    def __setstate__(self, state: Any) -> None:
        trap()

    def __getstate__(self) -> dict[str, int]:
        return {"x": 1}


def save(folder: Path, content: Any, new: bool = True) -> Path:
    torch.save(content, folder / "checkpoint.pth", _use_new_zipfile_serialization=new)
    return folder / "checkpoint.pth"


def read_pickle(data: bytes) -> Any:
    return unpickle(io.BytesIO(data), "a pickle")[0]
