"""Write the folder of a Space: a collection with small copies of its images, and the files that Hugging Face reads."""

from __future__ import annotations

import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cpchub
from cpchub.catalog.spec import ModelSpec
from cpchub.collection.collection import Collection
from cpchub.collection.manifest import MANIFEST, VECTORS, read_manifest
from cpchub.common.files import check_free, expanded, put_in_place, write_json, writing
from cpchub.common.progress import Report
from cpchub.common.words import counted
from cpchub.index import Index
from cpchub_serving.visit.thumbnails import Thumbnails

KEPT = (MANIFEST, "*.parquet", "*.faiss", "*.npy", "vectors/*.parquet")  # of a collection; not labels, not work begun
LARGE = ("*.parquet", "*.faiss", "*.npy", "*.safetensors", "*.webp")  # files that git keeps by LFS
THREADS = 4

README = """---
title: {title}
emoji: 🔎
colorFrom: green
colorTo: gray
sdk: gradio
sdk_version: {gradio}
python_version: "3.12"
app_file: app.py
pinned: false
---

# {heading}

{count}, embedded by {encoder}: search, label, and see the rest classified. Programs ask the same address:
`/v1/search` and others, described at `/docs`. Made with [cpchub](https://pypi.org/project/cpchub/) {cpchub}.

The Space holds the vectors, the names and the columns of the images, and small copies of them (at most 960 pixels). The
images themselves are not in it. To let in only those who have a key, set the secret `CPCHUB_API_KEYS`.
"""


@dataclass(frozen=True)
class Written:
    """The folder of a Space: bytes, and how many images could not be read, so that they are shown without a picture."""

    folder: Path
    bytes: int
    unreadable: int


def write_space(
    folder: str | Path, out: str | Path, spec: ModelSpec, *, title: str | None = None, package: str | None = None
) -> Written:
    """Write a Space of the collection in `folder` to `out`, whole or not at all.

    spec: of the encoder of the collection; a local one is copied, others are found by their names. title: by default
    the name of the folder of images. package: what pip installs, by default this version with its extras.

    Raises what `Index.open` raises, EncoderMismatchError for another encoder, and OutputError where `out` holds
    anything.
    """
    out = expanded(out)
    check_free(out)
    collection = Index.open(folder).collection
    collection.check_encoder(spec)
    title = title or collection.source.name or "Images"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            complete = Path(scratch) / "space"
            _copy_collection(collection, complete / "collection")
            if spec.status == "local" and spec.folder is not None:
                shutil.copytree(spec.folder, complete / "encoder")
            unreadable = _make_thumbnails(collection, complete / "thumbnails")
            for name, text in _files(title, package, spec, len(collection)).items():
                (complete / name).write_text(text, encoding="utf-8")
            put_in_place(complete, out)
    return Written(out, sum(path.stat().st_size for path in out.rglob("*") if path.is_file()), unreadable)


def _copy_collection(collection: Collection, to: Path) -> None:
    """The files of a collection and its index. The manifest no longer says where on this machine its images lie."""
    collection.fetch(f"{VECTORS}/")
    for pattern in KEPT:
        for path in sorted(collection.folder.glob(pattern)):
            place = to / path.relative_to(collection.folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    manifest = read_manifest(to)
    manifest["source"] = collection.source.name
    manifest["encoder"]["folder"] = None
    in_milvus = manifest["store"] is not None
    if in_milvus:  # which a Space does not reach
        manifest |= {"search": None, "store": None}
    write_json(to / MANIFEST, manifest)
    if in_milvus:
        Index.build(Collection.open(to))


def _make_thumbnails(collection: Collection, folder: Path) -> int:
    """Both small copies of each image; how many images cannot be read."""
    thumbnails = Thumbnails(collection, folder)

    def make(row: int) -> bool:
        return thumbnails.tile(row) is not None and thumbnails.preview(row) is not None

    made = 0
    with ThreadPoolExecutor(THREADS) as threads, Report("Making small copies", len(collection)) as report:
        for ok in threads.map(make, range(len(collection))):
            made += ok
            report.advance(1)
    return len(collection) - made


def _files(title: str, package: str | None, spec: ModelSpec, count: int) -> dict[str, str]:
    """The text files of a Space by their names."""
    readme = README.format(
        title=json.dumps(title, ensure_ascii=False),  # a string of JSON is one of YAML
        heading=title,
        gradio=version("gradio"),
        count=counted(count, "image"),
        encoder=spec.name,
        cpchub=cpchub.__version__,
    )
    return {
        "app.py": Path(__file__).with_name("app.py").read_text(encoding="utf-8"),
        "requirements.txt": f"{package or f'cpchub[cpu,demo]=={cpchub.__version__}'}\n",
        "README.md": readme,
        ".gitattributes": "".join(f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in LARGE),
    }
