"""Where the index of a collection is: in its folder, or in a Milvus; the manifest remembers it.

    faiss                          the default
    milvus:photos.db               Milvus Lite, in this process, with its data in that folder
    milvus:http://host:19530       a server or a cluster; a path after the port names the database

A token for a server is in CPCHUB_MILVUS_TOKEN ("user:password", or a key), or in the file that CPCHUB_MILVUS_TOKEN_FILE
names. It is written nowhere.
"""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cpchub.collection.collection import Collection
from cpchub.collection.stored.copy import StoredCollection
from cpchub.common.files import expanded
from cpchub.common.hashing import bytes_sha256
from cpchub.errors import ArgumentError, StoreError

FAISS, MILVUS = "faiss", "milvus:"
TOKEN, TOKEN_FILE = "CPCHUB_MILVUS_TOKEN", "CPCHUB_MILVUS_TOKEN_FILE"
HOW = "write faiss, milvus:photos.db (Milvus Lite), or milvus:http://host:19530"


@dataclass(frozen=True)
class Place:
    """A collection in a Milvus. address: a URL, or the path of a folder of Milvus Lite. name: of the collection there.

    recorded: the address for the manifest, where a path is relative to the folder of the collection.
    """

    address: str
    name: str
    recorded: str

    @property
    def is_lite(self) -> bool:
        """Whether Milvus runs in this process."""
        return not is_url(self.address)

    def __str__(self) -> str:
        return f"{MILVUS}{self.address}"

    def to_manifest(self) -> dict[str, str]:
        """The section `store` of the manifest."""
        return {"address": self.recorded, "name": self.name}


def of(collection: Collection, store: str | None = None) -> Place | None:
    """The place of a collection's index, None for its own folder. store: a new choice; None keeps the earlier one.

    Raises ArgumentError for a choice that is not understood, CollectionError for a manifest that was edited.
    """
    before = recorded(collection)
    if store is None:
        return _reached(before, collection)
    address = parsed(store)
    if address is None:
        return None
    check_for_all(address, collection.stored)
    if before is not None and before.address == address:
        return before
    # a path is relative to the collection, so that both can be moved together
    remembered = address if is_url(address) else os.path.relpath(address, collection.folder.resolve())
    return Place(address, _name(collection), remembered)


def check_for_all(address: str, stored: StoredCollection | None) -> None:
    """Raise ArgumentError for a Milvus Lite, which is a folder of this machine, beside a collection in a bucket."""
    if stored is not None and not is_url(address):
        raise ArgumentError(
            f"{MILVUS}{address} is a folder of this machine, and {stored.url} is for many; name a server of Milvus, or "
            "faiss"
        )


def _reached(there: Place | None, collection: Collection) -> Place | None:
    """The place itself. Raises StoreError for a folder beside a collection that was copied to a bucket without it."""
    if there is not None and there.is_lite and collection.stored is not None:
        raise StoreError(
            f"the index of {collection.place} is in the Milvus Lite of another folder; build one that is in the "
            f"bucket: {collection.index_again} --store faiss"
        )
    return there


def recorded(collection: Collection) -> Place | None:
    """The place that the manifest names. Raises StoreError where it cannot be one."""
    section: Any = collection.manifest.get("store")
    if section is None:
        return None
    try:
        address, name = str(section["address"]), str(section["name"])
        store = f"{MILVUS}{address if is_url(address) else collection.folder.resolve() / address}"
        place = Place(parsed(store) or "", name, address)
    except (KeyError, TypeError, ArgumentError) as error:
        raise StoreError(
            f"the section `store` in the manifest of {collection.place} was edited by hand; name the store again: "
            f"{collection.index_again} --store milvus:..."
        ) from error
    return place


def parsed(store: str) -> str | None:
    """The address in a choice of store: a URL, or an absolute path; None for FAISS.

    Raises ArgumentError, which never shows a password.
    """
    if store == FAISS:
        return None
    address = store.removeprefix(MILVUS)
    if address == store or not address:
        raise ArgumentError(f"{'an address' if '@' in store else repr(store)} is no store; {HOW}")
    if not is_url(address):
        if not address.endswith(".db"):
            raise ArgumentError(f"{store!r}: the folder of Milvus Lite has a name that ends with .db; {HOW}")
        return str(expanded(address).resolve())
    if "@" in address:
        raise ArgumentError(
            "the address of Milvus holds a user or a password, and the collection would store it. Leave it out, and "
            f"set {TOKEN}=user:password, or name a file with it in {TOKEN_FILE}"
        )
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
        good = good and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise ArgumentError(f"{store!r} is not the address of a Milvus; {HOW}")
    return address.rstrip("/")


def token() -> str:
    """The token for a server; "" where none is set. Raises ArgumentError for a file that cannot be read."""
    given = os.environ.get(TOKEN, "").strip()
    file = os.environ.get(TOKEN_FILE, "").strip()
    if given or not file:
        return given
    try:
        return expanded(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ArgumentError(f"the file {file} that {TOKEN_FILE} names cannot be read: {error}") from error


def is_url(address: str) -> bool:
    """Whether an address is a URL, so not a path."""
    return "://" in address


def _name(collection: Collection) -> str:
    """A name for the collection in Milvus that no other collection chooses, and this one chooses again."""
    manifest, where = collection.manifest, [platform.node(), str(collection.folder.resolve())]
    if collection.stored is not None:  # the same for all machines
        where = [collection.place]
    own = json.dumps([*where, manifest["created"], manifest["encoder"]["fingerprint"]])
    readable = re.sub(r"[^A-Za-z0-9]+", "_", where[-1].rpartition("/")[2])[:40].strip("_")
    return f"cpchub_{readable}_{bytes_sha256(own.encode())[:12]}"
