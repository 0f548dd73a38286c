"""Turn sounds into vectors: `cpchub.load` gives this encoder for a network that was trained on sound.

encoder = cpchub.load("./runs/cpc_audio_fsdd/export")
vectors = encoder.encode(["a.wav", "b.flac"])                     # float32 [2, D]
sequence = encoder.encode("a.wav", output="sequence")[0]          # float32 [steps, D], one c_t a step
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cpchub.catalog.spec import ModelSpec
from cpchub.common.vectors import unit_length
from cpchub.encoders.base import BaseEncoder, as_list, check_options, with_progress
from cpchub.errors import ArgumentError
from cpchub.media.sounds import read_sound

SoundLike = str | Path | bytes | npt.NDArray[Any] | Tensor
Output = Literal["pooled", "sequence"]
ONE = (str, Path, bytes)
Batch = tuple[list[int], npt.NDArray[np.float32]]

AT_ONCE = 1024  # sounds that are read before they are sorted by length and encoded


class AudioEncoder(BaseEncoder):
    """An encoder of sounds. `sample_rate` is the one that it was trained on, in samples a second."""

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        super().__init__(model, spec)
        if spec.sample_rate is None:
            raise ArgumentError(f"{spec.name} does not say how many samples a second it takes; export it again")
        self.sample_rate = spec.sample_rate

    def forward(self, x: Tensor) -> Tensor:
        """Waveforms of one length, `[B, samples]`, to `[B, D]`."""
        pooled: Tensor = self.model.forward_head(self.model.forward_features(x), pre_logits=True)
        return pooled

    def encode(
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
        output: "pooled", or "sequence" for a list with the contexts c_t of each sound, float32 `[steps, D]`.
        normalize: scale each vector to length 1.

        A vector does not depend on what else is encoded: sounds of the same length share a batch, nothing is padded.
        Raises ArgumentError for a sound at another sample rate, or shorter than the receptive field; SourceError for a
        file that cannot be read.
        """
        check_options(batch_size, output, get_args(Output))
        # An array or tensor [N, samples] is many sounds.
        several = as_list(sounds, one=ONE, axes_of_many=2, give="paths, bytes, arrays or tensors")
        found: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * len(several)
        batches = self._waveform_batches(several, sample_rate, batch_size)
        if progress:
            batches = with_progress(batches, len(several), lambda batch: len(batch[0]), "sound")
        with self._inference():
            for rows, waveforms in batches:
                features = self.model.forward_features(torch.from_numpy(waveforms).to(self.device, self.dtype))
                if output == "pooled":
                    vectors = self.model.forward_head(features, pre_logits=True)
                else:
                    vectors = features.squeeze(2).transpose(1, 2)
                for i, vector in zip(rows, vectors.float().cpu().numpy(), strict=True):
                    found[i] = unit_length(vector) if normalize else vector
        if output == "sequence":
            return found
        return np.stack(found) if found else np.zeros((0, self.dim), np.float32)

    def prepare(self, sound: SoundLike) -> Tensor:
        """One sound as a float32 tensor `[1, 1, samples]` on the CPU."""
        return torch.from_numpy(self._waveform(0, sound, None))[None, None]

    def _waveform_batches(
        self, sounds: Sequence[SoundLike], sample_rate: int | None, batch_size: int
    ) -> Iterator[Batch]:
        """Positions and waveforms `[B, samples]` of sounds of one length; AT_ONCE sounds are in memory at a time."""
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
