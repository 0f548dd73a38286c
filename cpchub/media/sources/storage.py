"""Where files lie: on this machine, or in a bucket that fsspec reaches; all layouts are read from both."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO, Protocol, cast

import pyarrow as pa

from cpchub.common.extras import import_extra, need
from cpchub.common.files import expanded
from cpchub.common.retry import retry
from cpchub.errors import BrokenImageError, CpchubError, DependencyError, SourceError
from cpchub.media.rules import NO_RULES, Rules
from cpchub.media.sources.base import StoredFile, is_text, suffix_of
from cpchub.media.sources.found import Found
from cpchub.media.sources.walk import walk


class Storage(Protocol):
    """Files below one place."""

    @property
    def location(self) -> str:
        """The place, for the record and for messages."""

    def files(self, suffixes: Collection[str]) -> Found:
        """The files whose names end so and that the rules take, and what was passed over. Raises SourceError."""

    def open(self, path: str) -> BinaryIO:
        """A file to read and seek in. Raises OSError."""

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file, or a part of it. Raises BrokenImageError with the reason."""


class Disk:
    """A folder of this machine; `skip` is a folder not to enter."""

    def __init__(self, root: Path, skip: Path | None = None, rules: Rules = NO_RULES) -> None:
        self.root, self.skip, self.rules = root, skip, rules

    @property
    def location(self) -> str:
        return str(self.root)

    def files(self, suffixes: Collection[str]) -> Found:
        return walk(self.root, suffixes, self.rules, self.skip)

    def open(self, path: str) -> BinaryIO:
        if not is_text(path):
            raise OSError("the file name is not valid UTF-8")
        return cast(BinaryIO, pa.OSFile(str(self.root / path), "rb"))  # closes by itself, as tables in it stay open

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        return read_part(self.root / path, start, length)


class Bucket:
    """A place that fsspec reaches, `s3://bucket/folder` or `gs://...`, with the credentials of the environment.

    skip: the URL of a folder not to list.
    """

    def __init__(self, url: str, rules: Rules = NO_RULES, skip: str | None = None) -> None:
        self.url, self.rules = url.rstrip("/"), rules
        self.skip = f"{skip}/"[len(self.url) + 1 :] if skip and skip.startswith(f"{self.url}/") else None
        self._root: str = self._filesystem[1]

    @property
    def location(self) -> str:
        return self.url

    def __getstate__(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "rules": self.rules,
            "skip": self.skip,
            "_root": self._root,
        }  # connections stay in their process

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        return filesystem_of(self.url)

    def files(self, suffixes: Collection[str]) -> Found:
        filesystem, root = self._filesystem
        try:
            filesystem.invalidate_cache()
            names = retry(lambda: filesystem.find(root, detail=True))
        except Exception as error:  # each store's library has errors of its own, for want of credentials above all
            raise SourceError(f"cannot list {self.url}: {str(error) or type(error).__name__}") from error
        found = Found()
        for name, info in names.items():
            file = StoredFile(_below(name, root), info.get("size"), None, version_of(info))
            if any(part.startswith(".") for part in file.path.split("/")):
                continue
            if self.skip is not None and file.path.startswith(self.skip):
                continue
            if (left_out := self.rules.left_out(file.path)) is not None:
                found.leave_out(left_out[0], by_pattern=left_out[1])
            elif suffix_of(file.path) in suffixes:
                found.files.append(file)
            elif file.path and not file.path.endswith("/"):  # as some stores keep a folder
                found.pass_over(file.path)
        found.files.sort(key=lambda file: file.path)
        return found

    def open(self, path: str) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_PatientFile(lambda: self._filesystem[0].open(self._name(path), "rb"))))

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        filesystem, name = self._filesystem[0], self._name(path)
        end = None if length is None else start + length
        try:
            data = retry(lambda: bytes(filesystem.cat_file(name, start=start or None, end=end)))
        except FileNotFoundError as error:
            raise BrokenImageError("no such file") from error
        except MemoryError:
            raise
        except Exception as error:  # each store's library has errors of its own here, too
            raise BrokenImageError(f"the file cannot be read ({str(error) or type(error).__name__})") from error
        return _whole(data, length)

    def _name(self, path: str) -> str:
        """What the store calls a file below this place, or the place itself."""
        root = self._filesystem[1]
        return f"{root}/{path}" if path else root


def filesystem_of(url: str, error: type[CpchubError] = SourceError) -> tuple[Any, str]:
    """What fsspec has for a place, and what the place is called there.

    Raises DependencyError for a package that is missing, and `error` for a store that there is not.
    """
    check_store(url)
    fsspec = import_extra("fsspec", extra="scale")
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except ImportError as failed:
        raise DependencyError(f"{url} needs a package for that kind of store: {failed}") from failed
    except Exception as failed:  # no such kind of store, or one whose library wants to know more about it
        raise error(f"{url} cannot be reached: {str(failed) or type(failed).__name__}") from failed
    return filesystem, root.rstrip("/")


def check_store(url: str) -> None:
    """Raise DependencyError where fsspec, or the package of the store that `url` is of, is not installed."""
    need("fsspec", extra="scale")
    from fsspec.registry import known_implementations, registry

    kind = url.partition("://")[0].rpartition("::")[2].lower()
    if kind in registry:  # the store of a program that has registered its own
        return
    package = known_implementations.get(kind, {"class": ""})["class"].partition(".")[0]
    if package not in ("", "fsspec"):  # fsspec's own stores say themselves what they lack
        need(package, extra=None)


class _PatientFile(io.RawIOBase):
    """A file of a store: a read that fails is tried again, and what fails in the end is an OSError."""

    def __init__(self, open_it: Callable[[], Any]) -> None:
        self._open_it, self._place = open_it, 0
        self._file = self._try(open_it)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = self._try(lambda: self._file.seek(offset, whence))
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        def read() -> bytes:
            self._file.seek(self._place)  # a try that failed may have left it anywhere
            return bytes(self._file.read(len(buffer)))

        data = self._try(read)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            return retry(call)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise OSError(f"{str(error) or type(error).__name__}") from error


def read_part(path: Path, start: int = 0, length: int | None = None) -> bytes:
    """Bytes of a file of this machine; raises BrokenImageError with the reason where they cannot be read."""
    try:
        if not S_ISREG(path.stat().st_mode):
            raise BrokenImageError("not a regular file")
        with path.open("rb") as file:
            file.seek(start)
            return _whole(file.read() if length is None else file.read(length), length)
    except FileNotFoundError as error:
        raise BrokenImageError("no such file") from error
    except OSError as error:
        raise BrokenImageError(f"the file cannot be read ({error.strerror or error})") from error


def listed_file(file: Path, entry: str) -> Path:
    """The file of this machine that an entry of a list means; `~` is the home, but `~name` may be a file's own name."""
    path = Path(entry)
    return expanded(path) if path.parts[:1] == ("~",) else file.parent / path


def _whole(data: bytes, length: int | None) -> bytes:
    if length is not None and len(data) < length:
        raise BrokenImageError("the file that holds it ends before its last byte")
    return data


def version_of(info: dict[str, Any]) -> str | None:
    """What a store says of a file's version, by whatever name it says it."""
    for name in ("ETag", "etag", "generation", "md5Hash", "content_md5", "LastModified", "mtime", "updated", "created"):
        if info.get(name) is not None:
            return str(info[name])
    return None


def _below(name: str, root: str) -> str:
    return name[len(root) :].lstrip("/") if name.startswith(root) else name
