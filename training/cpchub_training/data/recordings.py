"""Recordings for training: each step reads its windows from the sound files of a folder.

`load("fsdd")` is the Free Spoken Digit Dataset, `load("/folder")` any folder of recordings, such as LibriSpeech's
`train-clean-100`. Files stay on the disk; an epoch takes one random window of every recording.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cpchub.common.files import expanded
from cpchub.errors import SourceError
from cpchub.media.rules import NO_RULES, Rules
from cpchub.media.sounds import Recording, find_recordings, look_for_recordings, read_sound
from cpchub.media.sources import Listing
from cpchub_training.data.listing import report_listing
from cpchub_training.recipes.cpc_settings import AudioSettings
from cpchub_training.recipes.places import data_folder, fsdd_folder
from cpchub_training.views.on_device import to_device
from cpchub_training.views.part_of_batch import rand

if TYPE_CHECKING:
    from cpchub_training.data.batches import Batch
    from cpchub_training.recipes import Recipe

AHEAD = 3  # batches that are read while the network works
FSDD_TEST = 5  # the first five recordings of each speaker and digit are the test part (the data set's README)


@dataclass(frozen=True)
class Recordings:
    """The recordings of a folder that are at least as long as a window. A row is a recording; there are no labels."""

    name: str
    root: Path
    recordings: tuple[Recording, ...]
    window: int
    skipped: tuple[tuple[str, str], ...] = ()  # path and reason of those that are too short
    labels: Tensor | None = None

    @property
    def shards(self) -> None:
        """Each recording is a file."""

    def __len__(self) -> int:
        return len(self.recordings)

    def digest(self) -> str:
        """A short hash of names and lengths only, because reading thousands of sound files would take minutes."""
        listed = "\n".join(f"{r.path} {r.samples} {r.sample_rate}" for r in self.recordings)
        return hashlib.sha256(f"{self.window}\n{listed}".encode()).hexdigest()[:16]

    def take(self, rows: Tensor) -> Tensor:
        """The first window of each recording, `[N, 1, 1, window]` in -1 to 1."""
        return torch.from_numpy(np.stack([self._read(row, 0) for row in rows.tolist()]))[:, None, None]

    def views(
        self, batches: Iterable[Batch], recipe: Recipe, device: torch.device
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        """Each batch with a random window of each recording, `[N, 1, 1, window]` on `device`.

        The next batches are read while the network works on this one.
        """
        with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
            waiting: deque[tuple[Batch, Iterator[np.ndarray]]] = deque()
            for batch in batches:
                waiting.append((batch, pool.map(self._read, batch.rows.tolist(), self._starts(batch))))
                if len(waiting) > AHEAD:
                    yield _windows(*waiting.popleft(), device)
            while waiting:
                yield _windows(*waiting.popleft(), device)

    def _starts(self, batch: Batch) -> list[int]:
        """Where the window of each recording of a batch begins."""
        cpu = torch.device("cpu")
        places = rand(len(batch.rows), device=cpu, generator=batch.generator(cpu), dtype=torch.float64).tolist()
        room = [self.recordings[row].samples - self.window + 1 for row in batch.rows.tolist()]
        return [int(place * each) for place, each in zip(places, room, strict=True)]

    def _read(self, row: int, start: int) -> np.ndarray:
        path = self.root / self.recordings[row].path
        waveform, _ = read_sound(path, start=start, samples=self.window)
        if len(waveform) != self.window:
            raise SourceError(f"{path} has fewer samples than at the start of the run; put the file back")
        return waveform


def _windows(batch: Batch, read: Iterator[np.ndarray], device: torch.device) -> tuple[Batch, list[Tensor]]:
    return batch, [to_device(torch.from_numpy(np.stack(list(read)))[:, None, None], device)]


def load(name: str, settings: AudioSettings, rules: Rules = NO_RULES) -> Recordings:
    """The recordings called `name`: "fsdd" (in the folder `CPCHUB_DATA`, its training part), or a folder.

    `rules` leave something out of the folder; what was passed over is told.

    Raises `SourceError` for a folder without recordings, recordings at another sample rate, and where all of them are
    shorter than a window.
    """
    if name == "fsdd":
        root = fsdd_folder(data_folder())
        found = [r for r in find_recordings(root) if _index(r) >= FSDD_TEST]
    elif not name:
        raise SourceError("this recipe is for recordings of your own: name their folder with --recordings")
    else:
        root = expanded(name)
        found, passed_over = look_for_recordings(root, rules)
        report_listing(Listing([], failures=[*passed_over.failures()], notes=tuple(passed_over.notes(rules))))
    for recording in found:
        if recording.sample_rate != settings.sample_rate:
            raise SourceError(
                f"{root / recording.path} has {recording.sample_rate:,} samples a second, the recipe takes "
                f"{settings.sample_rate:,} ({recording.sample_rate / settings.sample_rate:g} times as many); resample "
                f"the recordings, or use --audio.sample-rate {recording.sample_rate}"
            )
    long = tuple(r for r in found if r.samples >= settings.window)
    if not long:
        longest = max(r.samples for r in found)
        raise SourceError(
            f"all {len(found)} recordings in {root} are shorter than a window of {settings.window} samples "
            f"({settings.window / settings.sample_rate:.2f} s), the longest has {longest} "
            f"({longest / settings.sample_rate:.2f} s); use a shorter --audio.window"
        )
    short = tuple(
        (r.path, f"{r.samples} samples, a window has {settings.window}") for r in found if r.samples < settings.window
    )
    return Recordings("fsdd" if name == "fsdd" else root.name, root, long, settings.window, short)


def fsdd_part(root: Path, *, test: bool) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Files, digits and speakers (both int64 `[N]`) of a part of the Free Spoken Digit Dataset below `root`."""
    folder = fsdd_folder(root)
    mine = [r for r in find_recordings(folder) if (_index(r) < FSDD_TEST) == test]
    named = [Path(r.path).stem.split("_") for r in mine]
    speakers = sorted({speaker for _, speaker, _ in named})
    digits = np.array([int(digit) for digit, _, _ in named])
    return [folder / r.path for r in mine], digits, np.array([speakers.index(speaker) for _, speaker, _ in named])


def _index(recording: Recording) -> int:
    """The last number in `{digit}_{speaker}_{index}.wav`."""
    try:
        return int(Path(recording.path).stem.split("_")[2])
    except (IndexError, ValueError):
        raise SourceError(
            f"{recording.path} is no file of the Free Spoken Digit Dataset: use a folder of its own"
        ) from None
