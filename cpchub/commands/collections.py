"""Commands over a collection of pictures: `classify`, `demo`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from cpchub.commands.base import (
    CollectionFolder,
    Command,
    EncoderName,
    Out,
    Port,
    Switch,
    encoder_of,
    need,
    say,
)
from cpchub.errors import OutputError


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
