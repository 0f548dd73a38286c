"""Whether what a store needs is here: asked before a long job begins, not at its end."""

from __future__ import annotations

from pathlib import Path

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import MANIFEST
from cpchub.index import place
from cpchub.index.engine import faiss_import


def check_store(folder: Path, store: str | None = None) -> None:
    """Raise what a build or an opening would raise for want of packages, of a server, or of the right to use it.

    folder: of the collection, which need not exist yet. store: a new choice, as for `Index.build`.
    """
    there: place.Place | None = None
    if (folder / MANIFEST).is_file():
        there = place.of(Collection.open(folder), store)
    elif store is not None and (address := place.parsed(store)) is not None:
        there = place.Place(address, "", "")
    if there is None:
        faiss_import.import_faiss()
        return
    from cpchub.index.milvus.client import check_installed, connect

    if there.is_lite:  # connecting would make its folder
        check_installed(there)
    else:
        connect(there).close()
