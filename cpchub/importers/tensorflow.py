"""TensorFlow's checkpoints, read without TensorFlow.

A checkpoint `model.ckpt-9` is `model.ckpt-9.index`, a table that says for each tensor what it is and where it lies, and
one or more `model.ckpt-9.data-00000-of-00001` with the bytes one after another (tensorflow/core/util/tensor_bundle,
tensorflow/core/protobuf/tensor_bundle.proto). Each tensor has a checksum, which is verified when it is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cpchub.errors import ImportFormatError
from cpchub.importers.crc32c import crc32c, unmasked
from cpchub.importers.format import Checkpoint
from cpchub.importers.sstable import entries
from cpchub.importers.wire import DamagedError, fields

LARGEST_INDEX = 1 << 28  # bytes; that of SimCLR's largest network has some 200 KB
LARGEST_TENSOR = 1 << 40  # in elements, not counting the sides that are zero
VERSION = 1  # of the format; a file says which reader it asks for at least

DTYPES = {  # tensorflow/core/framework/types.proto
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    8: torch.complex64,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    17: torch.uint16,
    18: torch.complex128,
    19: torch.float16,
    22: torch.uint32,
    23: torch.uint64,
}
SHARD = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
STATE = "checkpoint"
LATEST = re.compile(r'^model_checkpoint_path:\s*"([^"]+)"', re.MULTILINE)


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


class TensorBundle(Mapping[str, Tensor]):
    """The tensors of a checkpoint by name; one is read, and its checksum verified, each time it is asked for.

    Raises ImportFormatError, naming the file, for one that is damaged, cut off, or of a kind that cannot be read.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.index = prefix.with_name(f"{prefix.name}.index")
        try:
            self.shards, self.entries = _read_index(self.index)
        except DamagedError as error:
            raise ImportFormatError(f"{self.index} cannot be read: {error}; copy or download it again") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, name: str) -> Tensor:
        entry = self.entries[name]
        if entry.sliced:
            raise ImportFormatError(
                f"{self.index}: {name} is saved in slices (a partitioned variable), which are not read"
            )
        if entry.dtype not in DTYPES:
            raise ImportFormatError(
                f"{self.index}: {name} has TensorFlow's type {entry.dtype}, which is no type of numbers"
            )
        path = self.shard_path(entry.shard)
        try:
            return self._read(path, entry)
        except (DamagedError, OSError) as error:
            raise ImportFormatError(
                f"{path}: {name} cannot be read: {error}; copy or download the file again"
            ) from error

    def shard_path(self, shard: int) -> Path:
        return self.prefix.with_name(f"{self.prefix.name}.data-{shard:05d}-of-{self.shards:05d}")

    def _read(self, path: Path, entry: Entry) -> Tensor:
        dtype = DTYPES[entry.dtype]
        count = math.prod(entry.shape)
        if entry.size != count * dtype.itemsize:
            raise DamagedError(
                f"it has {entry.size} bytes, not the {count * dtype.itemsize} of its shape {entry.shape}"
            )
        with path.open("rb") as file:
            length = file.seek(0, 2)
            if entry.offset + entry.size > length:
                raise DamagedError(f"it ends at byte {entry.offset + entry.size} of a file of {length}")
            file.seek(entry.offset)
            data = bytearray(entry.size)
            arrived = file.readinto(data)
        if arrived != entry.size or crc32c(data) != entry.checksum:
            raise DamagedError("its bytes do not have the checksum of the index")
        if not data:
            return torch.empty(entry.shape, dtype=dtype)
        if dtype == torch.bool and max(data) > 1:
            raise DamagedError("it has values that are no bool")
        return torch.frombuffer(data, dtype=dtype).reshape(entry.shape)


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a checkpoint of TensorFlow's: its prefix, one of its files, or the folder it lies in."""
    if path.is_dir():
        return bool(_indices(path))
    return _prefix(path) is not None or _latest(path) is not None


def read(path: Path) -> Checkpoint:
    """The checkpoint that a path is or that the folder holds; of several in a folder, the latest that it names.

    Raises ImportFormatError where there is none, and where there are several.
    """
    prefix = _prefix(path) or _prefix_in(path if path.is_dir() else path.parent)
    bundle = TensorBundle(prefix)
    return Checkpoint(path=bundle.index, tensors=bundle, container="tensorflow")


def _prefix(path: Path) -> Path | None:
    if shard := SHARD.fullmatch(path.name):
        return path.with_name(shard[1])
    if path.suffix in (".index", ".meta"):
        path = path.with_suffix("")
    return path if path.with_name(f"{path.name}.index").is_file() else None


def _prefix_in(folder: Path) -> Path:
    if latest := _latest(folder / STATE):
        return latest
    indices = _indices(folder)
    if len(indices) != 1:
        names = ", ".join(index.name for index in indices[:5]) or "no *.index"
        raise ImportFormatError(f"{folder} holds {names}; name the checkpoint to import, as {folder}/model.ckpt-1234")
    return indices[0].with_suffix("")


def _latest(state: Path) -> Path | None:
    """The prefix that TensorFlow's file `checkpoint` gives as the latest one, if it is there."""
    if state.name != STATE or not state.is_file():
        return None
    with state.open(encoding="utf-8", errors="replace") as file:
        found = LATEST.search(file.read(1 << 16))
    if found is None:
        return None
    return _prefix(state.with_name(Path(found[1]).name))  # the folder may have moved since


def _indices(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.index"))


def _read_index(path: Path) -> tuple[int, dict[str, Entry]]:
    """The number of data files, and the entry of each tensor."""
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
    found = {}
    for key, value in rows:
        if key.startswith(b"\0"):  # a slice of a tensor, whose own entry says that it has slices
            continue
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
            shards = _number(value)
        elif number == 2:
            big_endian = bool(_number(value))
        elif number == 3:
            oldest_reader = next((_number(least) for inner, least in fields(_bytes(value)) if inner == 2), 0)
    if big_endian:
        raise DamagedError("its numbers are big-endian; save it again on a machine of today's kind")
    if oldest_reader > VERSION:
        raise DamagedError(f"it asks for a reader of version {oldest_reader}; this one is of version {VERSION}")
    if not 1 <= shards <= 99999:
        raise DamagedError(f"it gives {shards} data files")
    return shards


def _entry(message: bytes) -> Entry:
    """A BundleEntryProto; protobuf leaves out what is zero."""
    numbers = dict.fromkeys((1, 3, 4, 5, 6), 0)
    shape: tuple[int, ...] = ()
    sliced = False
    for number, value in fields(message):
        if number == 2:
            shape = tuple(_dims(_bytes(value)))
            if math.prod(side for side in shape if side) > LARGEST_TENSOR:
                raise DamagedError("a tensor has a shape that none has")
        elif number == 7:
            sliced = True
        elif number in numbers:
            numbers[number] = _number(value)
    dtype, shard, offset, size, checksum = numbers.values()
    return Entry(dtype, shape, shard, offset, size, unmasked(checksum), sliced)


def _dims(message: bytes) -> Iterator[int]:
    """The sizes of a TensorShapeProto."""
    for number, value in fields(message):
        if number == 2:
            yield next((_number(inner) for field, inner in fields(_bytes(value)) if field == 1), 0)


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise DamagedError("a field has bytes where a number belongs")
    return value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise DamagedError("a field has a number where bytes belong")
    return value
