"""Carries the finished shards of a job to the bucket while it runs, so that any machine can go on after a kill."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from cpchub.collection.manifest import PENDING
from cpchub.collection.stored.claim import Claim
from cpchub.collection.stored.copy import StoredCollection
from cpchub.collection.stored.objects import each
from cpchub.collection.stored.unfinished import JOB_FILE, note_known
from cpchub.errors import CpchubError, StoreError

LOOK_EVERY = 1.0  # seconds; a shard takes longer


class Carrier:
    """A thread that stores each shard when it is complete, and renews the claim, in a `with` block.

    While the store does not answer the work goes on: what could not be stored is tried again, and all of it at the end
    of the block. The embedding knows nothing of it: a shard on the disk is always complete.
    """

    def __init__(self, stored: StoredCollection, claim: Claim, *, job: bool) -> None:
        self._stored, self._claim, self._job = stored, claim, job
        self._folder = stored.folder / PENDING
        self._done: set[tuple[str, int, int]] = set()  # name, size and time of what the bucket has as well
        self._stop = Event()
        self._thread = Thread(target=self._run, name="carry-shards", daemon=True)

    def __enter__(self) -> Carrier:
        if self._job:
            there = self._stored.sizes()
            facts = map(_facts, self._complete())
            self._done = {known for known in facts if known and there.get(self._name(known[0])) == known[1]}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if kind is None or not self._job:
            return
        try:
            self._carry()
            if not self._folder.exists():  # given up: none of its images could be read
                self._stored.objects.delete([self._name(name) for name in {name for name, _, _ in self._done}])
        except CpchubError as failed:
            told = f"The shards in {self._folder} could not all be stored ({failed}); they are used on this machine"
            if error is not None and error.args:
                error.args = (f"{error.args[0]}. {told}", *error.args[1:])

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            try:
                self._claim.renew()
                if self._job:
                    self._carry()
            except StoreError:  # once more in the next round; at the end it is told
                continue
            except CpchubError:  # another process has taken over, which is told at the end too
                return

    def _carry(self) -> None:
        """Store what is complete and not stored yet; the record of the job first, as shards without it are of none."""
        todo = [path for path in self._complete() if _facts(path) not in self._done]
        each(self._put, [path for path in todo if path.name == JOB_FILE])
        each(self._put, [path for path in todo if path.name != JOB_FILE])

    def _put(self, path: Path) -> None:
        facts = _facts(path)
        if facts is not None:  # else the job was finished meanwhile, and its shards are removed
            self._stored.objects.put(self._name(path.name), path)
            self._done.add(facts)
            if path.name == JOB_FILE:
                note_known(self._stored.folder)

    def _complete(self) -> list[Path]:
        return [*self._folder.glob(JOB_FILE), *sorted(self._folder.glob("[0-9]*.parquet"))]

    def _name(self, file: str) -> str:
        return f"{PENDING}/{file}"


def _facts(path: Path) -> tuple[str, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return path.name, found.st_size, found.st_mtime_ns
