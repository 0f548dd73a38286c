"""Images in the rows of tables: which column holds them, and what the other columns say."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.sources.base import ListedImage
from cpchub.media.sources.storage import Storage

USUAL = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "bytes", "content")


def image_column(schema: pa.Schema, where: str) -> str:
    """The name of the column that holds encoded images: binary, or a struct with `bytes` as Hugging Face writes it.

    Raises SourceError where there is none, or several and none with a usual name, or two columns of one name.
    """
    if len(set(schema.names)) < len(schema.names):
        twice = next(name for name in schema.names if schema.names.count(name) > 1)
        raise SourceError(f"{where} has the column {twice} twice; rename or drop one")
    fitting = [field.name for field in schema if _holds_bytes(field.type)]
    usual = [name for name in USUAL if name in fitting]
    if usual or len(fitting) == 1:
        return (usual or fitting)[0]
    seen = ", ".join(f"{field.name}: {field.type}" for field in schema)
    if fitting:
        raise SourceError(
            f"{where} has several columns of bytes ({', '.join(fitting)}); rename that of the images to 'image'"
        )
    raise SourceError(f"{where} has no column of encoded images (its columns: {seen})")


def encoded(value: Any, storage: Storage | None = None) -> bytes:
    """The bytes in a row's value; a struct without bytes names a file, read from `storage`. Raises BrokenImageError."""
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path") and storage is not None:
            return storage.read(value["path"])
        value = value.get("bytes")
    if value is None:
        raise BrokenImageError("the row has no image")
    return bytes(value)


def row_images(name: str, rows: int, mtime_ns: int | None, etag: str | None) -> list[ListedImage]:
    """The images of a table of `rows` rows: `name/0000012`, or plain numbers for a source of one table."""
    digits = max(7, len(str(rows)))
    prefix = f"{name}/" if name else ""
    return [ListedImage(f"{prefix}{row:0{digits}d}", None, mtime_ns, etag, (name, row)) for row in range(rows)]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
