"""Commands that make a collection out of images: `embed` for the vectors, `index` for the vectors and their index."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from cpchub.catalog.listing import bundled_encoder
from cpchub.cli.base import ALL, Command, EncoderName, Out, Which, say
from cpchub.common.extras import need
from cpchub.common.words import bytes_of, counted
from cpchub.embedding.encoder_of import encoder_of, image_encoder_of
from cpchub.errors import ArgumentError

if TYPE_CHECKING:
    from cpchub.collection.collection import Collection
    from cpchub.embedding.job import Listed
    from cpchub.embedding.options import EmbedOptions
    from cpchub.encoders.protocols import ImageEncoder

SourceName = Annotated[Positional[str], arg(metavar="IMAGES")]


@dataclass(frozen=True)
class Embed(Command):
    """Turn images into vectors, in a collection; run again, it takes over what changed."""

    source: SourceName
    """folder of images, tar shards or Parquet files; a saved Hugging Face data set; .csv or .txt of paths and URLs;
    s3:// or gs:// (extra `scale`)"""
    out: Annotated[str, Out]
    """folder of the collection, or its place in a bucket: s3://bucket/folder, gs://..."""
    encoder: EncoderName = None
    """name, run folder, model folder or Hub id; by default the one the collection has, or the bundled one"""
    batch_size: int = 64
    """images a step of the network"""
    workers: int = 2
    """threads that read images, in each process"""
    labels: Annotated[str | None, arg(metavar="folders|CSV")] = None
    """the images' labels: a CSV with the columns path,label (further columns are kept too), or "folders" for that of
    the class folder (cat/001.jpg)"""
    dtype: Literal["float32", "float16"] | None = None
    """how vectors are stored; float16 takes half the room"""
    processes: int = 1
    """processes that share the work; with --on ray, on each node without a GPU"""
    devices: Annotated[tuple[str, ...], arg(metavar="DEVICE")] = ()
    """GPUs to use, for example cuda:0 cuda:1; a process for each"""
    decode: Literal["auto", "cpu"] = "auto"
    """cpu: JPEG files are never decoded on a GPU"""
    on: Literal["ray"] | None = None
    """ray: work on the nodes of a Ray cluster (extra `ray`)"""
    address: Annotated[str | None, arg(metavar="HOST:PORT|auto")] = None
    """the Ray cluster; without it, one is started on this machine"""
    part: Annotated[str | None, arg(metavar="I/N")] = None
    """embed one part of the images only, for example 3/8; `cpchub merge` joins the parts"""
    rules: Which = ALL

    resumes: ClassVar[bool] = True
    renamed: ClassVar[Mapping[str, str]] = {"--images": ""}

    def run(self) -> None:
        collection = self.embed(self.listed())
        out = shlex.quote(self.out)
        images = counted(len(collection), "image")
        if self.part:
            say(f"{images} in {self.out}, part {self.part}. When all are there: cpchub merge PART... -o COLLECTION")
            return
        say(f"{images} in {self.out}. Make them searchable: cpchub index {self.again()} -o {out}")

    def listed(self) -> Listed:
        """The source, looked through. What can be known without an encoder is checked here, before torch is loaded."""
        from cpchub.embedding.job import Listed
        from cpchub.embedding.part import Part
        from cpchub.hub.places import check_name

        if self.options().on == "ray":
            need("ray", extra="ray")
        part = Part.parse(self.part) if self.part else None
        if self.encoder is not None:
            check_name(self.encoder)
        rules = None if self.rules == ALL else self.rules
        return Listed.of(self.source, self.out, labels=self.labels, rules=rules, part=part)

    def options(self) -> EmbedOptions:
        from cpchub.embedding.options import EmbedOptions

        return EmbedOptions(
            self.batch_size,
            self.workers,
            self.dtype,
            self.processes,
            self.devices,
            self.decode,
            self.on,
            self.address,
        )

    def embed(self, listed: Listed) -> Collection:
        """The collection, in step with the source."""
        return listed.embed(self.encoder_to_use(listed.out), self.options())

    def encoder_to_use(self, folder: Path) -> ImageEncoder:
        """The one that is named, else the own one of the collection in `folder`, else the bundled one."""
        from cpchub.collection.collection import Collection
        from cpchub.collection.manifest import MANIFEST
        from cpchub.encoders.kept_encoder import load_for_images

        if self.encoder is None and (folder / MANIFEST).is_file():
            collection = Collection.open(folder)
            return encoder_of(collection) if self.devices else image_encoder_of(collection)
        name = self.encoder or bundled_encoder()
        if not self.devices:
            return load_for_images(name)
        from cpchub.encoders.load import load

        return load(name)

    def again(self) -> str:
        """The source as a shell takes it."""
        return shlex.quote(self.source)


@dataclass(frozen=True)
class IndexCommand(Embed):
    """Turn images into vectors and build their search index; run again, it takes over what changed."""

    kind: Literal["auto", "exact", "rabitq", "ivf-rabitq", "hnsw", "pq", "ivf-pq", "ivf-sq8"] | None = None
    """the index; by default the one it has, or what fits the number of images; ivf-sq8 is of Milvus"""
    recall: float | None = None
    """share of the ten nearest images that a search must find; 0.95 by default"""
    memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """what the compressed vectors may take, for example 2GB"""
    store: Annotated[str | None, arg(metavar="STORE")] = None
    """where the index is: faiss (a file in the collection), milvus:photos.db (Milvus Lite, in this process) or
    milvus:http://HOST:19530; by default where it is already. A server's token is in CPCHUB_MILVUS_TOKEN"""

    def run(self) -> None:
        if self.recall is not None and not 0 < self.recall <= 1:  # before hours of embedding, not after
            raise ArgumentError(f"--recall {self.recall:g}: a share above 0 and up to 1, for example 0.95")
        if self.part:
            raise ArgumentError(
                "a part has no index of its own: `cpchub embed --part`, then `cpchub merge` of all parts"
            )
        memory = None if self.memory is None else bytes_of(self.memory)
        if self.store is not None:
            from cpchub.index.place import parsed

            parsed(self.store)
        listed = self.listed()
        from rich.console import Console

        from cpchub.common.progress import Report
        from cpchub.index import Index
        from cpchub.index.ready import check_store

        check_store(self.out, self.store)
        collection = self.embed(listed)
        with Report("Building the index", None, console=Console(stderr=True)):
            index = Index.update(collection, kind=self.kind, recall=self.recall, memory=memory, store=self.store)
        say(index.setting.sentence())
        out = shlex.quote(self.out)
        say(
            f"{counted(len(collection), 'image')} in {self.out}, embedded by {encoder_in_words(collection)}. "
            f"Search them: cpchub search {out} IMAGE, or in the browser: cpchub demo {out}"
        )


def encoder_in_words(collection: Collection) -> str:
    """The encoder of a collection: its name, and its folder where it came from one."""
    folder = collection.manifest["encoder"].get("folder")
    return collection.encoder_name + (f" in {folder}" if folder else "")
