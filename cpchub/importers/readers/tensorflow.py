"""TensorFlow's checkpoints, read without TensorFlow.

A checkpoint `model.ckpt-9` is `model.ckpt-9.index`, a table that says for each tensor what it is and where it lies, and
one or more `model.ckpt-9.data-00000-of-00001` with the bytes one after another (tensorflow/core/util/tensor_bundle).
Each tensor has a checksum, which is verified when it is read. A SavedModel has a checkpoint in its folder `variables`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from cpchub.errors import ImportFormatError
from cpchub.importers.format import Checkpoint
from cpchub.importers.readers.bundle_index import Entry, read_index
from cpchub.importers.readers.crc32c import crc32c
from cpchub.importers.readers.tf_objects import GRAPH, ways
from cpchub.importers.readers.wire import DamagedError, taken, varint

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
STRING = 7  # the type of text, of which only the description of objects is read
LARGEST_TEXT = 1 << 26  # bytes; the objects of SimCLR's largest network take some 2 MB
ITEM_OF_LIST = re.compile(r"(?:.+/)?\d+/\.ATTRIBUTES/\w+")
STATE = "checkpoint"
SAVED_MODEL = "saved_model.pb"  # beside the folder `variables`, which has the checkpoint
LATEST = re.compile(r'^model_checkpoint_path:\s*"([^"]+)"', re.MULTILINE)


class TensorBundle(Mapping[str, Tensor]):
    """The tensors of a checkpoint by name; one is read, and its checksum verified, each time it is asked for.

    A variable that TensorFlow calls by its place in a list (in a SavedModel) is called by its way through the objects.

    Raises ImportFormatError, naming the file, for one that is damaged, cut off, or of a kind that cannot be read.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.index = prefix.with_name(f"{prefix.name}.index")
        try:
            self.shards, self.entries = read_index(self.index)
        except DamagedError as error:
            raise ImportFormatError(f"{self.index} cannot be read: {error}; copy or download it again") from error
        self._name_items_of_lists()

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
        dtype = DTYPES[entry.dtype]
        size = math.prod(entry.shape) * dtype.itemsize
        with self._reading(name, entry) as data:
            if entry.size != size:
                raise DamagedError(f"it has {entry.size} bytes, not the {size} of its shape {entry.shape}")
            if crc32c(data) != entry.checksum:
                raise DamagedError("its bytes do not have the checksum of the index")
            if dtype == torch.bool and max(data, default=0) > 1:
                raise DamagedError("it has values that are no bool")
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return flat.reshape(entry.shape)

    def shard_path(self, shard: int) -> Path:
        return self.prefix.with_name(f"{self.prefix.name}.data-{shard:05d}-of-{self.shards:05d}")

    def _name_items_of_lists(self) -> None:
        items = [name for name in self.entries if ITEM_OF_LIST.fullmatch(name)]
        graph = self.entries.get(GRAPH)
        if not items or graph is None or graph.dtype != STRING or graph.size > LARGEST_TEXT:
            return
        with self._reading(GRAPH, graph) as data:
            better = ways(_text(data, graph))
        for name in items:
            if better.get(name, name) not in self.entries:
                self.entries[better[name]] = self.entries.pop(name)

    @contextmanager
    def _reading(self, name: str, entry: Entry) -> Iterator[bytearray]:
        """A tensor's bytes; what is wrong with them is an error that names the file and the tensor."""
        path = self.shard_path(entry.shard)
        try:
            yield _bytes_of(path, entry)
        except (DamagedError, OSError) as error:
            raise ImportFormatError(
                f"{path}: {name} cannot be read: {error}; copy or download the file again"
            ) from error


def _bytes_of(path: Path, entry: Entry) -> bytearray:
    with path.open("rb") as file:
        length = file.seek(0, 2)
        if entry.offset + entry.size > length:
            raise DamagedError(f"it ends at byte {entry.offset + entry.size} of a file of {length}")
        file.seek(entry.offset)
        data = bytearray(entry.size)
        if file.readinto(data) != entry.size:
            raise DamagedError(f"the file became shorter than {length} bytes while it was read")
    return data


def _text(data: bytearray, entry: Entry) -> bytes:
    """A single text: its length, the masked checksum of that, and the text; the tensor's checksum is over all three."""
    content = bytes(data)
    size, at = varint(content, 0)
    text = taken(content, at + 4, size)
    if crc32c(size.to_bytes(4 if size < 1 << 32 else 8, "little") + content[at : at + 4] + text) != entry.checksum:
        raise DamagedError("its bytes do not have the checksum of the index")
    return text


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a checkpoint of TensorFlow's: its prefix, one of its files, or the folder it lies in."""
    if path.is_dir():
        return (path / SAVED_MODEL).is_file() or bool(_indices(path))
    return path.name == SAVED_MODEL or _prefix(path) is not None or _latest(path) is not None


def read(path: Path) -> Checkpoint:
    """The checkpoint that a path is or that the folder holds; of several in a folder, the latest that it names.

    Raises ImportFormatError where there is none, and where there are several.
    """
    if path.name == SAVED_MODEL:
        path = path.parent
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
    if (folder / SAVED_MODEL).is_file():
        return folder / "variables" / "variables"
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
