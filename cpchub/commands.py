"""The commands: a typed dataclass each, whose fields are its flags and whose `run` hands them to the library.

What a job found goes to stdout, what it says on the way to stderr. Libraries are imported by the command that needs
them, so that help and the light commands are instant.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from cpchub.errors import DependencyError, EncoderMismatchError, OutputError, UnknownModelError

if TYPE_CHECKING:
    from cpchub.collection import Collection
    from cpchub.encoder import Encoder
    from training.recipes import Recipe

Folder = Annotated[Positional[Path], arg(metavar="FOLDER")]
CollectionFolder = Annotated[Positional[Path], arg(metavar="COLLECTION", help="folder that `cpchub index` wrote")]
Out = arg(aliases=["-o"], metavar="PATH")
Switch = Annotated[bool, FlagCreatePairsOff]
Port = Annotated[int | None, arg(metavar="PORT", help="port of the page; without it, the first free one from 7860 on")]
EncoderName = Annotated[str | None, arg(metavar="NAME")]


@dataclass(frozen=True)
class Command:
    """Base of the commands."""

    resumes: ClassVar[bool] = False  # whether the same command goes on after Ctrl-C

    @classmethod
    def parse(cls, args: Sequence[str]) -> Command:
        """The command with its flags taken from `args`; ends by SystemExit 2 where they do not fit."""
        config = (tyro.conf.HelptextFromCommentsOff,)
        return tyro.cli(cls, prog=f"cpchub {cls.__name__.lower()}", args=args, config=config)

    def run(self) -> None:
        """Do the job; raises CpchubError for bad input."""
        raise AssertionError(f"{type(self).__name__} lacks its run()")


@dataclass(frozen=True)
class Quickstart(Command):
    """The whole way on one collection: pretrain, export, embed, search, classify from few labels, open the demo."""

    images: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """folder of pictures; without it, scikit-learn's handwritten digits"""
    out: Path | None = None
    """folder for everything that is made; runs/quickstart, or runs/quickstart-NAME for a folder of that name"""
    serve: bool = True
    """open the demo at the end"""
    port: Port = None

    resumes: ClassVar[bool] = True

    def run(self) -> None:
        need("lightning_fabric", extra="train")
        if self.serve:
            need("gradio", extra="demo")
        from training import quickstart

        images = self.images.expanduser() if self.images else None
        name = f"quickstart-{images.resolve().name}" if images else "quickstart"
        out = self.out or Path("runs", name)
        collection = quickstart.run(images, out)
        if self.serve:
            Demo(collection, encoder=str(out / "run" / "export"), port=self.port).run()


@dataclass(frozen=True)
class Train(Command):
    """Pretrain an encoder by a recipe: `cpchub train RECIPE --help` lists its fields, `--field value` changes one."""

    list: Switch = False
    """print the names of the recipes"""

    resumes: ClassVar[bool] = True

    @classmethod
    def parse(cls, args: Sequence[str]) -> Command:
        if args and not args[0].startswith("-"):
            return TrainRecipe.parse(args)
        return tyro.cli(cls, prog="cpchub train", args=args or ["--help"])

    def run(self) -> None:
        from training import recipes

        print("\n".join(recipes.names()))


@dataclass(frozen=True)
class TrainRecipe(Command):
    """`cpchub train RECIPE ...`: every field of the recipe is a flag, with the recipe's own value as its default."""

    recipe: Recipe
    out: Path

    @classmethod
    def parse(cls, args: Sequence[str]) -> Command:
        need("lightning_fabric", extra="train")
        from training import recipes

        recipe = recipes.get(args[0])
        run_folder = arg(aliases=["-o"], help="run folder; a run that was stopped goes on from its checkpoint")
        flags = make_dataclass(
            "flags",
            [
                ("recipe", Annotated[recipes.Recipe, arg(name="")], recipe),
                ("out", Annotated[Path, run_folder], Path("runs", recipe.name)),
            ],
        )
        given: Any = tyro.cli(flags, prog=f"cpchub train {args[0]}", description="", args=args[1:])
        return cls(given.recipe, given.out)

    def run(self) -> None:
        from training import finish

        exported = finish.run(self.recipe, self.out)
        say(f"Trained {self.recipe.name}. Publish or load it from {exported}")


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


@dataclass(frozen=True)
class Models(Command):
    """List the encoders of the catalog."""

    pattern: Annotated[Positional[str], arg(metavar="PATTERN")] = "*"
    """wildcard, for example "*moco*" (in quotes)"""

    def run(self) -> None:
        from cpchub import report
        from cpchub.catalog import get_spec, list_models

        report.models([get_spec(name) for name in list_models(self.pattern)], self.pattern)


@dataclass(frozen=True)
class Show(Command):
    """Show the card of an encoder."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """catalog name, model folder or Hub id"""

    def run(self) -> None:
        from cpchub import report
        from cpchub.hub import locate

        report.card(locate(self.name, weights=False))


@dataclass(frozen=True)
class Publish(Command):
    """Publish a model folder to the Hub (log in with `hf auth login` first), or into a folder that serves as one."""

    folder: Folder
    """model folder, for example runs/RECIPE/export"""
    repo_id: Annotated[Positional[str], arg(metavar="REPO_ID")]
    """org/name, or folder:/path"""
    private: Switch = False
    """create the repository as a private one"""

    def run(self) -> None:
        from cpchub.release import publish

        release = publish(self.folder, self.repo_id, private=self.private)
        print(f"{release.repo_id}@{release.revision}")
        say(f'Load it: cpchub.load("{release.repo_id}")')


COMMANDS: dict[str, type[Command]] = {
    command.__name__.lower(): command
    for command in (Quickstart, Train, Index, Search, Classify, Demo, Models, Show, Publish)
}


def say(sentence: str) -> None:
    """A sentence on the way, kept out of what is piped on."""
    print(sentence, file=sys.stderr)


def bundled_encoder() -> str:
    """The encoder used where none is named: the first whose weights ship with the package."""
    from cpchub.catalog import list_models

    names = list_models(bundled=True)
    if not names:
        raise UnknownModelError("No encoder ships with this installation; name one with --encoder (a folder, a Hub id)")
    return names[0]


def encoder_of(collection: Collection, name: str | None = None) -> Encoder:
    """The encoder that embedded a collection, loaded by `name` if one is given, else as the manifest has it."""
    from cpchub.encoder import load

    try:
        encoder = load(name or collection.encoder_to_load)
        collection.check_encoder(encoder.spec)
    except (UnknownModelError, EncoderMismatchError) as error:
        if name is not None:
            raise
        raise type(error)(f"{error} Name the encoder's folder or Hub id with --encoder.") from error
    return encoder


def need(module: str, *, extra: str) -> None:
    """Raise DependencyError, with the command to run, unless `module` is installed."""
    if find_spec(module) is None:
        raise DependencyError(f'{module} is not installed; run: pip install "cpchub[{extra}]"')
