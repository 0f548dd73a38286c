"""Embed a folder of pictures into a collection, and keep the collection in step with the folder.

Pictures are read by threads ahead of the network and go through it in batches. Work is kept in shards, each complete
or absent: a job that is killed goes on where it was, and its files come out the same as those of a job that was not.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import Progress, TaskID

from cpchub.catalog import ModelSpec
from cpchub.collection import (
    MANIFEST,
    PENDING,
    Collection,
    check_same_encoder,
    finish_commit,
    read_manifest,
)
from cpchub.errors import ArgumentError, BrokenImageError, CollectionError, LabelError, OutputError, SourceError
from cpchub.files import only_writer, visible_names, writing
from cpchub.images.decode import Decoded, decode_bytes, read_bytes, resize_side
from cpchub.images.sources import Picture, find_images
from cpchub.pending import Pending, matches, read_job
from cpchub.progress import embedding_bar
from cpchub.sync import Plan, Row, shares_content
from cpchub.writer import finish, sweep

SHARD = 1024  # pictures a shard: what a kill can cost


class ImageEncoder(Protocol):
    """What embedding and searching need of an encoder; `cpchub.load` gives one."""

    @property
    def spec(self) -> ModelSpec:
        """What is known about it."""

    def encode(self, images: Any, *, batch_size: int = 64, normalize: bool = False) -> npt.NDArray[np.float32]:
        """Pictures to float32 `[N, D]`."""


@dataclass(frozen=True)
class Outcome:
    """A file that was read: its picture, or the reason there is none, or bytes whose content was known before."""

    picture: Picture
    sha256: str | None = None
    decoded: Decoded | None = None
    known: bytes | None = None
    reason: str | None = None


def embed(
    source: str | Path,
    out: str | Path,
    encoder: ImageEncoder,
    *,
    batch_size: int = 64,
    workers: int = 2,
    progress: bool = True,
    labels: str | None = None,
) -> Collection:
    """Embed every picture below `source` into the collection at `out`; run again, it takes over what changed.

    batch_size: pictures a step of the network. workers: threads that read and decode.
    labels: "folders" fills the label column with the first folder of each path (class/picture.jpg).

    Pictures that cannot be read are listed in `Collection.failures` and the rest is embedded. Ctrl-C and kill lose at
    most a shard of work; the same call goes on. `Collection.counts` says what this run did.

    Raises SourceError (no folder, no pictures, none readable), OutputError (`out` holds other content, another
    collection's source, or is being written), EncoderMismatchError, NoSpaceError. Nothing is written before the
    checks have passed.
    """
    if labels not in (None, "folders"):
        raise LabelError(f'labels={labels!r}: give "folders" to take labels from class folders, or leave it out')
    if batch_size < 1 or workers < 1:
        raise ArgumentError(f"batch_size={batch_size}, workers={workers}: both must be at least 1")
    root, out = Path(source).expanduser().resolve(), Path(out).expanduser()
    _check_is_ours(out)
    pictures = find_images(root, skip=out)
    with _claimed(out):
        return _Run(root, out, encoder, batch_size, workers, progress, labels).sync(pictures)


class _Run:
    """One call of `embed`, after its arguments were checked."""

    def __init__(
        self,
        root: Path,
        out: Path,
        encoder: ImageEncoder,
        batch_size: int,
        workers: int,
        progress: bool,
        labels: str | None,
    ) -> None:
        self.root, self.out, self.encoder = root, out, encoder
        self.batch_size, self.workers = batch_size, workers
        self.console = Console(stderr=True, quiet=not progress)
        finish_commit(out)
        self.old = Collection.open(out) if (out / MANIFEST).exists() else None
        self.labels = labels or (self.old.manifest["labels"] if self.old else None)
        self.size = resize_side(encoder.spec.input_size, encoder.spec.crop_pct)
        self.pending = Pending(out, encoder.spec.dim)

    def sync(self, pictures: Sequence[Picture]) -> Collection:
        started = time.monotonic()
        self._check_same_job(pictures)
        unnamed = [picture for picture in pictures if not _is_text(picture.path)]
        plan = Plan(self.old.items if self.old else None, [picture for picture in pictures if _is_text(picture.path)])
        job = self.pending.start(self._job()) | {"source": str(self.root)}  # moved, it may be, since it was stopped
        todo = self._not_done(plan)
        done = len(plan.to_read) - len(todo)
        if done:
            self.console.print(f"Going on after {done:,} pictures of a run that was stopped.")
        self._read_and_encode(todo, plan, done)
        try:
            counts = finish(self.old, plan, self.pending, job, self.labels, [_unnamed(picture) for picture in unnamed])
        except SourceError:
            self.pending.discard()
            raise
        collection = Collection.open(self.out)
        sweep(collection)
        collection.counts = counts
        self.console.print(f"{counts.sentence()}, in {time.monotonic() - started:.0f} s: {self.out}")
        return collection

    def _check_same_job(self, pictures: Sequence[Picture]) -> None:
        """Refuse another encoder, and another source unless it is the first one moved; drop a job that was finished."""
        job = read_job(self.out)
        if job and self.old and job["generation"] <= self.old.manifest["generation"]:
            self.pending.discard()
            job = None
        for record in filter(None, (self.old.manifest if self.old else None, job)):
            check_same_encoder(self.out, record["encoder"], self.encoder.spec)
            if record["source"] == str(self.root):
                continue
            holds = f"{self.out} holds the pictures of {record['source']}"
            if Path(record["source"]).is_dir():
                raise OutputError(f"{holds}; choose another output folder for {self.root}")
            known = self._known()
            if known and not shares_content(self.root, pictures, known):
                raise OutputError(
                    f"{holds}, which is gone, and none of them is in {self.root}; choose another output folder for "
                    f"those, or delete {self.out} if its pictures are no longer wanted"
                )

    def _known(self) -> list[Row]:
        """Size and sha256 of every picture that is embedded, also by a run that was stopped."""
        tables = [*([self.old.items] if self.old else []), *self.pending.shards()]
        return [row for table in tables for row in table.select(["size", "sha256"]).to_pylist()]

    def _job(self) -> dict[str, Any]:
        spec = self.encoder.spec
        return {
            "generation": self.old.manifest["generation"] + 1 if self.old else 1,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "source": str(self.root),
            "encoder": {
                "name": spec.name,
                "fingerprint": spec.fingerprint,
                "weights_sha256": spec.weights_sha256,
                "repo_id": spec.repo_id if spec.status == "hub" else None,
                "revision": spec.revision,
                "folder": str(spec.folder.resolve()) if spec.status == "local" and spec.folder else None,
                "transform": spec.transform,
            },
        }

    def _not_done(self, plan: Plan) -> list[Picture]:
        """The files that no shard of an earlier run covers; what such a shard has claimed is taken off the plan."""
        wanted = {picture.path: picture for picture in plan.to_read}
        for shard in self.pending.shards():
            for row in shard.drop(["vector"]).to_pylist():
                if matches(row, wanted):
                    del wanted[row["path"]]
                    if row["kept_id"] is not None:
                        plan.release(row["kept_id"], row["sha256"])
        return list(wanted.values())

    def _read_and_encode(self, todo: Sequence[Picture], plan: Plan, done: int) -> None:
        """Shard after shard until all is in `pending/`."""
        if not todo:
            return
        outcomes = _read_ahead(todo, self._reader(plan), self.workers, ahead=2 * self.batch_size + self.workers)
        with embedding_bar(self.console) as bar:
            task = bar.add_task("Embedding", total=done + len(todo), completed=done)
            try:
                for start in range(0, len(todo), SHARD):
                    rows, vectors = self._shard(islice(outcomes, min(SHARD, len(todo) - start)), plan, bar, task)
                    self.pending.write(rows, vectors)
                    done += len(rows)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"stopped; {done:,} pictures are done and kept in {self.out}. Run the same command to go on"
                ) from None
            finally:
                outcomes.close()

    def _reader(self, plan: Plan) -> Callable[[Picture], Outcome]:
        def read(picture: Picture) -> Outcome:
            try:
                data = read_bytes(self.root / picture.path)
                sha256 = hashlib.sha256(data).hexdigest()
                if plan.may_be_known(sha256):
                    return Outcome(picture, sha256, known=data)
                return Outcome(picture, sha256, decode_bytes(data, size=self.size))
            except BrokenImageError as error:
                return Outcome(picture, reason=str(error))

        return read

    def _shard(
        self, outcomes: Iterable[Outcome], plan: Plan, bar: Progress, task: TaskID
    ) -> tuple[list[Row], npt.NDArray[np.float32]]:
        """One shard's rows and vectors. Batches end with the shard, so that going on gives the same vectors."""
        rows: list[Row] = []
        vectors = np.zeros((SHARD, self.pending.dim), np.float32)
        batch: dict[int, Image.Image] = {}
        for outcome in outcomes:
            row, image = self._row(outcome, plan)
            if image is not None:
                batch[len(rows)] = image
            rows.append(row)
            if len(batch) == self.batch_size:
                self._encode(batch, rows, vectors)
            bar.advance(task)
        self._encode(batch, rows, vectors)
        return rows, vectors[: len(rows)]

    def _row(self, outcome: Outcome, plan: Plan) -> tuple[Row, Image.Image | None]:
        """The outcome as a row of a shard, and the picture where it has to go through the network."""
        picture = outcome.picture
        row: Row = {"path": picture.path, "size": picture.size, "mtime_ns": picture.mtime_ns, "sha256": outcome.sha256}
        row |= {"width": None, "height": None, "kept_id": None, "reason": outcome.reason}
        if outcome.known is not None:
            item = plan.claim(picture, outcome.sha256 or "")
            if item is not None:
                row |= {"kept_id": item["id"], "width": item["width"], "height": item["height"]}
                return row, None
            try:  # a second copy of it: the first one has taken the id
                outcome = replace(outcome, decoded=decode_bytes(outcome.known, size=self.size))
            except BrokenImageError as error:
                row["reason"] = str(error)
        if outcome.decoded is None:
            return row, None
        row |= {"width": outcome.decoded.width, "height": outcome.decoded.height}
        return row, outcome.decoded.image

    def _encode(self, batch: dict[int, Image.Image], rows: list[Row], vectors: npt.NDArray[np.float32]) -> None:
        """Run a batch (position in the shard -> picture) through the network and empty it."""
        if not batch:
            return
        positions, images = list(batch), list(batch.values())
        batch.clear()
        encoded = self.encoder.encode(images, batch_size=self.batch_size, normalize=True)
        if encoded.shape != (len(images), self.pending.dim):
            raise CollectionError(
                f"the encoder gave vectors of shape {encoded.shape} for {len(images)} pictures, "
                f"its spec says {self.pending.dim} dimensions; export it again"
            )
        for position, vector in zip(positions, encoded, strict=True):
            if np.isfinite(vector).all():
                vectors[position] = vector
            else:
                rows[position]["reason"] = "the encoder gives values that are not finite for it"


def _read_ahead(
    pictures: Iterable[Picture], read: Callable[[Picture], Outcome], workers: int, ahead: int
) -> Generator[Outcome, None, None]:
    """Outcomes in order, read by threads that stay at most `ahead` pictures in front of the network."""
    waiting: deque[Future[Outcome]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-pictures")
    try:
        for picture in pictures:
            waiting.append(pool.submit(read, picture))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _check_is_ours(out: Path) -> None:
    """Raises OutputError where `out` is a file, or a folder with anything but a collection or its beginnings."""
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out} is a file; choose a folder for the collection")
    if (out / MANIFEST).exists():
        read_manifest(out)
        return
    if read_job(out) is not None:
        return
    names = visible_names(out)
    if names == [PENDING]:  # stopped before its first file
        names = visible_names(out / PENDING)
    if names:
        shown = ", ".join(names[:3])
        raise OutputError(f"{out} exists with other content ({shown}); choose an empty or a new folder")


def _is_text(path: str) -> bool:
    """Whether a path can be stored as text; file names are bytes, and some are not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unnamed(picture: Picture) -> Row:
    name = picture.path.encode(errors="backslashreplace").decode()
    return {"path": name, "reason": "the file name is not valid UTF-8; rename the file"}


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """Hold the output folder as its only writer; one that was made for a run that left nothing is taken away again."""
    made = not out.exists()
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with only_writer(out):
            yield
    finally:
        if made and not any(out.iterdir()):
            out.rmdir()
