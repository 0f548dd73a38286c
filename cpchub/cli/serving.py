"""The command `serve`: the HTTP API alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from cpchub.cli.base import Command, EncoderName, say
from cpchub.common.extras import need
from cpchub.common.words import counted
from cpchub.errors import ArgumentError, CpchubWarning

HERE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Serve(Command):
    """Answer programs over HTTP, until Ctrl-C: vectors of images, search in a collection, classes by saved classifiers.

    The paths are described at /docs.
    """

    collection: Annotated[Positional[Path | None], arg(metavar="COLLECTION")] = None
    """folder that `cpchub index` wrote; without one, there is no search, and --encoder names the encoder"""
    encoder: EncoderName = None
    """the encoder; needed with a collection only where its own is not found by its name"""
    head: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="HEAD")] = ()
    """a classifier that `cpchub classify --save` wrote, or org/name; may be given again"""
    host: str = "127.0.0.1"
    """address to listen on; 0.0.0.0 lets other machines in"""
    port: Annotated[int, arg(metavar="PORT")] = 8000
    """port to listen on; 0 takes any that is free"""
    keys: Annotated[Path | None, arg(metavar="FILE")] = None
    """file with API keys, one a line; also those in CPCHUB_API_KEYS. Without keys everybody who reaches it may ask"""
    origin: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="URL")] = ()
    """a web page whose scripts may call the API, for example https://photos.example.org; may be given again"""
    rate: Annotated[str, arg(metavar="N/PERIOD")] = ""
    """most requests of one key, or without keys of one address: 600/minute"""
    max_images: Annotated[int, arg(metavar="N")] = 256
    """most images in a request"""
    max_mb: Annotated[int, arg(metavar="MB")] = 32
    """most megabytes of a request"""

    def run(self) -> None:
        need("fastapi", "uvicorn", "multipart", "prometheus_client", "limits", extra="api")
        if self.collection is None and self.encoder is None:
            raise ArgumentError("serve needs a collection, or --encoder NAME for vectors alone")
        if self.max_images < 1 or self.max_mb < 1:
            raise ArgumentError("--max-images and --max-mb are 1 or more")
        from cpchub_serving.api.keys import Door, read_keys
        from cpchub_serving.api.limits import MB, Limits
        from cpchub_serving.process.port import check_port

        door = Door(read_keys(self.keys), self.rate)
        check_port(self.host, self.port)  # before anything is loaded
        if door.is_open and self.host not in HERE:
            warnings.warn(
                f"everybody who reaches {self.host}:{self.port} may use the API; give --keys FILE", CpchubWarning,
                stacklevel=2,
            )  # fmt: skip
        limits = Limits(body=self.max_mb * MB, images=self.max_images, rate=self.rate)
        from cpchub.embedding.encoder_of import encoder_of
        from cpchub.encoders.load import load
        from cpchub.fewlabels.heads.head import load_classifier
        from cpchub.index import Index
        from cpchub_serving.api import app, server
        from cpchub_serving.api.service import Service

        heads = {Path(name).name: load_classifier(name) for name in self.head}
        if len(heads) < len(self.head):
            raise ArgumentError("two classifiers have the same name; rename the folder of one")
        index = None if self.collection is None else Index.open(self.collection)
        encoder = load(self.encoder or "") if index is None else encoder_of(index.collection, self.encoder)
        served = app.build(Service(encoder, index, heads, limits), door, self.origin)
        what = encoder.spec.name if index is None else f"{counted(len(index), 'image')} by {encoder.spec.name}"
        server.serve(served, self.host, self.port, lambda url: say(f"{what}: {url}/docs  (Ctrl-C stops)"))
        say("stopped")
