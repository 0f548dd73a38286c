"""Another encoder, tried on a sample of the collection: embedded in the background, then compared on the same queries.

A trial is shared by all visitors and lives as long as the page. Nothing of it is written to the collection.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cpchub.common.words import counted
from cpchub.encoders.protocols import ImageEncoder
from cpchub.errors import BrokenImageError, QueryError, SourceError
from cpchub.index import Index
from cpchub.media.decode import read_image, resize_side
from cpchub_serving.visit.background import Job, Tell

SAMPLE = 500
BATCH = 25
KEPT = 4
NEAREST = 5  # neighbours that vote on the label of an image

Load = Callable[[str], ImageEncoder]


def _load(name: str) -> ImageEncoder:
    from cpchub.encoders.load import load  # here, because torch takes seconds to import

    return load(name)


def sample_rows(count: int) -> NDArray[np.int64]:
    """The rows of the sample, in order: at most SAMPLE of `count`, the same ones each time."""
    rows = np.random.default_rng(0).permutation(count)[:SAMPLE]
    rows.sort()
    return rows


@dataclass(frozen=True, eq=False)
class Embedded:
    """What an encoder makes of the sample: `vectors [len(rows), D]` at unit length of the rows that could be read."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


class Trial:
    """One encoder on the sample; `work` embeds it in the background, from now on."""

    def __init__(self, encoder: str, work: Callable[[Tell], Embedded]) -> None:
        self.encoder = encoder
        self.job = Job(work)
        self.job.start()

    @property
    def running(self) -> bool:
        return self.job.progress.state == "running"

    @property
    def embedded(self) -> Embedded | None:
        """The vectors; None until all are there, and where it failed."""
        return self.job.result

    def in_words(self) -> str:
        """How far it is."""
        if self.embedded is not None:
            return f"{self.encoder}: {counted(len(self.embedded.rows), 'image')} embedded"
        progress = self.job.progress
        if progress.state == "failed":
            return f"{self.encoder} cannot be tried: {progress.error}"
        return f"{self.encoder}: {progress.what}"


@dataclass(frozen=True, eq=False)
class SideBySide:
    """The neighbours of one image of the sample within the sample, best first, under two encoders: (row, cosine)."""

    today: list[tuple[int, float]]
    tried: list[tuple[int, float]]

    @property
    def shared(self) -> int:
        """How many images both find."""
        return len({row for row, _ in self.today} & {row for row, _ in self.tried})


class Trials:
    """The trials of one collection: one at a time, the last few kept."""

    def __init__(self, index: Index, load_encoder: Load = _load) -> None:
        self.index = index
        self.sample = sample_rows(len(index))
        self._load = load_encoder
        self._kept: OrderedDict[str, Trial] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, encoder: str) -> Trial | None:
        """The trial of an encoder, if there is one."""
        return self._kept.get(encoder)

    def start(self, encoder: str) -> Trial:
        """The trial of an encoder, begun unless there is one that has not failed.

        Raises QueryError while another encoder is being tried.
        """
        with self._lock:
            known = self._kept.get(encoder)
            if known is not None and (known.running or known.embedded is not None):
                return known
            busy = [trial.encoder for trial in self._kept.values() if trial.running]
            if busy:
                raise QueryError(f"{busy[0]} is being tried just now; wait until it is done.")
            trial = Trial(encoder, lambda tell: self._embed(encoder, tell))
            self._kept[encoder] = trial
            self._kept.move_to_end(encoder)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return trial

    def side_by_side(self, sample: Embedded, row: int, k: int) -> SideBySide:
        """The `k` nearest images of row `row` under both encoders. Raises QueryError for a row not embedded."""
        place = np.searchsorted(sample.rows, row)
        if place == len(sample.rows) or sample.rows[place] != row:
            raise QueryError(f"Image {row} is not in the sample; choose one of those that are shown.")
        both = (self._today(sample), sample.vectors)
        return SideBySide(*(_nearest(vectors, int(place), sample.rows, k) for vectors in both))

    def agreement(self, sample: Embedded) -> tuple[float, float] | None:
        """The shares of images whose 5 nearest vote for their own label: today's encoder, and the one that is tried.

        None where the collection has fewer than two labels.
        """
        if "label" not in self.index.items.column_names:
            return None
        every = self.index.items["label"].take(sample.rows).to_pylist()
        known = np.array([each is not None for each in every], dtype=bool)
        _, codes = np.unique([str(each) for each in every if each is not None], return_inverse=True)
        if known.sum() <= NEAREST or codes.max(initial=0) == 0:
            return None
        today, tried = (_votes(vectors[known], codes) for vectors in (self._today(sample), sample.vectors))
        return today, tried

    def _today(self, sample: Embedded) -> NDArray[np.float32]:
        return np.asarray(self.index.vectors[sample.rows], dtype=np.float32)

    def _embed(self, name: str, tell: Tell) -> Embedded:
        tell("Loading", 0.0)
        encoder = self._load(name)
        spec = encoder.spec
        spec.check_takes_images("a trial")
        size = resize_side(spec.input_size, spec.crop_pct)
        rows: list[int] = []
        vectors: list[NDArray[np.float32]] = []
        for first in range(0, len(self.sample), BATCH):
            total = len(self.sample)
            tell(f"{first:,} of {counted(total, 'image')} embedded", first / total)
            images = []
            for row in self.sample[first : first + BATCH].tolist():
                try:
                    images.append(read_image(self.index.collection.image(row), size=size))
                except (BrokenImageError, SourceError, OSError):
                    continue
                rows.append(row)
            if images:
                vectors.append(encoder.encode(images, normalize=True))
        if not rows:
            raise SourceError("none of the images of the sample can be read; are they still where they were?")
        return Embedded(np.array(rows), np.concatenate(vectors))


def _nearest(vectors: NDArray[np.float32], place: int, rows: NDArray[np.int64], k: int) -> list[tuple[int, float]]:
    scores = vectors @ vectors[place]
    order = np.argsort(-scores, kind="stable")
    return [(int(rows[each]), float(scores[each])) for each in order[: k + 1] if each != place][:k]


def _votes(vectors: NDArray[np.float32], codes: NDArray[np.intp]) -> float:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    nearest = codes[np.argsort(-scores, axis=1, kind="stable")[:, :NEAREST]]
    votes = (nearest[:, :, None] == np.arange(codes.max() + 1)).sum(axis=1)
    return float((votes.argmax(axis=1) == codes).mean())
