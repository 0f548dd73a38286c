"""Connect to a Milvus, and say in plain words why it refuses."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from cpchub.common.extras import import_extra, install_packages, is_installed
from cpchub.common.files import locked
from cpchub.errors import DependencyError, NoSpaceError, StoreError
from cpchub.index.engine.faiss_import import import_faiss
from cpchub.index.place import TOKEN, TOKEN_FILE, Place, token

OLDEST, OLDEST_LITE = (2, 5), (3, 0)  # 2.5 brought fields that may be empty; 3 is Milvus Lite in Python
TIMEOUT = 10.0  # seconds to reach a server
LITE = "milvus-lite"  # how the version of Milvus Lite begins, in this process or served by another
PORT = 19_530  # of Milvus, where an address names none
LOCK = "LOCK"  # the file that Milvus Lite holds


def check_installed(place: Place) -> ModuleType:
    """The module `pymilvus`, with what its place needs beside it. Raises DependencyError."""
    milvus = import_extra("pymilvus", extra="milvus")
    for noisy in ("pymilvus", "milvus_lite"):  # they log each error with its traceback; ours say it in a sentence
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    if place.is_lite:
        if not is_installed("milvus_lite"):
            raise DependencyError(
                f"{place} is Milvus Lite, which is not installed; run: {install_packages('milvus-lite>=3.2')}\n"
                "It brings faiss-cpu, which breaks faiss-gpu: beside faiss-gpu use a server of Milvus"
            )
        found = metadata.version("milvus-lite")
        if _version(found) < OLDEST_LITE:
            raise DependencyError(
                f"milvus-lite {found} is too old; run: {install_packages('milvus-lite>=3.2')}\n"
                "It cannot read files of the earlier one; cpchub imports the vectors again into a new file"
            )
        import_faiss()  # raises where faiss-cpu and faiss-gpu are both installed
    return milvus


def connect(place: Place) -> Any:
    """A client of the Milvus at a place.

    Raises DependencyError without its packages, StoreError for a server that is not reached, refuses the token or is
    too old, and for a folder that another process uses.
    """
    milvus = check_installed(place)
    options: dict[str, Any] = {"token": token()}
    if place.is_lite:  # its server is in this process, and takes pings during a long call for an attack
        options = {"grpc_options": {"grpc.keepalive_time_ms": 24 * 3_600_000}}
    with plain_words(place):
        client = milvus.MilvusClient(place.address, timeout=TIMEOUT, **options)
        version = str(client.get_server_version())
    if not version.startswith(LITE) and _version(version) < OLDEST:
        raise StoreError(
            f"Milvus at {place.address} has version {version}; cpchub needs {'.'.join(map(str, OLDEST))} or later. "
            "Upgrade it, or name another with --store"
        )
    return client


@contextmanager
def plain_words(place: Place) -> Iterator[None]:
    """Turn an exception of Milvus into a StoreError."""
    milvus = import_extra("pymilvus", extra="milvus")
    try:
        yield
    except milvus.MilvusException as error:
        raise _in_words(place, str(getattr(error, "message", "") or error)) from error


def _in_words(place: Place, said: str) -> StoreError | NoSpaceError:
    low = said.lower()
    if "no space left" in low:
        return NoSpaceError(f"the disk of {place} is full: {said}")
    if place.is_lite and "open local milvus failed" in low:
        return _why_closed(place)
    lost = re.search(r"fail connecting|unavailable|deadline|timeout|timed out|connect", low)
    # of a wrong token the client says no more than that it did not connect
    if re.search(r"auth|token|password|permission|privilege", low) or (lost and "params" in low and _answers(place)):
        return StoreError(
            f"Milvus at {place.address} refuses the token, or lacks one ({said}); set {TOKEN}=user:password, or name a "
            f"file with it in {TOKEN_FILE}"
        )
    if lost:
        return StoreError(
            f"Milvus at {place.address} is not reached ({said}). Start it, or name another store with --store; the "
            "collection has all that it takes to fill it again"
        )
    return StoreError(f"Milvus at {place.address} refuses: {said}")


def _answers(place: Place) -> bool:
    """Whether anything takes connections at the address of a server."""
    parts = urlsplit(place.address)
    port = parts.port or (443 if parts.scheme == "https" else PORT)
    try:
        with socket.create_connection((parts.hostname or "", port), TIMEOUT):
            return True
    except OSError:
        return False


def _why_closed(place: Place) -> StoreError:
    """Why Milvus Lite does not open its folder, which it does not say itself."""
    folder = Path(place.address)
    if folder.is_file():
        return StoreError(f"{folder} is a file; Milvus Lite 3 keeps its data in a folder. Name another: milvus:NEW.db")
    try:
        with (folder / LOCK).open("rb") as lock:
            locked(lock.fileno(), wait=False)
    except BlockingIOError:
        return StoreError(
            f"{folder} is in use by another process, for example a page or an API that serves it; Milvus Lite takes "
            "one process at a time. End that one, or use a server of Milvus"
        )
    except OSError as error:
        return StoreError(f"{folder} cannot be used by Milvus Lite ({error.strerror}); name another: milvus:NEW.db")
    return StoreError(f"Milvus Lite cannot open {folder}: it is damaged. Delete it, and index again")


def _version(text: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else OLDEST
