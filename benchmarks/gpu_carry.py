"""The state of the runs of `benchmarks/gpu.py` as a few files of bounded size, from one machine to the next.

    state.tar.0  state.tar.1 ...   parts of one archive: run folders, and the encoders that are finished

Of a checkpoint the numbers are rounded to bfloat16, which halves it: a run that goes on from it goes on from almost
the same weights. An encoder is carried as it is, once.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PART, PARTS = 15_500_000, 4  # bytes of a file, and how many there may be
CHECKPOINT, SHORT = "last.safetensors", "last.bf16"
LEFT_OUT = ("tensorboard", "smoke")
CARRIED = "carried.json"  # in the work folder: the encoders that an earlier call has handed over
FLOAT, BRAIN = "F32", "BF16"


def pack(work: Path, out: Path) -> Iterator[str]:
    """Write the parts into `out`; yields a sentence for each file that found no room."""
    note = work / CARRIED
    before: list[str] = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else []
    room, buffer, carried = PART * PARTS - 100_000, io.BytesIO(), list(before)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(_files(work), key=lambda path: (path.suffix == ".safetensors", path.name == CHECKPOINT)):
            name = path.relative_to(work).as_posix()
            if path.suffix == ".safetensors" and path.name != CHECKPOINT:
                if name in before or "/export/" in name:
                    continue
                carried.append(name)
            content = path.read_bytes()
            if path.name == CHECKPOINT:
                name, content = name.replace(CHECKPOINT, SHORT), shortened(content)
            if buffer.tell() + len(content) > room:
                yield f"{name}: {len(content) / 1e6:.0f} MB found no room in the files to carry; it is in {work}"
                carried = [each for each in carried if each != name]
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    whole = buffer.getvalue()
    for old in out.glob("state.tar.*"):
        old.unlink()
    for number in range(-(-len(whole) // PART)):
        (out / f"state.tar.{number}").write_bytes(whole[number * PART : (number + 1) * PART])
    note.write_text(json.dumps(carried), encoding="utf-8")


def unpack(carried: Path, work: Path) -> None:
    """Put what `pack` wrote into `work`; a file that is there already stays."""
    parts = sorted(carried.glob("state.tar.*"), key=lambda path: int(path.name.rpartition(".")[2]))
    if not parts:
        raise SystemExit(f"error: {carried} has no state.tar.0; name the --out of an earlier call")
    whole = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(fileobj=whole, mode="r") as archive:
        for entry in archive:
            path = work / entry.name
            if not entry.isfile() or not path.resolve().is_relative_to(work.resolve()):
                raise SystemExit(f"error: {carried} has {entry.name}, which no call has written")
            file = archive.extractfile(entry)
            content = file.read() if file is not None else b""
            if path.name == SHORT:
                path, content = path.with_name(CHECKPOINT), lengthened(content)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(f".{path.name}.partial")
                partial.write_bytes(content)
                partial.replace(path)


def _files(work: Path) -> Iterator[Path]:
    for path in sorted(work.rglob("*")):
        inside = path.relative_to(work).parts
        hidden = any(part.startswith(".") for part in inside)
        if path.is_file() and not hidden and not set(LEFT_OUT) & set(inside) and path.suffix != ".log":
            yield path


def shortened(content: bytes) -> bytes:
    """A safetensors file with its float32 numbers rounded to the nearest bfloat16."""
    header, data = _opened(content)
    return _written(header, data, FLOAT, BRAIN, _to_brain)


def lengthened(content: bytes) -> bytes:
    """The file that `shortened` was given, of rounded numbers."""
    header, data = _opened(content)
    return _written(header, data, BRAIN, FLOAT, lambda raw: (np.frombuffer(raw, "<u2").astype("<u4") << 16).tobytes())


def _to_brain(raw: bytes) -> bytes:
    bits = np.frombuffer(raw, "<u4").astype(np.uint64)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to even, where two are as near
    return nearest.astype("<u2").tobytes()


def _opened(content: bytes) -> tuple[dict[str, Any], memoryview]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]


def _written(header: dict[str, Any], data: memoryview, old: str, new: str, convert: Any) -> bytes:
    """The file with the tensors of one kind of number converted to another."""
    made: dict[str, Any] = {}
    parts, at = [], 0
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    for name, entry in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = entry["data_offsets"]
        raw = bytes(data[start:end])
        raw = convert(raw) if entry["dtype"] == old else raw
        dtype = new if entry["dtype"] == old else entry["dtype"]
        made[name] = {**entry, "dtype": dtype, "data_offsets": [at, at + len(raw)]}
        parts.append(raw)
        at += len(raw)
    if "__metadata__" in header:
        made["__metadata__"] = header["__metadata__"]
    text = json.dumps(made).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])
