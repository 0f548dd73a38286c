"""Pieces of bytes that can be made again, kept by key in files that only grow: made once, read by many processes.

    folder/   6f1c….pack  6f1c….index      a pair for each process that has written; nothing in it ever changes

A piece is written before its record in the index, with a checksum. So a process that is killed leaves whole pieces, and
a piece that the disk has lost counts as not there. Two processes that make the same piece both keep it.
"""

from __future__ import annotations

import os
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import finalize

import numpy as np
import numpy.typing as npt

KEY = np.dtype([("a", "<u8"), ("b", "<u8")])
RECORD = np.dtype([("a", "<u8"), ("b", "<u8"), ("at", "<u8"), ("length", "<u4"), ("crc", "<u4")])
PACK, INDEX = ".pack", ".index"
LOOK_AGAIN = 10.0  # seconds between two looks at what other processes have written


def keys_of(names: Sequence[str]) -> npt.NDArray[Any]:
    """The key of each name, `[N]` of KEY."""
    return np.frombuffer(b"".join(blake2b(name.encode(), digest_size=16).digest() for name in names), KEY)


class Packs:
    """The pieces in `folder` that belong to `keys`, by their number there; for any number of threads.

    may_write: asked before a piece of so many bytes is written; False leaves it out.
    """

    def __init__(self, folder: Path, keys: npt.NDArray[Any], may_write: Callable[[int], bool]) -> None:
        self.folder, self._may_write = folder, may_write
        self._order = np.argsort(keys["a"], kind="stable")
        self._keys, self._sorted = keys, keys[self._order]
        self._where = np.zeros(len(keys), RECORD)  # length 0: not there
        self._file = np.zeros(len(keys), np.int32)
        self._lock = Lock()
        self._open: list[int] = []  # of each pack that was found
        self._read: dict[str, tuple[int, int]] = {}  # name: its number in `_open`, bytes of its index that were read
        self._own: tuple[int, int, int] | None = None  # pack, index, and the pack's number in `_open`
        self._end, self._looked = 0, float("-inf")
        self._handles: list[int] = []
        finalize(self, _close, self._handles)

    def get(self, number: int) -> bytes | None:
        """The piece, or None where it was not made yet."""
        if not self._where["length"][number]:
            self._look()
        with self._lock:
            record = self._where[number]
            length, at, crc = int(record["length"]), int(record["at"]), int(record["crc"])
            file = self._open[self._file[number]] if length else -1
        if not length:
            return None
        try:
            piece = os.pread(file, length, at)
        except OSError:
            piece = b""
        if len(piece) == length and zlib.crc32(piece) == crc:
            return piece
        self._where["length"][number] = 0  # the disk has lost it
        return None

    def put(self, number: int, piece: bytes) -> None:
        """Keep a piece, where it may be written. Raises OSError where the disk does not take it."""
        if not piece or not self._may_write(len(piece)):
            return
        with self._lock:
            pack, index, place = self._own or self._begin()
            record = np.zeros((), RECORD)
            record["a"], record["b"] = self._keys[number]["a"], self._keys[number]["b"]
            record["at"], record["length"], record["crc"] = self._end, len(piece), zlib.crc32(piece)
            _write(pack, piece, self._end)
            self._end += len(piece)
            os.write(index, record.tobytes())
            self._where[number], self._file[number] = record, place

    def _begin(self) -> tuple[int, int, int]:
        """The files of this process."""
        name = uuid.uuid4().hex
        pack, index = (
            os.open(self.folder / f"{name}{end}", os.O_RDWR | os.O_CREAT | os.O_EXCL | more, 0o666)
            for end, more in ((PACK, 0), (INDEX, os.O_APPEND))
        )
        self._handles += [pack, index]
        self._open.append(pack)
        self._read[name] = (len(self._open) - 1, -1)  # what is in it is known
        self._own = (pack, index, len(self._open) - 1)
        return self._own

    def _look(self) -> None:
        """Learn of what other processes have written since the last look."""
        with self._lock:
            if time.monotonic() - self._looked < LOOK_AGAIN:
                return
            self._looked = time.monotonic()
            for index in sorted(self.folder.glob(f"*{INDEX}")):
                try:
                    self._learn(index)
                except OSError:  # somebody removes the folder now
                    continue

    def _learn(self, index: Path) -> None:
        place, done = self._read.get(index.stem, (-1, 0))
        if done < 0:
            return
        with index.open("rb") as file:
            file.seek(done)
            new = file.read()
        new = new[: len(new) // RECORD.itemsize * RECORD.itemsize]
        if not new:
            return
        if place < 0:
            self._open.append(os.open(index.with_suffix(PACK), os.O_RDONLY))
            self._handles.append(self._open[-1])
            place = len(self._open) - 1
        self._read[index.stem] = (place, done + len(new))
        records = np.frombuffer(new, RECORD)
        at = np.searchsorted(self._sorted["a"], records["a"]).clip(max=max(0, len(self._sorted) - 1))
        mine = (self._sorted["a"][at] == records["a"]) & (self._sorted["b"][at] == records["b"])
        numbers = self._order[at[mine]]
        self._where[numbers], self._file[numbers] = records[mine], place


def _write(file: int, piece: bytes, at: int) -> None:
    view = memoryview(piece)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)
