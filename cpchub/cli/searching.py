"""Commands that look into a collection: `search`, `duplicates`, `outliers`, `map`, `merge`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from tyro.conf import Positional, UseAppendAction, arg

from cpchub.catalog.listing import bundled_encoder
from cpchub.cli.base import ALL, CollectionFolder, Command, EncoderName, Out, Switch, Which, check_out, say, write_csv
from cpchub.cli.lines import line, read_column
from cpchub.cli.sheets import check_sheet, draw_groups, draw_hits
from cpchub.common.words import counted
from cpchub.embedding.encoder_of import image_encoder_of
from cpchub.errors import ArgumentError, QueryError
from cpchub.media.rules import NO_RULES, Rules

if TYPE_CHECKING:
    from cpchub.index import Index, Item

CollectionOrImages = Annotated[
    Positional[str],
    arg(
        metavar="COLLECTION|IMAGES",
        help="a collection that `cpchub index` wrote, or a folder of images, which is embedded first; of either also a "
        "place in a bucket",
    ),
]
Some = UseAppendAction[tuple[str, ...]]
WEIGHTED = "[WEIGHT:]IMAGE"


@dataclass(frozen=True)
class Search(Command):
    """Print the images of a collection that are nearest to an image, best first: score, path."""

    collection: CollectionFolder
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGE")]
    """the image to search with: a file, a path that a search has printed, or id:NUMBER; of several, their mean"""
    k: Annotated[int, arg(aliases=["-k"])] = 5
    """how many; all, where there are fewer"""
    plus: Annotated[Some, arg(metavar=WEIGHTED)] = ()
    """an image to add to the query, for example 0.5:sunset.jpg; may be given again"""
    minus: Annotated[Some, arg(metavar=WEIGHTED)] = ()
    """an image to take away from the query; may be given again"""
    where: Annotated[str | None, arg(metavar="CONDITION")] = None
    """only images for which it holds, for example "label == 'cat' and width >= 500\""""
    each: Switch = False
    """search with each image by itself; its name stands in the last column"""
    show: Annotated[Path | None, arg(metavar="PNG")] = None
    """write a contact sheet of the images to this PNG"""
    encoder: EncoderName = None
    """needed only if the collection's own encoder is not found by its name, and a file is searched with"""

    def run(self) -> None:
        from cpchub.collection.collection import Collection
        from cpchub.hub.places import check_name

        if not self.images:
            raise QueryError("nothing to search with: name an image, or id:NUMBER for one of the collection")
        check_sheet(self.show)
        if self.each and (self.plus or self.minus):
            raise QueryError("--each searches with each image by itself; --plus and --minus make one query of all")
        if self.encoder is not None:
            check_name(self.encoder)
        Collection.open(self.collection)  # before FAISS is loaded
        from cpchub.index import Index
        from cpchub.index.where import rows_where

        index = Index.open(self.collection)
        subjects = [subject_of(text, index) for text in self.images]
        plus, minus = [weighted(text, index) for text in self.plus], [weighted(text, index) for text in self.minus]
        files = [what for what in (*subjects, *(what for what, _ in (*plus, *minus))) if isinstance(what, Path)]
        if missing := [file for file in files if not file.exists()]:
            absent = f"there is no file {missing[0]}, and no image of that path in {self.collection}"
            raise QueryError(absent + in_words(missing[0]))
        allowed = len(index) if self.where is None else int(rows_where(index.items, self.where).sum())
        if not allowed:
            say(f"None of the {counted(len(index), 'image')} fits --where {self.where!r}; nothing is found")
            return
        if files:
            index.encoder = image_encoder_of(index.collection, self.encoder)
        k = min(self.k, len(index))
        if self.each:
            answers = index.search_each(subjects, k, where=self.where)
        else:
            answers = [index.search(subjects, k, plus=plus, minus=minus, where=self.where)]
        for name, hits in zip(self.images if self.each else ("",), answers, strict=True):
            for hit in hits:
                print(line(*filter(None, [f"{hit.score:.4f}", hit.path, hit.label, name])))
        if self.show is not None:
            asked = [[subject] for subject in subjects] if self.each else [subjects]
            draw_hits(index, asked, answers, self.show)
            say(f"Contact sheet: {self.show}")


@dataclass(frozen=True)
class DuplicatesCommand(Command):
    """List the images that are duplicates, exact and near, in groups; the first of each group is the one to keep."""

    images: CollectionOrImages
    threshold: float | None = None
    """cosine from which two images can be near-duplicates; without it, calibrated from the images"""
    unconfirmed: Switch = False
    """list what the encoder alone takes for near-duplicates: series, mirrored or turned copies, parts of an image"""
    out: Annotated[Path | None, Out] = None
    """CSV to write: group,path,kind,similarity,difference,width,height,size,keep; without it the table is printed"""
    show: Annotated[Path | None, arg(metavar="PNG")] = None
    """write a contact sheet of the groups to this PNG"""
    encoder: EncoderName = None
    """for a folder of images: what to embed them with, by default the bundled encoder"""
    rules: Which = ALL

    renamed: ClassVar[Mapping[str, str]] = {"--images": ""}

    def run(self) -> None:
        from cpchub.index.duplicates import find_duplicates
        from cpchub.index.near_threshold import cosine_text

        check_out(self.out)
        check_sheet(self.show)
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ArgumentError(f"--threshold {self.threshold:g}: a cosine above 0 and up to 1")
        with ExitStack() as stack:
            index = collection_or_images(self.images, self.encoder, stack, self.rules)
            found = find_duplicates(index, threshold=self.threshold, confirm=not self.unconfirmed)
            all_shown = self.show is None or draw_groups(index, found, self.show)
        say(f"Near-duplicates are images at a cosine of {cosine_text(found.threshold)} or more: {found.how}.")
        for note in found.notes:
            say(note)
        write_csv(found.table, self.out)
        images, groups = counted(found.table.num_rows, "image"), counted(found.groups, "group")
        say(f"{images} in {groups}" + (f": {self.out}" if self.out else ""))
        if self.show is not None and found.groups:
            say(f"Contact sheet: {self.show}" + ("" if all_shown else ", with the largest groups and a part of each"))


@dataclass(frozen=True)
class Outliers(Command):
    """List the images of a collection that are like no others, the most unusual first."""

    images: CollectionOrImages
    all: Switch = False
    """list every image, not only those that are far from usual"""
    out: Annotated[Path | None, Out] = None
    """CSV to write: path,label,similarity,outlier; without it the table is printed"""
    encoder: EncoderName = None
    """for a folder of images: what to embed them with, by default the bundled encoder"""
    rules: Which = ALL

    renamed: ClassVar[Mapping[str, str]] = {"--images": ""}

    def run(self) -> None:
        from cpchub.index.outliers import find_outliers

        check_out(self.out)
        with ExitStack() as stack:
            table = find_outliers(collection_or_images(self.images, self.encoder, stack, self.rules))
        unusual = sum(table["outlier"].to_pylist())
        write_csv(table if self.all else table.filter(table["outlier"]), self.out)
        say(outliers_found(unusual, table.num_rows, everything=self.all) + (f": {self.out}" if self.out else ""))


@dataclass(frozen=True)
class Map(Command):
    """Draw a collection as a map of its images: those that the encoder finds alike lie together."""

    collection: CollectionFolder
    out: Annotated[Path, Out] = Path("map.png")
    """map.png, each image framed in the colour of its label, or map.parquet with id, path, label, x, y"""
    method: Literal["auto", "pca", "tsne"] = "auto"
    """tsne keeps neighbours together, takes a minute or more, and is kept in the collection, where the page finds it;
    pca is instant; auto is tsne where openTSNE is installed"""

    def run(self) -> None:
        from cpchub.common.extras import install_command, is_installed
        from cpchub.index import Index
        from cpchub.index.map import draw_map

        check_out(self.out)
        method = self.method
        if method == "auto":
            method = "tsne" if is_installed("openTSNE") else "pca"
            if method == "pca":
                say(f"Drawn by PCA, since openTSNE is not installed; for a better map: {install_command('map')}")
        say(f"Map: {draw_map(Index.open(self.collection), self.out, method)}")


@dataclass(frozen=True)
class Merge(Command):
    """Make one collection of several that the same encoder embedded, and build its index; nothing is embedded again."""

    collections: Annotated[Positional[tuple[str, ...]], arg(metavar="COLLECTION")]
    """two or more folders that `cpchub index` wrote, or all parts of a job (`cpchub embed --part 1/8`)"""
    out: Annotated[str, Out]
    """folder of the new collection; like the others it may be a place in a bucket (s3://...)"""

    def run(self) -> None:
        from cpchub.collection.merge import merge
        from cpchub.index import Index
        from cpchub.index.engine.faiss_import import import_faiss

        import_faiss()  # raises where it is missing, before anything is written
        index = Index.build(merge(self.collections, self.out))
        say(index.setting.sentence())
        say(f"{counted(len(index), 'image')} of {len(self.collections)} collections: {self.out}")


def outliers_found(unusual: int, images: int, *, everything: bool) -> str:
    """How many images are far from usual; that none is, where none is."""
    if unusual:
        return f"{unusual:,} of {counted(images, 'image')} {'is an outlier' if unusual == 1 else 'are outliers'}"
    listed = "listed are all of them" if everything else "--all lists all of them"
    return f"None of {counted(images, 'image')} is far from usual; {listed}, the most unusual first"


def in_words(query: Path) -> str:
    """What to say of a query that is no file but looks like words; empty where it looks like a file."""
    if query.suffix or len(query.parts) > 1:
        return ""
    return ". Words cannot be searched with, since encoders know images only: give an image of what you look for"


def subject_of(text: str, index: Index) -> Path | Item:
    """What a word of the command line asks for: a file, else id:NUMBER, else a path as the collection has it."""
    import pyarrow.compute as pc

    from cpchub.index import Item

    if Path(text).exists():
        return Path(text)
    kind, _, number = text.partition(":")
    if kind == "id" and number.isdecimal():
        return Item(int(number))
    for path in (text, read_column(text)):
        row = pc.index(index.items["path"], path).as_py()
        if row >= 0:
            return Item(index.items["id"][row].as_py())
    return Path(text)


def weighted(text: str, index: Index) -> tuple[Path | Item, float]:
    """The same with a weight before it: 0.5:sunset.jpg."""
    weight, _, rest = text.partition(":")
    try:
        number = float(weight)
    except ValueError:
        return subject_of(text, index), 1.0
    if not rest or Path(text).exists():
        return subject_of(text, index), 1.0
    return subject_of(rest, index), number


def collection_or_images(
    folder: str | Path, encoder_name: str | None, stack: ExitStack, rules: Rules = NO_RULES
) -> Index:
    """The index of a collection; images are embedded into a temporary one, which the stack removes.

    `rules` leave some of the images out.
    """
    from cpchub.collection.manifest import MANIFEST
    from cpchub.collection.stored.copy import StoredCollection
    from cpchub.embedding.job import Listed
    from cpchub.embedding.options import EmbedOptions
    from cpchub.hub.places import check_name
    from cpchub.index import Index
    from cpchub.index.engine.faiss_import import import_faiss

    stored = StoredCollection.at(folder)
    if stored is not None:
        stored.refresh()
    if ((Path(folder) if stored is None else stored.folder) / MANIFEST).is_file():
        return Index.open(folder)
    if encoder_name is not None:
        check_name(encoder_name)
    temporary = Path(stack.enter_context(TemporaryDirectory(prefix="cpchub-")))
    listed = Listed.of(folder, temporary / "collection", labels=None, rules=rules)
    import_faiss()  # raises where it is missing, before anything is embedded
    from cpchub.encoders.load import load

    return Index.build(listed.embed(load(encoder_name or bundled_encoder()), EmbedOptions()))
