"""Whether what a store needs is here: asked before a long job begins, not at its end."""

from __future__ import annotations

from pathlib import Path

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import MANIFEST
from cpchub.collection.stored.copy import StoredCollection
from cpchub.index import place
from cpchub.index.engine import faiss_import


def check_store(folder: str | Path, store: str | None = None) -> None:
    """Raise what a build or an opening would raise for want of packages, of a server, or of the right to use it.

    folder: of the collection, or its URL; it need not exist yet. store: a new choice, as for `Index.build`.
    """
    there: place.Place | None = None
    stored = StoredCollection.at(folder)
    if stored is not None:
        stored.refresh()
    if ((Path(folder) if stored is None else stored.folder) / MANIFEST).is_file():
        there = place.of(Collection.open(folder), store)
    elif store is not None and (address := place.parsed(store)) is not None:
        place.check_for_all(address, stored)
        there = place.Place(address, "", "")
    if there is None:
        faiss_import.import_faiss()
        return
    from cpchub.index.milvus.client import check_installed, connect

    if there.is_lite:  # connecting would make its folder
        check_installed(there)
    else:
        connect(there).close()
