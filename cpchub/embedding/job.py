"""Embed the images of a source into a collection, and keep the collection in step with the source.

The work is split into shards, and a shard on disk is always complete. A job that was killed resumes after its last
shard and writes the same files as a job that was not killed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import MANIFEST, finish_commit
from cpchub.collection.stored.copy import StoredCollection
from cpchub.collection.stored.writer import writer_of
from cpchub.collection.writer import sweep
from cpchub.common.files import expanded
from cpchub.common.progress import Report, remarks
from cpchub.embedding.advice import advice
from cpchub.embedding.changes import Changes
from cpchub.embedding.claim import check_is_ours, claimed, recorded
from cpchub.embedding.engines import embed_shards
from cpchub.embedding.finish import finish
from cpchub.embedding.options import DTYPES, EmbedOptions, On
from cpchub.embedding.part import Part
from cpchub.embedding.pending import VERSION_COLUMNS, Pending, current_rows, read_job
from cpchub.embedding.record import check_same_job, job_record, known_contents
from cpchub.embedding.shards import Shard
from cpchub.embedding.workers import Job
from cpchub.encoders.protocols import Decode, ImageEncoder
from cpchub.errors import LabelError, OutputError, SourceError
from cpchub.media.labels import Labels, read_labels_of
from cpchub.media.rules import Rules
from cpchub.media.sources import ListedImage, Listing, Source, open_source

FOUND_ANEW = ("source", "source_kind", "rules", "part")
SHARD = 1024  # images a shard: what a kill can cost
FIRST = 8  # images of a job by which the encoder chooses its way through the network


def embed(
    source: object,
    out: str | Path,
    encoder: ImageEncoder,
    *,
    batch_size: int = 64,
    workers: int = 2,
    progress: bool = True,
    labels: str | Path | None = None,
    dtype: str | None = None,
    processes: int = 1,
    devices: Sequence[str] = (),
    decode: Decode = "auto",
    rules: Rules | None = None,
    on: On | None = None,
    address: str | None = None,
    part: str | None = None,
) -> Collection:
    """Embed every image of `source` into the collection at `out`; run again, it takes over what changed.

    out: a folder, or the URL of a place in a bucket (`s3://bucket/folder`). There the shards of the work are stored as
        they are finished, and the manifest last.
    source: what `cpchub.media.sources.open_source` takes: a folder of images, tar shards or Parquet files, a saved
        Hugging Face data set or a Dataset, a list of paths and URLs, `s3://...`.
    batch_size: images a step of the network. workers: threads that read and decode, in each process.
    labels: "folders" fills the label column with the class folder of each image (class/image.jpg, in tar shards
        too); the name of a CSV with the column `path` adds its other columns, `label` among them.
    dtype: how vectors are stored, "float32" (the default) or "float16", which takes half the room.
    processes, devices: work in several processes, on `devices` ("cuda:0", "cuda:1") in turn; one for each by default.
    decode: "cpu" keeps JPEG files from being decoded on a GPU, where "auto" does so for those for which it may pay.

    rules: what is left out of the source, and where links may lead; those of the collection where none are given.

    Images that cannot be read are listed in `Collection.failures` and the rest is embedded. So are folders that
    cannot be listed; what the collection holds of them stays. Ctrl-C and kill lose at most a shard of work a process;
    the same call goes on. `Collection.counts` says what this run did, `Collection.notes` what it passed over.

    Raises SourceError (nothing there, no images, none readable), OutputError (`out` holds other content, another
    collection's source, or is being written), EncoderMismatchError, LabelError, NoSpaceError, WorkerError, StoreError
    (a bucket that cannot be reached or written), and ArgumentError (an encoder of sounds, a value that cannot be used).
    Nothing is written before the checks have passed.
    """
    encoder.spec.check_takes_images("embed_folder")
    options = EmbedOptions(batch_size, workers, dtype, processes, tuple(devices), decode, on, address)
    wanted = Part.parse(part) if part else None
    return Listed.of(source, out, labels=labels, rules=rules, part=wanted, progress=progress).embed(encoder, options)


@dataclass(frozen=True)
class Listed:
    """A source, looked through and found fit to be embedded into `out`; the encoder is not needed until `embed`.

    out: the folder; of a collection in a bucket its copy, and `stored` is the collection there. notes: what was passed
    over, in sentences. new: nothing was embedded into `out` before. part: the record of the part that `listing` is of
    the source's, None for all of it. first: the first images of the source, for a part.
    """

    source: Source
    listing: Listing
    out: Path
    labels: Labels | None
    rules: Rules
    console: Console
    notes: tuple[str, ...]
    new: bool
    part: dict[str, Any] | None = None
    first: tuple[ListedImage, ...] = ()
    stored: StoredCollection | None = None

    @classmethod
    def of(
        cls,
        source: object,
        out: str | Path,
        *,
        labels: str | Path | None,
        rules: Rules | None,
        part: Part | None = None,
        progress: bool = True,
    ) -> Listed:
        """List the images of `source`, with arguments as those of `embed`, and print what was passed over.

        Raises what `embed` raises for the source, the labels and `out`.
        """
        asked, stored = read_labels_of(labels), StoredCollection.at(out)
        if stored is not None:
            stored.refresh(job=True)
        folder = expanded(out) if stored is None else stored.folder
        with stored.in_its_name() if stored else nullcontext():
            check_is_ours(folder, stored)
            before = recorded(folder)
        console = remarks(progress)
        with Report("Listing images", None, console=console):
            rules = Rules.from_record(before.get("rules")) if rules is None else rules
            skip = folder if stored is None else stored.url
            opened = open_source(source, skip=skip, rules=rules, kind=before.get("source_kind"))
            listing = opened.listing()
        paths = [image.path for image in listing.images]
        said = [asked.sentence(paths, opened.kind, opened.location)] if asked else []
        notes = (*listing.notes, *said)
        for note in notes:
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        record, first = (part.record(listing.images), tuple(listing.images[:FIRST])) if part else (None, ())
        listing = part.of(listing, SHARD) if part else listing
        listed = cls(opened, listing, folder, asked, rules, console, notes, not before, record, first)
        return replace(listed, stored=stored)

    def embed(self, encoder: ImageEncoder, options: EmbedOptions) -> Collection:
        """The collection at `out`, in step with the source."""
        encoder.spec.check_takes_images("embed_folder")
        if self.new and not self.console.quiet and (advised := advice(encoder.spec, self.source, self.listing)):
            self.console.print(advised, markup=False, highlight=False, soft_wrap=True)
        with writer_of(self.stored, claimed(self.out), job=True):
            collection = _Run(self, encoder, options).sync()
        collection.notes = self.notes
        return collection.kept_in(self.stored)


class _Run:
    """One call of `embed`, after its arguments were checked."""

    def __init__(self, listed: Listed, encoder: ImageEncoder, options: EmbedOptions) -> None:
        self.source, self.listing, self.out, self.encoder = listed.source, listed.listing, listed.out, encoder
        self.options, self.console, self.rules, self.part = options, listed.console, listed.rules, listed.part
        self.first = listed.first
        finish_commit(self.out)
        self.old = Collection.open(self.out).kept_in(listed.stored) if (self.out / MANIFEST).exists() else None
        self.labels = listed.labels or self._recorded_labels()
        self.pending = Pending(self.out, encoder.spec.dim)
        self._check_same_job()
        self.pending.dtype = self._dtype(options.dtype)

    def sync(self) -> Collection:
        """Do the job, in this process or in several."""
        started = time.monotonic()
        plan = Changes(self.old.items if self.old else None, self.listing.images, self.listing.unlisted)
        job = job_record(self.encoder.spec, self.source, self.rules, self.old, self.pending.dtype, self.part)
        # a resumed job keeps its old record, except for what is looked at anew
        job = self.pending.start(job) | {name: job[name] for name in FOUND_ANEW if name in job}
        first = self.first or tuple(plan.to_read[:FIRST])
        todo = self._not_done(plan)
        done = len(plan.to_read) - len(todo)
        if done:
            self.console.print(f"Going on after {done:,} images of a run that was stopped.")
        todo = self._not_moved(plan, todo)
        self._encode(todo, done, first)
        try:
            counts = finish(self.old, plan, self.pending, job, self.labels, self.listing)
        except SourceError:
            self.pending.discard()
            raise
        collection = Collection.open(self.out)
        sweep(collection)
        collection.counts = counts
        self.console.print(f"{counts.sentence()}, in {time.monotonic() - started:.0f} s")
        return collection

    def _check_same_job(self) -> None:
        """Refuse the work of another job; drop a job that was finished."""
        job = read_job(self.out)
        if job and self.old and job["generation"] <= self.old.manifest["generation"]:
            self.pending.discard()
            job = None
        recorded = filter(None, (self.old.manifest if self.old else None, job))
        known = known_contents(self.old, self.pending)
        check_same_job(self.out, recorded, self.encoder.spec, self.source, self.listing.images, self.part, known)

    def _recorded_labels(self) -> Labels | None:
        """The labels that an earlier run was given, as they are now."""
        recorded = self.old.manifest["labels"] if self.old else None
        try:
            labels = read_labels_of(recorded)
            if labels is not None and labels.table is not None:
                paths = [image.path for image in self.listing.images]
                labels.sentence(paths, self.source.kind, self.source.location)
            return labels
        except LabelError as error:
            raise LabelError(
                f"the labels of {self.out} came from {recorded}: put that file back as it was, or give other labels "
                f"({error})"
            ) from error

    def _dtype(self, asked: str | None) -> str:
        """The dtype of the collection or of the job that was stopped; of a new one, the one that was asked for."""
        job = read_job(self.out)
        recorded = self.old.dtype if self.old else job["dtype"] if job else None
        if recorded and asked and recorded != asked:
            raise OutputError(f"{self.out} stores its vectors as {recorded}, not {asked}; choose another output folder")
        return recorded or asked or DTYPES[0]

    def _not_done(self, plan: Changes) -> list[ListedImage]:
        """The images that no shard of an earlier run covers."""
        wanted = {image.path: image for image in plan.to_read}
        for shard in self.pending.shards(VERSION_COLUMNS):
            paths = shard["path"].to_pylist()
            for row in current_rows(shard, wanted):
                del wanted[paths[row]]
        return list(wanted.values())

    def _not_moved(self, plan: Changes, todo: list[ListedImage]) -> list[ListedImage]:
        """Those that are left when items have found the images that moved from their places."""
        candidates = plan.may_have_moved(todo)
        if not candidates:
            return todo
        with Report("Looking for moved images", len(candidates), console=self.console) as report:
            plan.find_moved(self.source, candidates, self.options.workers, report.advance)
        left = {image.path for image in plan.to_read}
        return [image for image in todo if image.path in left]

    def _encode(self, todo: Sequence[ListedImage], done: int, first: Sequence[ListedImage]) -> None:
        """Shard after shard until all is in `pending/`."""
        if not todo:
            return
        # of the whole job: one that goes on, or a part of it, takes the path on which it began
        images = self.part["images"] if self.part else done + len(todo)
        free = self.pending.free_numbers()
        chunks = (todo[start : start + SHARD] for start in range(0, len(todo), SHARD))
        shards = (Shard(number, chunk) for number, chunk in zip(free, chunks, strict=False))
        with Report("Embedding", done + len(todo), done=done, console=self.console) as report:
            try:
                job = Job(self.source, self.encoder, self.pending, self.options, images, first)
                embed_shards(job, shards, report.advance)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"stopped; {self.pending.count():,} images are done and kept in {self.out}. Run the same command "
                    "to go on"
                ) from None
