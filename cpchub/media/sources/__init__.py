"""Where images come from: folders, tar shards, Parquet, Hugging Face data sets, lists of paths and URLs, buckets.

`open_source` finds out which of these it is given. Each is a class with the members of `Source`.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from cpchub.common.files import expanded
from cpchub.errors import SourceError
from cpchub.media.rules import NO_RULES, Rules
from cpchub.media.sources.base import IMAGE_SUFFIXES, ListedImage, Listing, Source, StoredFile
from cpchub.media.sources.folder import find_images
from cpchub.media.sources.storage import Bucket, Disk

__all__ = ["IMAGE_SUFFIXES", "ListedImage", "Listing", "Rules", "Source", "find_images", "is_gone", "open_source"]


def open_source(
    source: object, *, skip: Path | str | None = None, rules: Rules = NO_RULES, kind: str | None = None
) -> Source:
    """The source that `source` names, not yet listed.

    source: a folder of images, of tar shards, of Parquet files, or of a saved Hugging Face data set; one `.tar` or
        `.parquet` file; a `.csv`, `.tsv` or `.txt` that lists paths and URLs; `s3://bucket/folder`, `gs://...` or any
        other URL that fsspec knows; a `datasets.Dataset`; or anything that has the members of `Source`.
    skip: a folder not to enter, or its URL: the output when it lies inside the source.
    rules: what is left out of it, and whether links may lead out of it.
    kind: the kind of source that the place was taken for before; it is that again where it can be.

    Raises SourceError where there is nothing of the kind, DependencyError where a package for it is missing.
    """
    from cpchub.media.sources.chosen import Chosen
    from cpchub.media.sources.datasets import DatasetObject

    if DatasetObject.fits(source):
        return Chosen(DatasetObject(source), rules)
    if not isinstance(source, (str, Path)):
        if all(hasattr(source, member) for member in ("kind", "location", "listing", "read")):
            return source  # type: ignore[return-value]
        if isinstance(source, dict) and type(source).__name__.endswith("DatasetDict"):
            one = f"data[{next(iter(source), 'train')!r}]"
            raise SourceError(f"these are the parts of a data set ({', '.join(source)}); give one of them, as {one}")
        raise SourceError(f"{type(source).__name__} is not a source of images; give a path, a URL or a Dataset")
    scheme, has_scheme, rest = str(source).partition("://")
    if has_scheme and scheme.lower() != "file":
        return _in_bucket(str(source), rules, kind, skip if isinstance(skip, str) else None)
    folder = skip if isinstance(skip, Path) else None
    return _on_disk(expanded(unquote(rest) if has_scheme else source).resolve(), folder, rules, kind)


def is_gone(location: str) -> bool:
    """Whether a recorded location is a place of this machine that is no longer there."""
    return "://" not in location and not location.startswith("datasets:") and not Path(location).exists()


def _on_disk(path: Path, skip: Path | None, rules: Rules, kind: str | None) -> Source:
    from cpchub.media.sources.chosen import Chosen, by_content
    from cpchub.media.sources.datasets import SavedDataset

    if path.is_file():
        return Chosen(_one_file(path), rules)
    if path.is_dir() and SavedDataset.is_at(path):
        return Chosen(SavedDataset(path), rules)
    return by_content(Disk(path, skip, rules), rules, kind)


def _one_file(path: Path) -> Source:
    from cpchub.media.sources.lists import LIST_SUFFIXES, ListSource
    from cpchub.media.sources.parquet import PARQUET_SUFFIXES, ParquetSource
    from cpchub.media.sources.tar import TAR_SUFFIXES, TarSource

    suffix = path.suffix.lower()
    if suffix in LIST_SUFFIXES:
        return ListSource(path)
    stat = path.stat()
    file = StoredFile(path.name, stat.st_size, stat.st_mtime_ns)
    if suffix in TAR_SUFFIXES:
        return TarSource(Disk(path.parent), str(path), [file])
    if suffix in PARQUET_SUFFIXES:
        return ParquetSource(Disk(path.parent), str(path), [file])
    raise SourceError(
        f"{path} is a file; give a folder of images, a .tar, a .parquet, or a list of images (.csv, .tsv, .txt)"
    )


def _in_bucket(url: str, rules: Rules, kind: str | None, skip: str | None) -> Source:
    from cpchub.media.sources.chosen import by_content

    if url.partition("://")[0].lower() in ("http", "https"):
        raise SourceError(f"{url} is one address on the web; write the URLs of the images into a .csv or .txt file")
    return by_content(Bucket(url, rules, skip), rules, kind)
