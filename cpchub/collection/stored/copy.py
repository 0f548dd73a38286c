"""The copy on this machine of a collection in a bucket: brought in step when it is opened, and filled as it is read.

    CPCHUB_CACHE/collections/NAME/             a collection folder like any other; vectors and index may be missing
    CPCHUB_CACHE/collections/NAME/.copy.json   which version of each file of the bucket it has

In the bucket lie the same files under the same names. While an update is stored there is the folder `.commit/` too,
with new versions of files that are there already; the update counts from the moment when its `manifest.json` is there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cpchub.collection.manifest import COMMIT, FAILURES, INDEX, ITEMS, MANIFEST, PENDING, VECTORS, finish_commit
from cpchub.collection.mapped_items import FOLDER
from cpchub.collection.stored import unfinished
from cpchub.collection.stored.objects import Objects, Stored, each
from cpchub.collection.stored.record import Record
from cpchub.common.files import locked, writing
from cpchub.common.hashing import bytes_sha256
from cpchub.common.kept import own_cache
from cpchub.common.progress import Report, remarks
from cpchub.errors import CollectionError, CpchubError, OutputError, StoreError

STAGE = f".{COMMIT}/"  # in the bucket
CORE = (ITEMS, FAILURES, MANIFEST)  # what every opening needs
TRIES = 5  # to see one state of a collection that is being updated
URL = re.compile(r"(?!file:)([a-z][a-z0-9+.-]+(?:::[a-z][a-z0-9+.-]+)*):/{1,2}(?=[^/])(.+)", re.IGNORECASE)


class State(NamedTuple):
    """What a bucket has at one moment. files: by name. staged: those of them that are still in `.commit/`."""

    files: dict[str, Stored]
    staged: frozenset[str]

    def key(self, name: str) -> str:
        """Where a file lies now."""
        return f"{STAGE}{name}" if name in self.staged else name


def url_of(place: str | Path) -> str | None:
    """The URL that a place is, None for a folder of this machine. A Path has lost a slash of `s3://`."""
    match = URL.fullmatch(str(place))
    if match is None or (isinstance(place, Path) and Path(place.parts[0]).exists()):
        return None
    return f"{match[1]}://{match[2].rstrip('/')}"


class StoredCollection:
    """A collection at a URL that fsspec knows, and `folder`, its copy here."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.objects = Objects(url)
        name = re.sub(r"[^A-Za-z0-9]+", "-", url.rpartition("/")[2])[:40].strip("-") or "collection"
        self.folder = own_cache("collections") / f"{name}-{bytes_sha256(url.encode())[:12]}"
        self.is_writing = False  # whether this object's user has the copy locked as its writer

    @classmethod
    def at(cls, place: str | Path) -> StoredCollection | None:
        """The collection at a place, which need not exist; None where the place is on this machine."""
        url = url_of(place)
        return None if url is None else cls(url)

    @contextmanager
    def in_its_name(self) -> Iterator[None]:
        """Let errors name the place that the user has named, not the copy."""
        try:
            yield
        except StoreError:  # it names what it means, sometimes both
            raise
        except (CpchubError, KeyboardInterrupt) as error:
            cause = error.__cause__
            if isinstance(error, OutputError) and isinstance(cause, OSError) and not isinstance(cause, BlockingIOError):
                raise  # the disk of the copy cannot be written
            error.args = tuple(str(arg).replace(str(self.folder), self.url) for arg in error.args)
            raise

    def refresh(self, *, job: bool = False) -> None:
        """Bring the copy in step with the bucket, unless a process of this machine writes the collection now.

        job: fetch the record of an unfinished job too. Raises StoreError, CollectionError, OutputError, NoSpaceError.
        """
        with self._alone() as free:
            if not free:
                return
            try:
                self.bring_in_step(job=job)
            except StoreError as error:
                if not (self.folder / MANIFEST).is_file():
                    raise
                raise StoreError(
                    f"{error}. The copy of it in {self.folder} is a collection, and can be opened"
                ) from error

    def fetch(self, *wanted: str) -> None:
        """Fetch files that the copy lacks, by name; a name that ends with `/` means all below it.

        Raises CollectionError where the bucket was updated since the copy was brought in step, and as `refresh` does.
        """
        with self._alone() as free:
            record = Record.read(self.folder, self.url)
            folders, alone = tuple(name for name in wanted if name.endswith("/")), {*wanted}
            names = [name for name in record.there if name in alone or name.startswith(folders)]
            keep = not free or self.is_ahead(record)  # what was written here is newer
            missing = [name for name in names if not self._has(record, name, keep)]
            if not missing:
                return
            known, state = record.there.get(MANIFEST), self.now()
            if state.files.get(MANIFEST) == known:
                there = {name: record.there[name] for name in missing}
                self.download(State(there, state.staged), self.folder, keep=keep)
                if self.now().files.get(MANIFEST) == known:
                    if free:
                        record.took(self.folder, missing)
                        record.save(self.folder)
                    return
            if free and not self.is_writing:
                self.bring_in_step()
        raise CollectionError(f"{self.url} was updated since it was opened; open it again")

    def check_free(self, way_out: str, *, collection: bool = False) -> None:
        """Raise OutputError where the bucket had anything here when it was looked at; with `collection`, anything but a
        collection or the beginnings of one.
        """
        there = Record.read(self.folder, self.url).there
        names = sorted({name.partition("/")[0] for name in there})
        if not names or (collection and (MANIFEST in names or PENDING in names)):
            return
        shown = ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])
        raise OutputError(f"{self.url} exists with other content ({shown}); {way_out}")

    def sizes(self) -> dict[str, int]:
        """Bytes of each file that the bucket had when it was looked at last."""
        return {name: stored.size for name, stored in Record.read(self.folder, self.url).there.items()}

    def now(self) -> State:
        """The state of the bucket's own files at the top."""
        files, folders = self.objects.top()
        return self._overlaid(self.objects.all() if STAGE.rstrip("/") in folders else files)

    def bring_in_step(self, *, job: bool = False, pending: bool = False) -> None:
        """Make the copy what the bucket has; the caller has seen to it that nobody else writes the copy.

        What was made here and could not be stored stays, unless the bucket has changed meanwhile. job: the record of an
        unfinished job is fetched too, and with `pending` its shards.
        """
        finish_commit(self.folder)
        record = Record.read(self.folder, self.url)
        state = self.now()
        known = state.files.get(MANIFEST) == record.there.get(MANIFEST) and MANIFEST in record.there
        if known and not (state.staged or job or pending) and all(record.in_step(self.folder, name) for name in CORE):
            return
        for _ in range(TRIES):
            state = self._overlaid(self.objects.all())
            if self._takes_over(record, state):
                break
        else:
            raise CollectionError(f"{self.url} is being updated; try again in a moment")
        record.there = state.files
        if job or pending:
            wanted = unfinished.take_job(self.folder, self.objects, state.files, shards=pending)
            self.download(State(wanted, frozenset()), self.folder)
            if unfinished.JOB in state.files:
                unfinished.note_known(self.folder)
        record.save(self.folder)

    def drop_strays(self) -> None:
        """Remove what a build of the index that was stopped has left in the copy; the bucket has the whole one."""
        record = Record.read(self.folder, self.url)
        if not self.is_ahead(record):
            for path in (self.folder / INDEX, *(self.folder / FOLDER).glob("*")):
                if not record.in_step(self.folder, path.relative_to(self.folder).as_posix()):
                    path.unlink(missing_ok=True)

    def is_ahead(self, record: Record) -> bool:
        """Whether the copy is a newer state than that of the bucket, made here and not stored yet."""
        return (self.folder / MANIFEST).is_file() and not record.untouched(self.folder, MANIFEST)

    def download(self, state: State, to: Path, *, keep: bool = False) -> None:
        """Fetch the files of a state; with `keep`, what is there stays.

        Raises CollectionError for one that is gone or has changed, since the state was seen.
        """

        def get(name: str) -> None:
            path = to / name
            if keep and path.exists():
                return
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            if not self.objects.fetch(state.key(name), path) or path.stat().st_size != state.files[name].size:
                path.unlink(missing_ok=True)
                raise CollectionError(f"{self.url} was updated since it was opened; open it again")

        with Report(f"Fetching {self.url}", len(state.files), unit="file", console=remarks()) as report:
            each(get, state.files, report.advance)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Wait until no other process brings the copy in step, and let none begin."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder.parent / f".{self.folder.name}.lock").open("w")
        with lock:
            locked(lock.fileno(), wait=True)
            yield

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the copy; False where a process writes the collection, so that its files must stay as they are."""
        if self.is_writing:
            yield True
            return
        with self.settled():
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                locked(handle, wait=False)
                free = True
            except BlockingIOError:
                free = False
            finally:
                os.close(handle)
            yield free

    def _overlaid(self, files: dict[str, Stored]) -> State:
        """The state that a listing shows; an update that is complete in `.commit/` counts."""
        plain = {name: stored for name, stored in files.items() if not name.startswith(".")}
        if f"{STAGE}{MANIFEST}" not in files:
            return State(plain, frozenset())
        staged = {name.removeprefix(STAGE): stored for name, stored in files.items() if name.startswith(STAGE)}
        return State(plain | staged, frozenset(staged))

    def _takes_over(self, record: Record, state: State) -> bool:
        """Take items, failures and manifest over from a state; False where the bucket has changed on the way."""
        same = state.files.get(MANIFEST) == record.there.get(MANIFEST)
        if same and self.is_ahead(record):
            return True
        if MANIFEST not in state.files:
            self._empty(record)
            return True
        record.there = state.files
        wanted = [name for name in CORE if name in state.files and not record.in_step(self.folder, name)]
        stage = self.folder / f".{COMMIT}"
        with writing(stage):
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir(parents=True)
        try:
            self.download(State({name: state.files[name] for name in wanted}, state.staged), stage)
        except CollectionError:
            return False
        if self._overlaid(self.objects.all()).files.get(MANIFEST) != state.files[MANIFEST]:
            return False
        with writing(self.folder):
            stage.rename(self.folder / COMMIT)
        finish_commit(self.folder)
        record.took(self.folder, wanted)
        for path in (self.folder / VECTORS).glob("*"):  # of earlier states
            if f"{VECTORS}/{path.name}" not in state.files:
                path.unlink(missing_ok=True)
        return True

    def _empty(self, record: Record) -> None:
        """There is no collection in the bucket, or no longer: neither is there one here."""
        for path in self.folder.glob("[!.]*"):
            if path.is_dir() and path.name != PENDING:
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_file():
                path.unlink(missing_ok=True)
        record.here.clear()

    def _has(self, record: Record, name: str, keep: bool) -> bool:
        return (self.folder / name).is_file() if keep else record.in_step(self.folder, name)
