"""Sound to vectors: the encoder that `cpchub.load` gives for a network that hears.

encoder = cpchub.load("./runs/cpc_audio_fsdd/export")
vectors = encoder.encode(["a.wav", "b.flac"])                     # float32 [2, D]
sequence = encoder.encode("a.wav", output="sequence")[0]          # float32 [steps, D], one c_t a step
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cpchub.catalog.spec import ModelSpec
from cpchub.encoders.encoder import Encoder
from cpchub.errors import ArgumentError
from cpchub.media.sounds import read_sound

SoundLike = str | Path | bytes | npt.NDArray[Any] | Tensor
Output = Literal["pooled", "sequence"]
Batch = tuple[list[int], npt.NDArray[np.float32]]

AT_ONCE = 1024  # sounds that are read before they are sorted by length and encoded


class AudioEncoder(Encoder):
    """A network for sound in eval mode that carries its `spec`; `sample_rate` is what it was trained on."""

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        nn.Module.__init__(self)  # an Encoder without the transform of pictures
        self.model: Any = model.eval()
        self.spec = spec
        if spec.sample_rate is None:
            raise ArgumentError(f"{spec.name} does not say how many samples a second it takes; export it again")
        self.sample_rate = spec.sample_rate

    def forward(self, x: Tensor) -> Tensor:
        """Waveforms of one length, `[B, samples]`, to `[B, D]`."""
        pooled: Tensor = self.model.forward_head(self.model.forward_features(x), pre_logits=True)
        return pooled

    def encode(  # type: ignore[override]  # sounds for pictures
        self,
        sounds: SoundLike | Iterable[SoundLike],
        *,
        sample_rate: int | None = None,
        batch_size: int = 64,
        normalize: bool = False,
        progress: bool = False,
        output: Output = "pooled",
    ) -> Any:
        """Sounds to float32 `[N, D]` in the order given, whatever their lengths; one sound gives `[1, D]`.

        sounds: one or many of path, encoded bytes, or a waveform (array or tensor `[samples]`, float in -1..1 or int16)
            whose samples a second are `sample_rate`, by default the encoder's own.
        output: "pooled", or "sequence" for a list of the c_t of each, float32 `[steps, D]`.
        normalize: scale each vector to length 1.

        A vector does not depend on what else is encoded: sounds of the same length share a batch, nothing is padded.
        Raises ArgumentError for a sound at another sample rate, or shorter than the receptive field; SourceError for a
        file that cannot be read.
        """
        if batch_size < 1:
            raise ArgumentError(f"batch_size is {batch_size}; it must be at least 1")
        if output not in ("pooled", "sequence"):
            raise ArgumentError(f"output is {output!r}; use 'pooled' or 'sequence'")
        several = _as_list(sounds)
        found: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * len(several)
        batches = self._waveform_batches(several, sample_rate, batch_size)
        if progress:
            batches = _with_progress(batches, len(several))
        parameter = next(self.model.parameters())
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                for rows, waveforms in batches:
                    x = torch.from_numpy(waveforms).to(parameter.device, parameter.dtype)
                    features = self.model.forward_features(x)
                    if output == "pooled":
                        vectors = self.model.forward_head(features, pre_logits=True)
                    else:
                        vectors = features.squeeze(2).transpose(1, 2)
                    for i, vector in zip(rows, vectors.float().cpu().numpy(), strict=True):
                        found[i] = _unit(vector) if normalize else vector
        finally:
            self.model.train(training)
        if output == "sequence":
            return found
        return np.stack(found) if found else np.zeros((0, self.dim), np.float32)

    def prepare(self, sound: SoundLike) -> Tensor:  # type: ignore[override]
        """One sound as a float32 tensor `[1, 1, samples]` on the CPU."""
        return torch.from_numpy(self._waveform(0, sound, None))[None, None]

    def _waveform_batches(
        self, sounds: Sequence[SoundLike], sample_rate: int | None, batch_size: int
    ) -> Iterator[Batch]:
        """Positions and waveforms `[B, samples]` of sounds of one length, with AT_ONCE sounds in memory at a time."""
        for start in range(0, len(sounds), AT_ONCE):
            by_length: dict[int, list[tuple[int, npt.NDArray[np.float32]]]] = {}
            for position in range(start, min(start + AT_ONCE, len(sounds))):
                waveform = self._waveform(position, sounds[position], sample_rate)
                by_length.setdefault(len(waveform), []).append((position, waveform))
            for alike in by_length.values():
                for first in range(0, len(alike), batch_size):
                    positions, waveforms = zip(*alike[first : first + batch_size], strict=True)
                    yield list(positions), np.stack(waveforms)

    def _waveform(self, position: int, sound: SoundLike, sample_rate: int | None) -> npt.NDArray[np.float32]:
        """One sound as float32 `[samples]`, at this encoder's rate and long enough for it."""
        name = f"{sound}" if isinstance(sound, (str, Path)) else f"sound {position}"
        if isinstance(sound, (str, Path, bytes)):
            waveform, rate = read_sound(sound)
        else:
            waveform, rate = _from_array(sound, name), sample_rate or self.sample_rate
        if rate != self.sample_rate:
            raise ArgumentError(
                f"{name} has {rate:,} samples a second, {self.spec.name} takes {self.sample_rate:,} "
                f"({rate / self.sample_rate:g} times as many); resample it first, for example with "
                f"scipy.signal.resample_poly(x, {self.sample_rate}, {rate})"
            )
        needed = int(self.model.receptive_field)
        if len(waveform) < needed:
            raise ArgumentError(
                f"{name} has {len(waveform)} samples ({len(waveform) / rate:.3f} s), fewer than the receptive field of "
                f"{needed} ({needed / rate:.3f} s); give longer sound, or pad it with {needed - len(waveform)} zeros"
            )
        return waveform


def _from_array(sound: npt.NDArray[Any] | Tensor, name: str) -> npt.NDArray[np.float32]:
    waveform = sound.detach().cpu().numpy() if isinstance(sound, Tensor) else np.asarray(sound)
    if waveform.ndim != 1:
        raise ArgumentError(f"{name} has shape {waveform.shape}; a waveform is [samples], one channel")
    if waveform.dtype == np.int16:
        return (waveform / 32768).astype(np.float32)
    if not np.issubdtype(waveform.dtype, np.floating):
        raise ArgumentError(f"{name} is of type {waveform.dtype}; give float in -1..1, or int16")
    if not np.isfinite(waveform).all():
        raise ArgumentError(f"{name} has values that are not finite")
    return waveform.astype(np.float32)


def _as_list(sounds: SoundLike | Iterable[SoundLike]) -> list[SoundLike]:
    """One or many as a list. An array or tensor `[N, samples]` is many."""
    if isinstance(sounds, (str, Path, bytes)):
        return [sounds]
    if isinstance(sounds, (np.ndarray, Tensor)):
        return list(sounds) if sounds.ndim == 2 else [sounds]
    if isinstance(sounds, Iterable):
        return list(sounds)
    raise ArgumentError(f"cannot encode {type(sounds).__name__}; give paths, bytes, arrays or tensors")


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)


def _with_progress(batches: Iterator[Batch], total: int) -> Iterator[Batch]:
    from rich.progress import Progress

    with Progress() as bar:
        task = bar.add_task("Encoding", total=total)
        for rows, waveforms in batches:
            yield rows, waveforms
            bar.advance(task, len(rows))
