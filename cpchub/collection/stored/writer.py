"""Write a collection in a bucket: the work is done in its copy here, and a reader sees all of an update or nothing.

New files go to their places first, since no manifest names them yet. New versions of files that are there go to
`.commit/`, `manifest.json` the last: from then on the update counts. They are copied to their places, the manifest
the last again, and `.commit/` is deleted. A writer that ends on the way leaves the old state or the new one; the next
one brings to an end what counts and deletes the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cpchub.collection.manifest import FAILURES, INDEX, ITEMS, MANIFEST, PENDING, VECTORS, read_manifest
from cpchub.collection.mapped_items import FOLDER, ITEMS_ARROW
from cpchub.collection.stored.carrier import Carrier
from cpchub.collection.stored.claim import Claim
from cpchub.collection.stored.copy import STAGE, StoredCollection
from cpchub.collection.stored.objects import Objects, Stored, each
from cpchub.collection.stored.record import Record
from cpchub.common.progress import Report, remarks
from cpchub.errors import OutputError


@contextmanager
def writer_of(
    stored: StoredCollection | None, hold: AbstractContextManager[Any], *, job: bool = False
) -> Iterator[None]:
    """Hold a collection's folder by `hold`; of a stored one, this is its copy, and what changed in it is stored.

    The copy is in step with the bucket within the block. A block that raises stores nothing but, with `job`, the
    finished shards of the unfinished job, which are also stored while it runs.

    Raises OutputError while another process writes the collection, StoreError, and what `hold` raises.
    """
    if stored is None:
        with hold:
            yield
        return
    with stored.in_its_name(), ExitStack() as stack:
        with stored.settled():
            stack.enter_context(hold)
        claim = Claim(stored.objects, _copy_of(stored))
        claim.take()
        stack.callback(claim.release)
        stored.is_writing = True
        stack.callback(setattr, stored, "is_writing", False)
        _finish_commit(stored.objects)
        stored.bring_in_step(job=job, pending=job)
        stored.drop_strays()
        with Carrier(stored, claim, job=job):
            yield
        _store(stored, claim, job=job)


def _copy_of(stored: StoredCollection) -> str:
    """The name of the copy, which is on its disk from now on."""
    record = Record.read(stored.folder, stored.url)
    record.save(stored.folder)
    return record.copy


def _finish_commit(objects: Objects) -> None:
    """Bring to an end what a writer has left in `.commit/`: what counts goes to its place, the manifest last."""
    folders = objects.top()[1]
    if STAGE.rstrip("/") not in folders:
        return
    staged = [name for name in objects.all() if name.startswith(STAGE)]
    if f"{STAGE}{MANIFEST}" in staged:
        _into_place(objects, [name.removeprefix(STAGE) for name in staged])
    else:
        objects.delete(staged)


def _into_place(objects: Objects, names: list[str]) -> None:
    """Copy files out of `.commit/`, the manifest last; then delete them there, the manifest first."""
    each(lambda name: objects.copy(f"{STAGE}{name}", name), [name for name in names if name != MANIFEST])
    objects.copy(f"{STAGE}{MANIFEST}", MANIFEST)
    objects.delete([f"{STAGE}{MANIFEST}"])
    objects.delete([f"{STAGE}{name}" for name in names if name != MANIFEST])


def _store(stored: StoredCollection, claim: Claim, *, job: bool) -> None:
    """Store what the copy has and the bucket lacks, and delete what the new state no longer has."""
    folder, objects = stored.folder, stored.objects
    if not (folder / MANIFEST).is_file():  # nothing came of the block
        return
    manifest = read_manifest(folder)
    record = Record.read(folder, stored.url)
    before = record.there
    changed = [name for name in _files(folder, manifest) if not record.in_step(folder, name)]
    new = [name for name in changed if name not in before and name != MANIFEST]
    again = [name for name in changed if name in before or name == MANIFEST]
    if changed:
        _check_unchanged(stored, claim, before)
        with Report(f"Storing in {stored.url}", len(changed), unit="file", console=remarks()) as report:
            each(lambda name: objects.put(name, folder / name), new, report.advance)
            _replace(stored, claim, before, again)
    there = objects.all()
    gone = [name for name in there if _is_gone(name, folder, manifest, job=job)]
    objects.delete(gone)
    record.there = {name: each for name, each in there.items() if name not in gone and not name.startswith(".")}
    record.took(folder, _files(folder, manifest))
    record.save(folder)


def _replace(stored: StoredCollection, claim: Claim, before: dict[str, Stored], names: list[str]) -> None:
    """Store new versions of files so that they count together; of one alone that is one request."""
    folder, objects = stored.folder, stored.objects
    others = [name for name in names if name != MANIFEST]
    stage = STAGE if others and MANIFEST in before else ""  # of the first state nobody has a part
    each(lambda name: objects.put(f"{stage}{name}", folder / name), others)
    _check_unchanged(stored, claim, before)
    objects.put(f"{stage}{MANIFEST}", folder / MANIFEST)
    if stage:
        _into_place(objects, [*others, MANIFEST])


def _check_unchanged(stored: StoredCollection, claim: Claim, before: dict[str, Stored]) -> None:
    """Raise OutputError where somebody else has written the collection meanwhile, which the claim should prevent."""
    claim.check()
    if stored.objects.top()[0].get(MANIFEST) != before.get(MANIFEST):
        raise OutputError(
            f"{stored.url} was changed by another process while this one wrote it; run the same command again"
        )


def _files(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """The files of the copy that belong to the collection, the manifest last."""
    vectors = [f"{VECTORS}/{shard['file']}" for shard in manifest["shards"]]
    search = [f"{FOLDER}/{path.name}" for path in sorted((folder / FOLDER).glob("[!.]*"))]
    names = [*vectors, *(search if manifest["search"] else []), INDEX, ITEMS, FAILURES, MANIFEST]
    return [name for name in names if (folder / name).is_file()]


def _is_gone(name: str, folder: Path, manifest: dict[str, Any], *, job: bool) -> bool:
    """Whether a file of the bucket is of an earlier state, or of a job that is over. What is the user's own stays."""
    place, _, file = name.partition("/")
    if place == VECTORS:
        return file not in {shard["file"] for shard in manifest["shards"]}
    if place == PENDING:
        return job and not (folder / PENDING).exists()
    in_folder = manifest["search"] is not None and manifest["store"] is None
    if name == INDEX:
        return not in_folder
    if place != FOLDER or not in_folder:
        return place == FOLDER and manifest["search"] is None
    return file != ITEMS_ARROW and manifest["search"].get("kind") == "exact"  # which holds the vectors itself
