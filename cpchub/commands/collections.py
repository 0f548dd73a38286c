"""Commands over a collection of pictures: `index`, `search`, `classify`, `demo`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from cpchub.commands.base import (
    CollectionFolder,
    Command,
    EncoderName,
    Folder,
    Out,
    Port,
    Switch,
    bundled_encoder,
    encoder_of,
    need,
    say,
)
from cpchub.errors import OutputError


@dataclass(frozen=True)
class Index(Command):
    """Embed a folder of pictures and build its search index; run again, it takes over what changed."""

    folder: Folder
    """pictures, also in the folders below"""
    out: Annotated[Path, Out]
    """folder of the collection"""
    encoder: EncoderName = None
    """name, model folder or Hub id; by default the one the collection has, or the bundled one"""
    batch_size: int = 64
    """pictures a step of the network"""
    workers: int = 2
    """threads that read pictures"""
    labels: Literal["folders"] | None = None
    """"folders" takes each picture's label from the first folder of its path"""

    resumes: ClassVar[bool] = True

    def run(self) -> None:
        from cpchub.collection import MANIFEST, Collection
        from cpchub.embed import embed
        from cpchub.encoder import load
        from cpchub.index import Index

        if self.encoder is None and (self.out / MANIFEST).is_file():
            encoder = encoder_of(Collection.open(self.out))
        else:
            encoder = load(self.encoder or bundled_encoder())
        collection = embed(
            self.folder,
            self.out,
            encoder,
            batch_size=self.batch_size,
            workers=self.workers,
            labels=self.labels,
        )
        Index.build(collection)
        say(
            f"{len(collection)} pictures in {self.out}. Search them: cpchub search {shlex.quote(str(self.out))} PICTURE"
        )


@dataclass(frozen=True)
class Search(Command):
    """Print the pictures of a collection that are nearest to one picture, best first: score, path."""

    collection: CollectionFolder
    picture: Annotated[Positional[Path], arg(metavar="PICTURE")]
    """the picture to search with"""
    k: Annotated[int, arg(aliases=["-k"])] = 5
    """how many"""
    show: Annotated[Path | None, arg(metavar="PNG")] = None
    """write a contact sheet of the pictures to this PNG"""
    encoder: EncoderName = None
    """needed only if the collection's own encoder is not found by its name"""

    def run(self) -> None:
        from cpchub.collection import Collection
        from cpchub.index import Index

        encoder = encoder_of(Collection.open(self.collection), self.encoder)
        index = Index.open(self.collection, encoder)
        hits = index.search(self.picture, k=self.k)
        for hit in hits:
            print(f"{hit.score:.4f}\t{hit.path}" + (f"\t{hit.label}" if hit.label else ""))
        if self.show is not None:
            from cpchub.contact_sheet import Tile, contact_sheet

            found = [Tile(index.collection.path_of(hit.row), f"{hit.score:.3f}") for hit in hits]
            contact_sheet([[Tile(self.picture, "query", highlighted=True), *found]], self.show)
            say(f"Contact sheet: {self.show}")


@dataclass(frozen=True)
class Classify(Command):
    """Classify the pictures of a collection from a few labels."""

    collection: CollectionFolder
    labels: Annotated[Path, arg(metavar="CSV")]
    """CSV with the columns path,label; paths as in the collection"""
    out: Annotated[Path | None, Out] = None
    """CSV to write, columns path,predicted,confidence,label; without it they are printed"""
    method: Literal["logistic", "means", "knn"] = "logistic"
    """the classifier"""

    def run(self) -> None:
        from pyarrow import csv

        from cpchub.collection import Collection
        from cpchub.fewlabels.classify import classify, read_labels
        from cpchub.files import replacing

        if self.out is not None and self.out.resolve() == self.labels.resolve():
            raise OutputError(f"{self.out} is the file of the labels; give --out another name")
        table = classify(Collection.open(self.collection), read_labels(self.labels), method=self.method)
        if self.out is None:
            csv.write_csv(table, sys.stdout.buffer)
            return
        with replacing(self.out) as partial:
            csv.write_csv(table, partial)
        say(f"{table.num_rows} predictions: {self.out}")


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
        from cpchub.collection import Collection
        from serving.app import serve

        encoder = encoder_of(Collection.open(self.collection), self.encoder)
        serve(self.collection, encoder=encoder, host=self.host, port=self.port, open_browser=self.open)
