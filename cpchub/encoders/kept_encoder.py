"""An encoder that is ready in a process that has not imported torch.

Importing torch and timm and building the network takes seconds, which is most of what a job of some hundred images
would take. `load_for_images` is for the commands that turn images into vectors: an encoder whose converted network is
kept needs no torch. `load_later` is for the page and the API, which answer before they have an image to encode.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from PIL import Image

from cpchub.catalog.spec import ModelSpec
from cpchub.catalog.timm_names import timm_name
from cpchub.common.vectors import unit_length
from cpchub.encoders.fast import processor
from cpchub.encoders.fast.engine_embedder import MOST_LANES, OPENED, EngineEmbedder, Plain
from cpchub.encoders.fast.engines import Engine, Setting, installed_engines
from cpchub.encoders.fast.kept_network import KeptNetwork, kept_networks, key_of
from cpchub.encoders.fast.squares import Squares
from cpchub.encoders.protocols import Embedder, ImageEncoder, Vectors
from cpchub.errors import OutputError
from cpchub.hub.locate import locate
from cpchub.hub.places import parse
from cpchub.media.decode import read_image

if TYPE_CHECKING:
    from cpchub.encoders.encoder import Encoder


def load_for_images(name: str | Path) -> ImageEncoder:
    """The encoder of that name, for images alone: by its kept network if there is one, else by `cpchub.load`.

    Raises what `cpchub.load` raises.
    """
    kept = None if processor.has_gpu() else _kept(name)
    if kept is not None:
        return kept
    from cpchub.encoders.load import load

    return load(name)


def load_later(name: str | Path) -> ImageEncoder:
    """As `load_for_images`, but the network that is not kept is loaded with the first image, where that can be.

    Its files are found and checked now. Raises what `cpchub.load` raises.
    """
    if _only_load_knows(name):
        return load_for_images(name)
    return (None if processor.has_gpu() else _kept(name)) or LaterEncoder(locate(name), name)


def _only_load_knows(name: str | Path) -> bool:
    """True for names of timm, which alone can say what they mean, and of the Hub, which may have a newer commit."""
    return str(name).startswith("timm/") or timm_name(str(name)) is not None or parse(name)[1] is not None


def _kept(name: str | Path) -> KeptEncoder | None:
    """The encoder by its kept network; None where there is none."""
    if _only_load_knows(name):
        return None
    try:
        cache, engines = kept_networks(), installed_engines()
        if not engines or not cache.entries():
            return None
        spec = locate(name)
        for engine in engines:
            folder = cache.find(key_of(spec, engine))
            if folder is not None:
                return KeptEncoder(spec, engine, KeptNetwork.read(folder).squares, name)
    except (OSError, ValueError, OutputError):  # a damaged entry is made again by the job that needs it
        pass
    return None


class LaterEncoder:
    """An `ImageEncoder` that `cpchub.load(name)` gives when it is first needed; from any thread."""

    def __init__(self, spec: ModelSpec, name: str | Path) -> None:
        self.spec = spec
        self._name = name
        self._loading = Lock()
        self._loaded: Encoder | None = None

    def encode(self, images: Any, *, batch_size: int = 64, normalize: bool = False) -> Vectors:
        """Images to float32 `[N, D]`, as `Encoder.encode`."""
        return self._encoder().encode(images, batch_size=batch_size, normalize=normalize)

    def embedder(self, images: int) -> Embedder:
        """This encoder, made ready for so many images."""
        return self._encoder().embedder(images)

    def _encoder(self) -> Encoder:
        with self._loading:
            if self._loaded is None:
                from cpchub.encoders.load import load

                self._loaded = load(self._name)
            return self._loaded


class KeptEncoder(LaterEncoder):
    """An `ImageEncoder`. What its kept network does not do, `cpchub.load(name)` does."""

    def __init__(self, spec: ModelSpec, engine: Engine, squares: Squares, name: str | Path) -> None:
        super().__init__(spec, name)
        self._engine, self._squares = engine, squares
        self._for_few: EngineEmbedder | None = None

    def encode(self, images: Any, *, batch_size: int = 64, normalize: bool = False) -> Vectors:
        """Images to float32 `[N, D]`, as `Encoder.encode`; a list of PIL images needs no torch."""
        if isinstance(images, list) and images and all(isinstance(each, Image.Image) for each in images):
            embedder = self._for_few = self._for_few or self._engine_embedder(lanes=1, half=False)
            vectors = embedder.features([embedder.prepare(read_image(image)) for image in images])
            if vectors is not None:
                return unit_length(vectors, axis=1) if normalize else vectors
        return super().encode(images, batch_size=batch_size, normalize=normalize)

    def embedder(self, images: int) -> Embedder:
        """This encoder, made ready for so many images. For few, it computes in float32, as the plain network does.

        Also for one image: to open what is kept takes less time than to import torch.
        """
        _, height, width = self.spec.input_size
        if images * height * width < OPENED:
            return self._engine_embedder(lanes=1, half=False)
        return self._engine_embedder(lanes=min(processor.cores(), MOST_LANES), half=True)

    def _engine_embedder(self, *, lanes: int, half: bool) -> EngineEmbedder:
        setting = Setting(self.spec.input_size, self._squares, lanes, max(1, processor.cores() // lanes))
        prepare = self._squares.prepare
        return EngineEmbedder(
            self.spec, self._engine, setting, prepare=prepare, plain=self._plain, at_hand=False, half=half
        )

    def _plain(self) -> Plain:
        from cpchub.encoders.fast.choice import TorchNetwork

        return TorchNetwork(self._encoder())
