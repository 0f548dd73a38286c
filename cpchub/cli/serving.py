"""The commands `demo`, `serve` and `space`: the page with the HTTP API beside it, the API alone, a Space of both."""

from __future__ import annotations

import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from cpchub.cli.base import CollectionFolder, Command, EncoderName, Out, Port, Switch, say
from cpchub.common.extras import need
from cpchub.common.quick_import import without_collecting
from cpchub.common.words import counted
from cpchub.errors import ArgumentError, CpchubWarning

if TYPE_CHECKING:
    from cpchub.fewlabels.heads.head import Head
    from cpchub_serving.api.limits import Limits
    from cpchub_serving.process.keys import Keys

API = ("fastapi", "uvicorn", "multipart", "prometheus_client", "limits")


@dataclass(frozen=True)
class Answering(Command):
    """What the two commands share: who may ask, and how much."""

    head: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="HEAD")] = ()
    """a classifier that `cpchub classify --save` wrote, or org/name, for /v1/classify; may be given again"""
    host: str = "127.0.0.1"
    """address to listen on; 0.0.0.0 lets other machines in"""
    keys: Annotated[Path | None, arg(metavar="FILE")] = None
    """file with keys, one a line; also those in CPCHUB_API_KEYS. Without keys everybody who reaches it may ask"""
    origin: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="URL")] = ()
    """a web page whose scripts may call the API, for example https://photos.example.org; may be given again"""
    rate: Annotated[str, arg(metavar="N/PERIOD")] = ""
    """most requests to the API of one key, or without keys of one address: 600/minute"""
    max_images: Annotated[int, arg(metavar="N")] = 256
    """most images in a request to the API"""
    max_mb: Annotated[int, arg(metavar="MB")] = 32
    """most megabytes of a request to the API"""

    def checked(self, port: int | None) -> tuple[Keys, Limits]:
        """The keys and the bounds, before anything is loaded. Raises ArgumentError; warns of an open door."""
        if self.max_images < 1 or self.max_mb < 1:
            raise ArgumentError("--max-images and --max-mb are 1 or more")
        from cpchub_serving.api.keys import Door
        from cpchub_serving.api.limits import MB, Limits
        from cpchub_serving.process.keys import read_keys
        from cpchub_serving.process.port import HERE, check_port

        keys = read_keys(self.keys)
        Door(keys, self.rate)
        check_port(self.host, port)
        if not keys and self.host not in HERE:
            warnings.warn(
                f"everybody who reaches {self.host} may ask, no key is needed; give --keys FILE",
                CpchubWarning,
                stacklevel=2,
            )
        return keys, Limits(body=self.max_mb * MB, images=self.max_images, rate=self.rate)

    def loaded_heads(self) -> dict[str, Head]:
        """The classifiers by name. Raises ArgumentError where two have the same."""
        from cpchub.fewlabels.heads.head import load_classifier

        heads = {Path(name).name: load_classifier(name) for name in self.head}
        if len(heads) < len(self.head):
            raise ArgumentError("two classifiers have the same name; rename the folder of one")
        return heads


@dataclass(frozen=True)
class Demo(Answering):
    """Search and label collections in the browser, and answer programs as `serve` does, until Ctrl-C."""

    collections: Annotated[Positional[tuple[str, ...]], arg(metavar="COLLECTION [COLLECTION ...]")] = ()
    """folders that `cpchub index` wrote, or their places in a bucket (s3://...), where labels cannot be saved"""
    encoder: EncoderName = None
    """needed only if the collection's own encoder is not found by its name"""
    port: Port = None
    open: Switch = False
    """open the browser as well"""
    allow_download: Switch = False
    """let visitors have the image files of their results as a zip, not only small copies"""

    def run(self) -> None:
        need("gradio", *API, extra="demo")
        if not self.collections:
            raise ArgumentError("demo needs a collection, a folder that `cpchub index` wrote: cpchub demo COLLECTION")
        from cpchub.collection.collection import Collection
        from cpchub.hub.places import check_name
        from cpchub.index.ready import check_store

        if self.encoder is not None:
            check_name(self.encoder)
        for folder in self.collections:  # all of this before Gradio is loaded
            Collection.open(folder)
        for folder in self.collections:
            check_store(folder)
        keys, limits = self.checked(self.port)
        with without_collecting():
            from cpchub_serving.app import Access, serve
            from cpchub_serving.process.stops import leave_process

        serve(
            self.collections,
            encoder=self.encoder,
            heads=self.loaded_heads(),
            host=self.host,
            port=self.port,
            open_browser=self.open,
            access=Access(keys, limits, self.origin, self.allow_download),
        )
        say("stopped")
        leave_process(0)


@dataclass(frozen=True)
class Serve(Answering):
    """Answer programs over HTTP, until Ctrl-C: vectors of images, search in a collection, classes by saved classifiers.

    The paths are described at /docs.
    """

    collection: Annotated[Positional[str | None], arg(metavar="COLLECTION")] = None
    """folder that `cpchub index` wrote, or its place in a bucket (s3://...); without one, there is no search, and
    --encoder names the encoder"""
    encoder: EncoderName = None
    """the encoder; needed with a collection only where its own is not found by its name"""
    port: Annotated[int, arg(metavar="PORT")] = 8000
    """port to listen on; 0 takes any that is free"""

    def run(self) -> None:
        need(*API, extra="api")
        if self.collection is None and self.encoder is None:
            raise ArgumentError("serve needs a collection, or --encoder NAME for vectors alone")
        keys, limits = self.checked(self.port)
        from cpchub.embedding.encoder_of import later_encoder_of
        from cpchub.encoders.kept_encoder import load_later
        from cpchub.index import Index
        from cpchub_serving.api import app
        from cpchub_serving.api.keys import Door
        from cpchub_serving.api.service import Service
        from cpchub_serving.process import server
        from cpchub_serving.process.stops import leave_process

        heads = self.loaded_heads()
        index = None if self.collection is None else Index.open(self.collection)
        encoder = load_later(self.encoder or "") if index is None else later_encoder_of(index.collection, self.encoder)
        served = app.build(Service(encoder, index, heads, limits), Door(keys, self.rate), self.origin)
        what = encoder.spec.name if index is None else f"{counted(len(index), 'image')} by {encoder.spec.name}"
        with server.listen(self.host, self.port) as listening:
            url = server.address(listening, self.host)
            server.serve(served, listening, app.END, lambda: say(f"{what}: {url}/docs  (Ctrl-C stops)"))
        say("stopped")
        leave_process(0)


@dataclass(frozen=True)
class Space(Command):
    """Write a Hugging Face Space of a collection: a folder that is ready to be pushed, with page, API and small copies.

    The images themselves stay here.
    """

    collection: CollectionFolder
    out: Annotated[Path, Out]
    """the folder to write"""
    encoder: EncoderName = None
    """needed only if the collection's own encoder is not found by its name"""
    title: Annotated[str | None, arg(metavar="TEXT")] = None
    """what the Space is called; by default the name of the folder of images"""
    package: Annotated[str | None, arg(metavar="REQUIREMENT")] = None
    """what pip installs there; by default cpchub[cpu,demo] of this version"""

    def run(self) -> None:
        need("gradio", *API, extra="demo")
        from cpchub.collection.collection import Collection
        from cpchub.common.files import check_free
        from cpchub.embedding.encoder_of import later_encoder_of

        check_free(self.out)
        spec = later_encoder_of(Collection.open(self.collection), self.encoder).spec
        from cpchub_serving.space.write import write_space

        done = write_space(self.collection, self.out, spec, title=self.title, package=self.package)
        say(f"{done.folder}: {done.bytes / 1e6:,.1f} MB, with names, columns and small copies of the images")
        if done.unreadable:
            say(f"{counted(done.unreadable, 'image')} could not be read, and will be shown without a picture")
        say(f"Push it: hf upload YOU/NAME {shlex.quote(str(done.folder))} . --repo-type space")
