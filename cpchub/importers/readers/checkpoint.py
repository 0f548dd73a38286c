"""Read a checkpoint file: torch.save's zip and its older layout, and safetensors. Nothing in it is executed."""

from __future__ import annotations

import io
import mmap
import zipfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from cpchub.common.files import expanded
from cpchub.errors import ImportFormatError
from cpchub.importers.format import Checkpoint
from cpchub.importers.readers import tensorflow
from cpchub.importers.readers.structure import flatten
from cpchub.importers.readers.tensors import StorageRecord, TensorRecord
from cpchub.importers.readers.unpickle import unpickle

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
_LEGACY_VERSION = 1001
_LOCAL_HEADER = 30  # bytes, before the name of a zip member


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The tensors and values of a checkpoint.

    path: a file of torch.save (any version since 0.2) or of safetensors; or a TensorFlow checkpoint, as its folder or
        as its prefix (what stands before ".index").

    Raises ImportFormatError for a file that is of no such kind or damaged, UnsafeWeightsError for one made to run code.
    """
    path = expanded(path)
    if tensorflow.is_checkpoint(path):
        return tensorflow.read(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
            # Copy on write: torch asks for memory it may write to, and the file stays as it is.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if size else None
    except OSError as error:
        raise ImportFormatError(f"{path} cannot be read: {error.strerror or error}") from error
    if content is None:
        raise ImportFormatError(f"{path} is empty; fetch it again")
    # safetensors first: its file begins with a number, any bytes at all, so it may begin as a pickle or a zip does.
    if _is_safetensors(start, size):
        return _safetensors(path)
    if start.startswith(b"PK\x03\x04"):
        return _zip(path, content)
    if start.startswith(b"\x80"):
        return _legacy(path, content)
    raise ImportFormatError(f"{path} is no checkpoint that can be read here: {_what_it_is(start)}")


def _zip(path: Path, content: mmap.mmap) -> Checkpoint:
    """torch.save since 1.6: a zip of data.pkl and one member a storage, not compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, EOFError) as error:
        raise ImportFormatError(f"{path} is damaged: not a complete zip ({error}). Fetch the file again") from error
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise ImportFormatError(f"{path} is a zip that torch.save did not write; unpack it and import what is inside")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in members:
        raise ImportFormatError(f"{path} is a TorchScript program, not a checkpoint; save its state_dict() instead")

    def member(name: str) -> memoryview:
        info = members.get(f"{folder}{name}")
        if info is None:
            raise ImportFormatError(f"{path} is damaged: it lacks {name}. Fetch the file again")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ImportFormatError(f"{path} has a compressed {name}, which torch.save does not write")
        at = info.header_offset
        header = content[at : at + _LOCAL_HEADER]
        first = at + _LOCAL_HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        if not header.startswith(b"PK\x03\x04") or first + info.file_size > len(content):
            raise ImportFormatError(f"{path} is damaged: {name} is not where it should be. Fetch the file again")
        return memoryview(content)[first : first + info.file_size]

    if f"{folder}byteorder" in members and bytes(member("byteorder")) != b"little":
        raise ImportFormatError(f"{path} was written on a big-endian machine; save it again on another")
    value, _ = unpickle(io.BytesIO(member("data.pkl")), str(path))
    return _checkpoint(path, value, lambda key: member(f"data/{key}"))


def _legacy(path: Path, content: mmap.mmap) -> Checkpoint:
    """torch.save before 1.6: five pickles one after the other, then the storages."""
    where = str(path)
    stream: Any = content
    magic, _ = unpickle(stream, where)
    if magic != _LEGACY_MAGIC:
        raise ImportFormatError(f"{path} is a pickle, but not one that torch.save wrote")
    version, _ = unpickle(stream, where)
    system, _ = unpickle(stream, where)
    if version != _LEGACY_VERSION or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ImportFormatError(f"{path} is of version {version!r} or of a big-endian machine; save it again")
    value, storages = unpickle(stream, where)
    keys, _ = unpickle(stream, where)
    found: dict[str, memoryview] = {}
    at = content.tell()
    for key in keys if isinstance(keys, list) else []:
        record = storages.get(key) if isinstance(key, str) else None
        if not isinstance(record, StorageRecord) or record.dtype is None:
            raise ImportFormatError(f"{path} has a storage {key!r} of a kind that is not read here")
        length = int.from_bytes(content[at : at + 8], "little") * record.dtype.itemsize
        if at + 8 + length > len(content):
            raise ImportFormatError(f"{path} is damaged: storage {key} is cut off. Fetch the file again")
        found[key] = memoryview(content)[at + 8 : at + 8 + length]
        at += 8 + length

    def storage(key: str) -> memoryview:
        if key not in found:
            raise ImportFormatError(f"{path} is damaged: it lacks storage {key}. Fetch the file again")
        return found[key]

    return _checkpoint(path, value, storage)


def _checkpoint(path: Path, value: Any, storage: Any) -> Checkpoint:
    records, meta = flatten(value)
    views: dict[TensorRecord, Tensor] = {}
    tensors = {}
    for name, record in records.items():
        if record not in views:
            views[record] = record.read(storage, str(path))
        tensors[name] = views[record]
    return Checkpoint(path, tensors, meta)


def _is_safetensors(start: bytes, size: int) -> bool:
    """The length of the header in 8 bytes, little-endian, then the header, which is JSON and lies within the file."""
    return len(start) > 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") + 8 <= size


def _safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dictionary
            meta = dict(file.metadata() or {})
    except SafetensorError as error:
        raise ImportFormatError(f"{path} is damaged: not safetensors ({error}). Fetch the file again") from error
    return Checkpoint(path, tensors, meta, container="safetensors")


def _what_it_is(start: bytes) -> str:
    if start.startswith(b"\x1f\x8b"):
        return "it is compressed by gzip; unpack it first"
    if start[257:262] == b"ustar":
        return "it is a tar archive, which torch.save wrote before version 0.1.10; unpack it, or save it again"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page; the download went wrong"
    if start.startswith(b"version https://git-lfs"):
        return "it is the pointer of a file in Git LFS; fetch the file itself with `git lfs pull`"
    return "neither torch.save's nor safetensors"
