"""Images as people and servers store them: encoded bytes, tar shards, tables, folders."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.cpchub.images import an_image


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    an_image(seed).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


HUGGING_FACE = {
    b"huggingface": json.dumps(
        {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    ).encode()
}


def image_table(seeds: list[int], **columns: list[Any]) -> pa.Table:
    images = pa.array([{"bytes": png(seed), "path": f"{seed}.png"} for seed in seeds])
    return pa.table({"image": images, **columns}).replace_schema_metadata(HUGGING_FACE)


def table_of(path: Path, count: int, **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [png(seed) for seed in range(count)], **columns}), path)
    return path


def put(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(seed))
    return root
