"""The fastest way through a network that gives the same vectors, for many images.

This is torch's way; `engine_embedder` takes MNN or OpenVINO where they are installed (extra `cpu`) and the job repays
it. On a CPU: batch norms folded, channels last, one batch a core instead of one batch over all cores; bfloat16 where
the CPU computes with it. On a GPU: bfloat16, channels last, 8-bit pixels over a pinned buffer, JPEG files decoded
there. A path counts as safe where the vectors of real images are within a cosine of 0.999 of the plain network in
float32, on images that the CPU decoded, which is measured on the first of each job; if not, the plain one runs.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from cpchub.encoders.fast import processor
from cpchub.encoders.fast.engines import STEP
from cpchub.encoders.fast.folding import folded
from cpchub.encoders.fast.gpu_jpeg import GpuDecoder, Jpeg, decoder_for, jpeg_for_gpu
from cpchub.encoders.fast.pixels import Pixels
from cpchub.errors import CpchubWarning
from cpchub.media.decode import decode_bytes

COSINE = 0.999  # to the plain network in float32, the least that a fast path may have
CHECKED = 8  # images that it is measured on
MOST_LANES = 8

BatchFunction: TypeAlias = Callable[[Tensor], Tensor]  # `[B, C, H, W]` float32, normalised -> `[B, D]`


class FastEmbedder:
    """An encoder made ready for many images: `prepare` each, then `encode` batches, from as many threads as `lanes`.

    exact: keep to the plain network in its own precision.
    """

    def __init__(self, encoder: Any, *, exact: bool) -> None:
        self._encoder, self._exact = encoder, exact
        self._pixels = Pixels.of(encoder.transform, encoder.spec.input_size[0])
        self._device = encoder.device
        self._training = encoder.model.training  # batch statistics would make a vector depend on its neighbours
        self._plain = Pooled(encoder.model).eval()
        self._all_threads = threads = torch.get_num_threads()
        self.lanes = 1 if exact or self._device.type != "cpu" else min(threads, MOST_LANES)
        self._threads = max(1, threads // self.lanes)
        self._lock = threading.Lock()
        self._network: BatchFunction | None = None
        self.path = "not chosen yet"
        self._decoder = None if exact else decoder_for(self._device, self._pixels)
        self.gpu_decodes = False  # not before its first images are compared

    def defer(self, data: bytes, size: int) -> Jpeg | None:
        """A file that `encode` takes as it is, for the GPU to decode; None for one that is to be prepared.

        size: the short side that the encoder needs, in pixels.
        """
        return jpeg_for_gpu(data, size) if self._decoder else None

    def prepare(self, image: Image.Image) -> Any:
        """What `encode` takes of one upright RGB image: uint8 `[H, W, C]`, or the tensor of another transform."""
        return self._pixels.prepare(image) if self._pixels else self._encoder.prepare(image)

    def choose(self, first: Sequence[Any]) -> None:
        """Decide by some prepared images and deferred files which way all are to take."""
        with torch.inference_mode():
            self._chosen(first)

    def encode(self, prepared: Sequence[Any]) -> npt.NDArray[np.float32]:
        """A batch of prepared images and deferred files to float32 `[B, D]` of unit length."""
        step = len(prepared) if self._device.type != "cpu" else STEP
        with torch.inference_mode():
            if self.lanes > 1 and torch.get_num_threads() != self._threads:
                torch.set_num_threads(self._threads)  # of this thread, the lane
            parts = [self._encode_step(prepared[start : start + step]) for start in range(0, len(prepared), step)]
        return np.ascontiguousarray(np.concatenate(parts))

    def close(self) -> None:
        """Leave the network and the threads that are started from now on as they were."""
        torch.set_num_threads(self._all_threads)
        self._encoder.model.train(self._training)

    def _encode_step(self, prepared: Sequence[Any]) -> npt.NDArray[np.float32]:
        vectors = self._chosen(prepared)(self._batch(prepared)).float()
        return nn.functional.normalize(vectors).cpu().numpy()

    def _chosen(self, prepared: Sequence[Any]) -> BatchFunction:
        """The way through the network, chosen by these images if they are the first."""
        with self._lock:
            network = self._network = self._network or self._choose(self._batch(prepared[:CHECKED]))
            files = [one for one in prepared if isinstance(one, Jpeg)]
            if self._decoder and self._pixels and files and not self.gpu_decodes:
                self._try_decoder(self._decoder, files[:CHECKED], network, self._pixels)
        return network

    def _batch(self, prepared: Sequence[Any]) -> Tensor:
        """Normalised `[B, C, H, W]` on the device."""
        if self._pixels is None:
            return torch.stack(list(prepared)).to(self._device).contiguous(memory_format=torch.channels_last)
        by_gpu = self._by_gpu(prepared)
        rest = [one for position, one in enumerate(prepared) if position not in by_gpu]
        pixels = self._by_cpu(rest, self._pixels) if rest else torch.empty(0)
        if by_gpu:
            others = iter(pixels)
            pixels = torch.stack([by_gpu[n] if n in by_gpu else next(others) for n in range(len(prepared))])
        return self._pixels.normalise(pixels)

    def _by_cpu(self, prepared: Sequence[Any], pixels: Pixels) -> Tensor:
        """uint8 `[B, H, W, C]` on the device, of images and of files that the GPU does not decode."""
        images = [pixels.prepare(decode_bytes(one.data).image) if isinstance(one, Jpeg) else one for one in prepared]
        batch = torch.from_numpy(np.stack(images))
        if self._device.type == "cuda":
            return batch.pin_memory().to(self._device, non_blocking=True)
        return batch.to(self._device)

    def _by_gpu(self, prepared: Sequence[Any]) -> dict[int, Tensor]:
        """Position in the batch -> uint8 `[H, W, C]` on the device, of the files that the GPU does decode."""
        files = {position: one for position, one in enumerate(prepared) if isinstance(one, Jpeg)}
        if not (self._decoder and self.gpu_decodes and files):
            return {}
        images = zip(files, self._decoder(list(files.values())), strict=True)
        decoded = {position: image for position, image in images if image is not None}
        if 2 * len(decoded) < len(files):  # the rest is decoded one by one, while the network waits
            self._do_without_decoder("it decodes few of a batch's files as the CPU does")
        return decoded

    def _try_decoder(self, decoder: GpuDecoder, files: Sequence[Jpeg], network: BatchFunction, pixels: Pixels) -> None:
        """Let the GPU decode from now on if its first images have the vectors of the CPU's, or never."""
        decoded = [(file, image) for file, image in zip(files, decoder(files), strict=True) if image is not None]
        agreement = 0.0
        if decoded:
            by_cpu = self._batch([file for file, _ in decoded])
            by_gpu = pixels.normalise(torch.stack([image for _, image in decoded]))
            agreement = _agreement(network(by_gpu), self._plain(by_cpu.to(self._encoder.dtype)).float())
        self.gpu_decodes = agreement >= COSINE
        if not decoded:
            self._do_without_decoder("it decodes none of the first files as the CPU does")
        elif not self.gpu_decodes:
            self._do_without_decoder(f"vectors of its images have a cosine of {agreement:.4f} to the CPU's")

    def _do_without_decoder(self, reason: str) -> None:
        self._decoder, self.gpu_decodes = None, False
        warnings.warn(f"JPEG files are decoded on the CPU, not on the GPU: {reason}", CpchubWarning, stacklevel=2)

    def _choose(self, some: Tensor) -> BatchFunction:
        """The first of the fast paths that is safe on some images, the plain network if none is."""
        expected = self._plain(some.to(self._encoder.dtype)).float()
        for path, make in [] if self._exact else self._paths():
            try:
                network = make(some)
                agreement = _agreement(network(some), expected)
            except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
                note = f"the {path} path does not run this network ({error}); another is used"
                warnings.warn(note, CpchubWarning, stacklevel=2)
                continue
            if agreement >= COSINE:
                self.path = path
                return network
        self.path = "plain"
        return lambda x: self._plain(x.to(self._encoder.dtype))

    def _paths(self) -> list[tuple[str, Callable[[Tensor], BatchFunction]]]:
        if self._device.type == "cuda":
            return [("bfloat16", lambda x: _in_bfloat16(self._plain, x))] if _gpu_has_bfloat16(self._device) else []
        if self._device.type != "cpu":
            return []
        paths: list[tuple[str, Callable[[Tensor], BatchFunction]]] = []
        if processor.cpu_has_bfloat16():
            paths.append(("bfloat16", lambda x: _in_bfloat16(folded(self._plain, x), x)))
        return [*paths, ("folded", lambda x: folded(self._plain, x).to(memory_format=torch.channels_last))]


class Pooled(nn.Module):
    """A timm network up to its pooled features, whatever head it has."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, D]`."""
        if hasattr(self.model, "forward_head"):
            return cast(Tensor, self.model.forward_head(self.model.forward_features(x), pre_logits=True))
        return cast(Tensor, self.model(x))


def folded_network(model: Any) -> BatchFunction:
    """The pooled features of a network on a CPU with its batch norms folded away, from the first batch on."""
    found: list[nn.Module] = []

    def run(x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        if not found:
            found.append(folded(Pooled(model), x[:CHECKED]).to(memory_format=torch.channels_last))
        return cast(Tensor, found[0](x))

    return run


def _agreement(found: Tensor, expected: Tensor) -> float:
    """The least cosine between vectors `[B, D]` of the same images."""
    return float(nn.functional.cosine_similarity(found.float(), expected).min())


def _in_bfloat16(network: nn.Module, x: Tensor) -> BatchFunction:
    half = copy.deepcopy(network).to(torch.bfloat16).to(memory_format=torch.channels_last)
    return lambda x: half(x.to(torch.bfloat16))


def _gpu_has_bfloat16(device: torch.device) -> bool:
    """Whether the GPU multiplies in bfloat16; older ones emulate it, slower than float32."""
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)
