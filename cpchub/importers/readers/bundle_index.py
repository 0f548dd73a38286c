"""The index of a TensorFlow checkpoint: for each tensor what it is, and where in which data file it lies.

It is a table of protobuf messages (tensorflow/core/protobuf/tensor_bundle.proto).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cpchub.importers.readers.crc32c import unmasked
from cpchub.importers.readers.sstable import entries
from cpchub.importers.readers.wire import DamagedError, fields, message, number_of

LARGEST_INDEX = 1 << 26  # bytes; that of SimCLR's largest network has some 200 KB
MOST_TENSORS = 100_000
LARGEST_TENSOR = 1 << 40  # in elements, not counting the sides that are zero
VERSION = 1  # of the format; a file says which reader it asks for at least


@dataclass(frozen=True)
class Entry:
    """What the index says of a tensor: its type (a number of `DTYPES`, or one that is no number), shape, and place."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool  # saved in parts, each under a name of its own


def read_index(path: Path) -> tuple[int, dict[str, Entry]]:
    """The number of data files, and the entry of each tensor. Raises DamagedError."""
    try:
        if path.stat().st_size > LARGEST_INDEX:
            raise DamagedError(f"it has {path.stat().st_size} bytes; no index has more than {LARGEST_INDEX}")
        table = path.read_bytes()
    except OSError as error:
        raise DamagedError(error.strerror or str(error)) from error
    rows = entries(table)
    key, header = next(rows, (b"?", b""))
    if key != b"":
        raise DamagedError("it has no header; checkpoints from before TensorFlow 0.12 (V1) are not read")
    shards = _shards(header)
    found: dict[str, Entry] = {}
    for key, value in rows:
        if key.startswith(b"\0"):  # a slice of a tensor, whose own entry says that it has slices
            continue
        if len(found) == MOST_TENSORS:
            raise DamagedError(f"it lists over {MOST_TENSORS} tensors")
        entry = _entry(value)
        if entry.shard >= shards:
            raise DamagedError(f"{key!r} is in data file {entry.shard} of {shards}")
        try:
            found[key.decode()] = entry
        except UnicodeDecodeError as error:
            raise DamagedError(f"{key!r} is not a name") from error
    return shards, found


def _shards(header: bytes) -> int:
    """The number of data files that a BundleHeaderProto gives, if its files can be read at all."""
    shards, big_endian, oldest_reader = 0, False, 0
    for number, value in fields(header):
        if number == 1:
            shards = number_of(value)
        elif number == 2:
            big_endian = bool(number_of(value))
        elif number == 3:
            oldest_reader = next((number_of(least) for inner, least in fields(message(value)) if inner == 2), 0)
    if big_endian:
        raise DamagedError("its numbers are big-endian; save it again on a machine of today's kind")
    if oldest_reader > VERSION:
        raise DamagedError(f"it asks for a reader of version {oldest_reader}; this one is of version {VERSION}")
    if not 1 <= shards <= 99999:
        raise DamagedError(f"it gives {shards} data files")
    return shards


def _entry(content: bytes) -> Entry:
    """A BundleEntryProto; protobuf leaves out what is zero."""
    numbers = dict.fromkeys((1, 3, 4, 5, 6), 0)
    shape: tuple[int, ...] = ()
    sliced = False
    for number, value in fields(content):
        if number == 2:
            shape = tuple(_dims(message(value)))
            if math.prod(side for side in shape if side) > LARGEST_TENSOR:
                raise DamagedError("a tensor has a shape that none has")
        elif number == 7:
            sliced = True
        elif number in numbers:
            numbers[number] = number_of(value)
    dtype, shard, offset, size, checksum = numbers.values()
    return Entry(dtype, shape, shard, offset, size, unmasked(checksum), sliced)


def _dims(content: bytes) -> Iterator[int]:
    """The sizes of a TensorShapeProto."""
    for number, value in fields(content):
        if number == 2:
            yield next((number_of(inner) for field, inner in fields(message(value)) if field == 1), 0)
