"""What authors publish, synthesised: the files of an encoder in their official layout, and what it computes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cpchub.catalog import listing
from cpchub.importers.convert import import_checkpoint
from cpchub.importers.readers.crc32c import MASK_DELTA, crc32c
from tests.cpchub.importers.leveldb import number, table

HOST = "https://authors.example"
INDEX, DATA = "model.ckpt-9.index", "model.ckpt-9.data-00000-of-00001"


@dataclass(frozen=True)
class Published:
    """The files by name, the first one for the importer; `forward` is the original network, of vectors or of a map."""

    format: str | None
    files: Mapping[str, bytes]
    forward: Callable[[Tensor], Tensor]
    side: int = 64
    claims: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0  # for a network that is not torch's


def saved(content: Any) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def bundle(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """A checkpoint of TensorFlow's, of float32 tensors in one data file."""
    rows, data = {b"": b"\x08\x01"}, bytearray()
    for name in sorted(tensors):
        content = tensors[name].contiguous().numpy().tobytes()
        sides = (b"\x08" + number(side) for side in tensors[name].shape)
        shape = b"".join(b"\x12" + number(len(side)) + side for side in sides)
        checksum = crc32c(content)
        masked = ((checksum >> 15 | checksum << 17) + MASK_DELTA) & 0xFFFFFFFF
        place = b"\x20" + number(len(data)) + b"\x28" + number(len(content))
        entry = b"\x08\x01\x12" + number(len(shape)) + shape + place + b"\x35" + masked.to_bytes(4, "little")
        rows[name.encode()] = entry
        data += content
    return {INDEX: table(rows), DATA: bytes(data)}


def write_entry(name: str, published: Published, scratch: Path) -> dict[str, str]:
    """Make the encoder an entry of the test's catalog; the address of each file."""
    for file, content in published.files.items():
        (scratch / file).write_bytes(content)
    import_checkpoint(scratch / next(iter(published.files)), scratch / name, as_=published.format, **published.claims)
    config = json.loads((scratch / name / "config.json").read_text(encoding="utf-8"))
    del config["cpchub"]["weights"]
    addresses = {file: f"{HOST}/{name}/{file}" for file in published.files}
    files = [{"name": file, "address": address} for file, address in addresses.items()]
    source = {"format": published.format, "claims": dict(published.claims), "files": files}
    folder = listing.catalog_folder() / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    content = {"citation": "the paper", "links_read": "2026-11-28", "sources": [source]}
    (folder / "origin.json").write_text(json.dumps(content), encoding="utf-8")
    return addresses
