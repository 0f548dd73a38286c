"""The items of a collection in a file that is mapped, not read: `search/items.arrow`, written with the index.

It is derived from `items.parquet`, and marked with the state of the collection that it is of.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from cpchub.collection.manifest import GENERATION
from cpchub.common.files import replacing, writing

FOLDER, ITEMS_ARROW = "search", "items.arrow"


def write_mapped(folder: Path, items: pa.Table) -> None:
    """Write the file, uncompressed; the items have the mark of their state. Raises NoSpaceError or OutputError."""
    path = folder / FOLDER / ITEMS_ARROW
    with writing(path.parent):
        path.parent.mkdir(exist_ok=True)
    items = items.combine_chunks()
    with replacing(path) as partial, pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, items.schema) as to:
        to.write_table(items)


def open_mapped(folder: Path, manifest: Mapping[str, Any]) -> pa.Table | None:
    """The items, mapped; None where the file is missing, damaged, or of an earlier state than the manifest."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(folder / FOLDER / ITEMS_ARROW))).read_all()
    except (OSError, pa.ArrowException):
        return None
    mark = str(manifest["generation"]).encode()
    if (table.schema.metadata or {}).get(GENERATION) != mark or table.num_rows != manifest["count"]:
        return None
    return table
