"""Which way an encoder takes for so many images: an engine where the job repays it, else torch's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cpchub.common.kept import Kept
from cpchub.encoders.fast.engine_embedder import MOST_LANES, OPENED, EngineEmbedder
from cpchub.encoders.fast.engines import Engine, Setting, engine_here
from cpchub.encoders.fast.fast_embedder import FastEmbedder, Pooled
from cpchub.encoders.fast.kept_network import is_of_its_files, kept_networks, key_of, state_of, write
from cpchub.encoders.fast.pixels import Pixels
from cpchub.encoders.protocols import Embedder, Vectors
from cpchub.errors import OutputError

_IN_USE: WeakKeyDictionary[Any, tuple[Any, EngineEmbedder]] = WeakKeyDictionary()  # encoder -> what it is for, and it
_LOCK = threading.Lock()


def embedder_for(encoder: Any, images: int) -> Embedder:
    """The encoder, made ready for so many images."""
    engine, lanes = _engine(encoder)
    if engine is None or not _repays(encoder, engine, images):
        return FastEmbedder(encoder, exact=encoder.exact)
    embedder, training = _by_engine(encoder, engine, lanes), encoder.model.training
    embedder.closed = lambda: encoder.model.train(training)  # it also keeps the encoder there
    return embedder


def engine_in_use(encoder: Any, images: int) -> EngineEmbedder | None:
    """The encoder by an engine, compared once in this process; None where it does not pay or does not fit.

    It is opened again when the network is another one: trained on, changed, or with other threads.
    """
    engine, lanes = _engine(encoder)
    if engine is None or not _repays(encoder, engine, images):
        return None
    squares = Pixels.of(encoder.transform, encoder.spec.input_size[0])
    if squares is None:
        return None
    is_for = (state_of(encoder.model), repr(encoder.model), squares.record(), lanes, torch.get_num_threads())
    with _LOCK:
        known = _IN_USE.get(encoder)
        if known is None or known[0] != is_for:
            known = _IN_USE[encoder] = (is_for, _by_engine(encoder, engine, lanes))
    return known[1]


def _by_engine(encoder: Any, engine: Engine, lanes: int) -> EngineEmbedder:
    """The encoder, which must outlive it, by an engine."""
    squares = Pixels.of(encoder.transform, encoder.spec.input_size[0])
    threads = max(1, torch.get_num_threads() // lanes)
    there = ref(encoder)  # else `_IN_USE` would keep its own keys alive
    return EngineEmbedder(
        encoder.spec,
        engine,
        Setting(encoder.spec.input_size, squares, lanes, threads),
        prepare=squares.prepare if squares is not None else encoder.prepare,
        plain=lambda: TorchNetwork(there()),
        at_hand=True,
    )


def _engine(encoder: Any) -> tuple[Engine | None, int]:
    """The engine for an encoder, None where it keeps to torch; and the lanes that it is called from."""
    lanes = min(torch.get_num_threads(), MOST_LANES)
    plain = encoder.exact or encoder.device.type != "cpu" or encoder.dtype != torch.float32
    if plain or any(module._forward_hooks or module._forward_pre_hooks for module in encoder.model.modules()):
        return None, lanes  # an engine would not call the hooks
    weights = sum(each.nbytes for each in encoder.model.parameters())
    convolves = any(
        isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1 and max(module.stride) == 1
        for module in encoder.model.modules()
    )
    return engine_here(lanes=lanes, weights=weights, convolves=convolves), lanes


def _repays(encoder: Any, engine: Engine, images: int) -> bool:
    """Whether the job is long enough for an engine: a short one takes only what is kept."""
    _, height, width = encoder.spec.input_size
    pixels = images * height * width
    if pixels >= engine.worth or pixels < OPENED:
        return pixels >= engine.worth
    try:
        cache: Kept = kept_networks()
    except OutputError:
        return False
    return cache.find(key_of(encoder.spec, engine)) is not None


class TorchNetwork:
    """The plain network of an encoder, for `EngineEmbedder`."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self.squares = Pixels.of(encoder.transform, encoder.spec.input_size[0])
        self._network = Pooled(encoder.model).eval()

    def vectors(self, prepared: Sequence[Any]) -> Vectors:
        with torch.inference_mode():
            found: Vectors = self._network(self._normalised(prepared)).float().numpy()
        return found

    def batch(self, prepared: Sequence[Any]) -> npt.NDArray[Any]:
        return np.stack([one.numpy() for one in prepared])

    def state(self) -> str:
        return state_of(self._network)

    def may_be_kept(self) -> bool:
        return is_of_its_files(self._encoder.model, self._encoder.spec)

    def write(self, folder: Path, engine: Engine) -> None:
        spec, squares = self._encoder.spec, self.squares
        if squares is None:
            engine.convert(self._network, torch.zeros(1, *spec.input_size), folder)
        else:
            write(folder, spec, engine, squares, self._network, self._normalised)

    def fast(self) -> Embedder:
        return FastEmbedder(self._encoder, exact=False)

    def _normalised(self, prepared: Any) -> torch.Tensor:
        """Normalised `[B, C, H, W]`."""
        if self.squares is None:
            return torch.stack(list(prepared))
        return self.squares.normalise(torch.from_numpy(np.stack(list(prepared))))
