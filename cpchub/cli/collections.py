"""Commands over a collection of images: `info`, `demo`."""

from __future__ import annotations

from dataclasses import dataclass

from cpchub.cli.base import CollectionFolder, Command, EncoderName, Port, Switch, say
from cpchub.common.extras import need
from cpchub.embedding.encoder_of import encoder_of


@dataclass(frozen=True)
class Info(Command):
    """Tell what is in a collection: images, encoder, index, what could not be read and why, size on disk."""

    collection: CollectionFolder

    def run(self) -> None:
        from cpchub.cli import tables
        from cpchub.collection.collection import Collection
        from cpchub.index.info import info_of

        tables.info(info_of(Collection.open(self.collection)))


@dataclass(frozen=True)
class Demo(Command):
    """Search and label a collection in the browser, until Ctrl-C."""

    collection: CollectionFolder
    encoder: EncoderName = None
    """needed only if the collection's own encoder is not found by its name"""
    host: str = "127.0.0.1"
    """address to listen on; 0.0.0.0 lets other machines in"""
    port: Port = None
    open: Switch = False
    """open the browser as well"""

    def run(self) -> None:
        need("gradio", extra="demo")
        from cpchub.collection.collection import Collection
        from cpchub.hub.places import check_name
        from cpchub.index.engine.faiss_import import import_faiss
        from cpchub_serving.process.port import check_port

        if self.encoder is not None:
            check_name(self.encoder)
        collection = Collection.open(self.collection)  # all of this before Gradio is loaded
        import_faiss()
        check_port(self.host, self.port)
        from cpchub_serving.app import serve
        from cpchub_serving.process.stops import leave_process

        encoder = encoder_of(collection, self.encoder)
        ended = serve(self.collection, encoder=encoder, host=self.host, port=self.port, open_browser=self.open)
        say("stopped")
        if not ended:
            leave_process(0)
