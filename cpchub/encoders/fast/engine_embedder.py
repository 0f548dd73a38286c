"""An encoder made ready for many images by an engine, MNN or OpenVINO. Nothing here imports torch.

The network is converted once and kept. What is kept is not trusted, but compared. Where torch has the plain network in
memory, the vectors of the job's first images are compared with that. In a process without torch, the opened network in
float32 has to give the vectors that the plain one gave when it was converted; and where it is to compute in bfloat16,
its vectors of the job's first images are compared with those of the float32 one.
"""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from cpchub.catalog.spec import ModelSpec
from cpchub.common.vectors import unit_length
from cpchub.encoders.fast import processor
from cpchub.encoders.fast.engines import STEP, Engine, Run, Setting
from cpchub.encoders.fast.kept_network import TEST_IMAGES, KeptNetwork, agreement, kept_networks, key_of
from cpchub.encoders.protocols import Embedder, Vectors
from cpchub.errors import CpchubWarning, NoSpaceError, OutputError

COSINE = 0.999  # to the plain network in float32, the least that a fast path may have
SAME = 0.9999  # to the vectors that were recorded: the same network in the same precision
CHECKED = 8  # images that it is measured on
MOST_LANES = 32
OPENED = 800_000  # pixels in all images of a job, from which opening a kept network pays: 16 images of 224 x 224
UNCHOSEN = "not chosen yet"
FAILURES = (ImportError, OSError, RuntimeError, TypeError, ValueError)  # of an engine, and of a file that is damaged


class Plain(Protocol):
    """The network as torch has it."""

    def vectors(self, prepared: Sequence[Any]) -> Vectors:
        """The vectors `[B, D]` of some prepared images, in float32."""

    def batch(self, prepared: Sequence[Any]) -> npt.NDArray[Any]:
        """The images as an engine takes them."""

    def state(self) -> str:
        """The sha256 of the weights as they are now."""

    def may_be_kept(self) -> bool:
        """Whether the weights are those that the encoder's spec stands for."""

    def write(self, folder: Path, engine: Engine) -> None:
        """Convert the network into an empty folder, as an entry of the cache."""

    def fast(self) -> Embedder:
        """Torch's own fastest way."""


class EngineEmbedder:
    """`prepare` each image, then `encode` batches, from as many threads as `lanes`.

    prepare: what `encode` takes of one upright RGB image. plain: gives the plain network, when it is needed.
    at_hand: whether it is in memory. half: whether it may compute in bfloat16.
    """

    closed: Callable[[], object] | None = None  # called at the end

    def __init__(
        self,
        spec: ModelSpec,
        engine: Engine,
        setting: Setting,
        *,
        prepare: Callable[[Image.Image], Any],
        plain: Callable[[], Plain],
        at_hand: bool,
        half: bool = True,
    ) -> None:
        self._spec, self._engine, self._setting = spec, engine, setting
        self._plain, self._at_hand = plain, at_hand
        self.prepare, self.lanes = prepare, setting.lanes
        self._half = half and processor.cpu_has_bfloat16() and engine.name == "OpenVINO"
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._torch: Embedder | None = None
        self.path = UNCHOSEN

    def defer(self, data: bytes, size: int) -> None:
        """It has no decoder of its own."""

    def choose(self, first: Sequence[Any]) -> None:
        """Decide by some prepared images which way all are to take."""
        with self._lock:
            if self.path == UNCHOSEN:
                self._choose(first[:CHECKED])
        if self._run is None:
            self._by_torch().choose(first)

    def encode(self, prepared: Sequence[Any]) -> Vectors:
        """A batch of prepared images to float32 `[B, D]` of unit length."""
        found = self.features(prepared)
        if found is not None:
            return unit_length(found, axis=1)
        by_torch = self._by_torch()
        vectors = by_torch.encode(prepared)
        self.path = getattr(by_torch, "path", self.path)
        return vectors

    def features(self, prepared: Sequence[Any]) -> Vectors | None:
        """The same at the length that the network gives them; None where no engine has the network's vectors."""
        with self._lock:
            if self.path == UNCHOSEN:
                self._choose(prepared[:CHECKED])
        if self._run is None:
            return None
        parts = (prepared[start : start + STEP] for start in range(0, len(prepared), STEP))
        return np.concatenate([self._run(self._batch(part)) for part in parts])

    def close(self) -> None:
        """No more batches."""
        if self._torch is not None:
            self._torch.close()
        if self.closed is not None:
            self.closed()

    def _by_torch(self) -> Embedder:
        with self._lock:
            self._torch = self._torch or self._plain().fast()
        return self._torch

    def _batch(self, prepared: Sequence[Any]) -> npt.NDArray[Any]:
        return np.stack(prepared) if self._setting.squares is not None else self._plain().batch(prepared)

    def _choose(self, first: Sequence[Any]) -> None:
        self._run = None if self._at_hand else self._recorded(first)
        if self._run is None:
            self._run = self._compared(first, self._plain())
        self.path = "torch" if self._run is None else self._engine.name

    def _recorded(self, first: Sequence[Any]) -> Run | None:
        """The kept network, compared without torch; None where it does not give what it should."""
        try:
            folder = kept_networks().find(key_of(self._spec, self._engine))
            if folder is None:
                return None
            kept, images = KeptNetwork.read(folder), self._batch(first)
            exact = self._engine.opened(folder, self._setting)
            test, expected = np.split(exact(np.concatenate([kept.test_images(), images])), [TEST_IMAGES])
            if agreement(test, kept.vectors) < SAME:
                return None
            half = self._engine.opened(folder, replace(self._setting, bfloat16=True)) if self._half else exact
            return half if agreement(half(images), expected) >= COSINE else exact
        except (*FAILURES, OutputError):
            return None

    def _compared(self, first: Sequence[Any], plain: Plain) -> Run | None:
        """The network, kept or converted now, with the vectors of the plain one; None where it has others."""
        expected, images = plain.vectors(first), self._batch(first)
        try:
            for place in (self._from_cache, self._converted_for_this_job):
                with place(plain) as folder:
                    for bfloat16 in (True, False) if self._half and folder else (False,):
                        run = folder and self._engine.opened(folder, replace(self._setting, bfloat16=bfloat16))
                        if run and agreement(run(images), expected) >= COSINE:
                            return run
        except FAILURES as error:
            note = f"the {self._engine.name} path does not run this network ({error}); another is used"
            warnings.warn(note, CpchubWarning, stacklevel=2)
        return None

    @contextmanager
    def _from_cache(self, plain: Plain) -> Iterator[Path | None]:
        """The folder of the entry, which is made where there is none; None where the cache cannot have this network."""
        kept = None
        try:
            if self._setting.squares is not None:
                kept = self._whole_entry() or self._made_entry(plain)
        except (NoSpaceError, OutputError):  # a home that is missing, full or read-only keeps no job from its work
            pass
        yield kept.folder if kept is not None and kept.state == plain.state() else None

    def _whole_entry(self) -> KeptNetwork | None:
        """The entry; None where there is none. One that is damaged is dropped."""
        cache, key = kept_networks(), key_of(self._spec, self._engine)
        folder = cache.find(key)
        try:
            return None if folder is None else KeptNetwork.read(folder)
        except (ValueError, OSError):
            cache.drop(key)
            return None

    def _made_entry(self, plain: Plain) -> KeptNetwork | None:
        """A new entry; None where the weights are not those that the encoder's spec stands for."""
        if not plain.may_be_kept():
            return None
        key = key_of(self._spec, self._engine)
        return KeptNetwork.read(kept_networks().make(key, lambda folder: plain.write(folder, self._engine)))

    @contextmanager
    def _converted_for_this_job(self, plain: Plain) -> Iterator[Path]:
        """A folder with the network as it is in memory. An engine that has opened the files needs no names of them."""
        with tempfile.TemporaryDirectory(prefix="cpchub-") as scratch:
            plain.write(Path(scratch), self._engine)
            yield Path(scratch)
