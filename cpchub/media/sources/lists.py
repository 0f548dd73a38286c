"""A list of images: a text file with a path or URL a line, or a CSV whose other columns are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from cpchub.common.csv_table import read_csv, read_text
from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.sources import web
from cpchub.media.sources.base import PATH, ListedImage, Listing, StoredFile
from cpchub.media.sources.columns import LABEL, user_columns
from cpchub.media.sources.storage import Bucket, listed_file, read_part

LIST_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".lst"})
NAMES = (PATH, "url", "file", "filename", "file_name", "image", "image_path", "filepath", "uri")
WHAT = "a list of images"
CONNECTIONS = 16  # servers are asked about images side by side


class ListSource:
    """The images that a file lists, each by the text that stands there; relative paths start at the file's folder."""

    kind = "list"

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def location(self) -> str:
        return str(self.file)

    def listing(self) -> Listing:
        table, name = read_list(self.file)
        entries = [entry.strip() for entry in table[name].to_pylist()]
        first: dict[str, int] = {}
        failures: list[dict[str, Any]] = []
        for row, entry in enumerate(entries):
            if entry in first:
                failures.append({PATH: entry, "reason": f"row {row + 1} of the list names it again"})
            elif entry:
                first[entry] = row
        if not first:
            raise SourceError(f"{self.file} lists no images")
        paths = sorted(first)
        for store in {_scheme(path): path for path in paths if not _is_at_hand(path)}.values():
            with suppress(SourceError):  # that address is bad; a package that is missing ends it here, before the work
                Bucket(store)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            files = list(pool.map(self._look, paths))
        images = [ListedImage(file.path, file.size, file.mtime_ns, file.etag) for file in files]
        others = table.drop([name]).take([first[path] for path in paths])
        return Listing(images, user_columns(paths, others) if others.num_columns else None, failures)

    def read(self, image: ListedImage) -> bytes:
        scheme = _scheme(image.path)
        if scheme in ("http", "https"):
            return web.download(image.path)
        if not _is_at_hand(image.path):
            try:
                return Bucket(image.path).read("")
            except SourceError as error:
                raise BrokenImageError(str(error)) from error
        return read_part(self._local(image.path))

    def _look(self, entry: str) -> StoredFile:
        scheme = _scheme(entry)
        if scheme in ("http", "https"):
            return web.stored_file(entry)
        if not _is_at_hand(entry):
            return StoredFile(entry, None)
        try:
            stat = self._local(entry).stat()
        except (OSError, ValueError):  # reading it will give the reason
            return StoredFile(entry, None)
        return StoredFile(entry, stat.st_size, stat.st_mtime_ns)

    def _local(self, entry: str) -> Path:
        if _scheme(entry) == "file":
            return Path(unquote(urlsplit(entry).path))
        if "\0" in entry:
            raise BrokenImageError("the path holds a zero byte")
        return listed_file(self.file, entry)


def read_list(file: Path) -> tuple[pa.Table, str]:
    """A list as a table, and the name of the column with the images. Raises SourceError."""
    if file.suffix.lower() in (".csv", ".tsv"):
        read = read_csv(file, (*NAMES, LABEL), SourceError, WHAT)
        table = read.typed((*NAMES, LABEL))
    else:
        # splitlines() would cut names at other characters, too
        lines = [line.removesuffix("\r") for line in read_text(file, SourceError, WHAT).split("\n")]
        table = pa.table({PATH: [line for line in lines if line.strip() and not line.startswith("#")]})
    name = next((name for name in NAMES if name in table.column_names), None)
    if name is None:
        raise SourceError(f"{file} has no column named {PATH} or url (its columns: {', '.join(table.column_names)})")
    return table, name


def _scheme(entry: str) -> str:
    scheme, found, _ = entry.partition("://")
    return scheme.lower() if found and scheme.isalnum() else ""


def _is_at_hand(entry: str) -> bool:
    """Whether an entry is a file of this machine or an address on the web; else it is in a store of fsspec's."""
    return _scheme(entry) in ("", "file", "http", "https")
