"""File names of a collection, its manifest, and the last step of an update."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import Any, Protocol

from cpchub.errors import CollectionError, EncoderMismatchError

FORMAT = 1
MANIFEST, ITEMS, FAILURES, INDEX = "manifest.json", "items.parquet", "failures.parquet", "index.faiss"
VECTORS = "vectors"
PENDING = "pending"  # work of a run that has not finished
COMMIT = "commit"  # a finished run's files on their way to their places
FOLDER, LIST = "folder", "list"  # of `source_kind`, those whose images are files
IMPORTED = "imported"  # the fingerprint of vectors that were computed elsewhere
NO_SOURCE = "."  # the source of imported vectors of which none was named
GENERATION = b"cpchub.generation"  # in the Parquet metadata: tells files of one run from those of another
MANIFEST_FIELDS = {
    "generation": int,
    "count": int,
    "next_id": int,
    "dim": int,
    "source": str,
    "encoder": dict,
    "shards": list,
}
SHARD_FIELDS = {"file", "rows", "first_id", "last_id"}


class HasFingerprint(Protocol):
    """The part of a ModelSpec that identifies an encoder."""

    @property
    def name(self) -> str:
        """The name people know it by."""

    @property
    def fingerprint(self) -> str:
        """A short hash of all that decides the vectors."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a collection folder. Raises CollectionError where there is none that this version can read."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if not folder.exists():
            raise CollectionError(
                f"there is no collection at {folder}; make one: cpchub index IMAGES -o {quote(str(folder))}"
            ) from error
        if (folder / PENDING).is_dir():
            why = "embedding stopped before its end; run it again and it goes on"
        else:
            why = f"it has no {MANIFEST}. Make one of a folder of images: cpchub index IMAGES -o COLLECTION"
        raise CollectionError(f"{folder} is not a collection: {why}") from error
    except (OSError, ValueError) as error:
        raise CollectionError(f"{path} cannot be read ({error}); delete {folder} and embed the images again") from error
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(version, int):
        raise CollectionError(f"{path} is not the manifest of a collection; choose another folder")
    if version > FORMAT:
        raise CollectionError(f"{folder} has format {version}, this cpchub reads up to {FORMAT}; upgrade cpchub")
    for name, kind in MANIFEST_FIELDS.items():
        value = manifest.get(name)
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < 1 << 62):
            raise CollectionError(
                f"{path} was edited by hand or is damaged ({name} is {value!r}); delete {folder} and embed again"
            )
    if not {"name", "fingerprint"} <= manifest["encoder"].keys():
        raise CollectionError(f"{path} does not say which encoder it is of; delete {folder} and embed again")
    for shard in manifest["shards"]:
        known = shard if isinstance(shard, dict) else {}
        if not known.keys() >= SHARD_FIELDS or Path(str(known["file"])).name != known["file"]:
            raise CollectionError(
                f"{path} was edited by hand or is damaged (one of shards is {shard!r}); delete {folder} and embed again"
            )
    return {"labels": None, "rules": None, "search": None, "store": None, "created": None, **manifest}


def encoder_to_load(recorded: dict[str, Any]) -> str:
    """The argument with which `cpchub.load` finds a recorded encoder again: folder, `org/name@commit`, or name."""
    if recorded.get("folder"):
        return str(recorded["folder"])
    if recorded.get("repo_id") and recorded.get("revision"):  # also for a catalog name: the catalog changes
        return f"{recorded['repo_id']}@{recorded['revision']}"
    return str(recorded["name"])


def check_same_encoder(folder: Path | str, embedded_by: dict[str, Any], spec: HasFingerprint) -> None:
    """Raises EncoderMismatchError, naming both encoders, where their fingerprints differ."""
    if embedded_by["fingerprint"] != spec.fingerprint:
        raise EncoderMismatchError(
            f"{folder} was embedded by {embedded_by['name']!r} (fingerprint {embedded_by['fingerprint']}), not by "
            f"{spec.name!r} ({spec.fingerprint}): use the first, or embed with the second into another folder"
        )


def finish_commit(folder: Path) -> None:
    """Move the files of a finished run into place. If a run is killed here, the next one completes it.

    The manifest is moved last, so until then the folder describes the old state.
    """
    commit = folder / COMMIT
    if not commit.is_dir():
        return
    for name in (ITEMS, FAILURES, MANIFEST):
        try:
            (commit / name).replace(folder / name)
        except FileNotFoundError:  # moved before the kill, or by another process that opens the collection now
            continue
        except OSError as error:
            raise CollectionError(
                f"{folder} was stopped in mid-update and cannot be written ({error.strerror})"
            ) from error
    try:
        commit.rmdir()
    except OSError:  # another process was faster
        return
