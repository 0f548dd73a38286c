"""The files below one place of an object store, through fsspec; what goes wrong is said in words."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cpchub.common.files import FULL, replacing
from cpchub.common.retry import HOPELESS, retry
from cpchub.errors import StoreError
from cpchub.media.sources.storage import filesystem_of, version_of

AT_ONCE = 8  # files on their way together
DELETED_AT_ONCE = 1000  # the most that S3 takes in one request
# Another try would only take minutes: the libraries of the stores have tried several times before they raise these.
NO_WAY = ("NoCredentialsError", "PartialCredentialsError", "EndpointConnectionError", "ConnectTimeoutError")

T = TypeVar("T")


class Stored(NamedTuple):
    """A file as the store has it. mark: what the store calls its version; another one means another content."""

    size: int
    mark: str


class _GoneError(Exception):
    """There is no such file; the one that is here stays."""


class Objects:
    """Files below `url`, by their names with `/` between parts. Every method raises StoreError.

    A call that fails is tried again, as `cpchub.common.retry` does.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        return filesystem_of(self.url, StoreError)

    def top(self) -> tuple[dict[str, Stored], set[str]]:
        """The files right here, and the names of the folders; one request, however many files there are below."""
        filesystem, root = self._filesystem

        def listed() -> list[dict[str, Any]]:
            filesystem.invalidate_cache()
            return list(filesystem.ls(root, detail=True))

        found = self._try("list", listed, absent=[])
        names = {self._name(info["name"]): info for info in found}
        files = {name: _stored(info) for name, info in names.items() if name and info.get("type") != "directory"}
        return files, {name for name, info in names.items() if info.get("type") == "directory"}

    def all(self) -> dict[str, Stored]:
        """All files below."""
        filesystem, root = self._filesystem

        def found() -> dict[str, dict[str, Any]]:
            filesystem.invalidate_cache()
            return dict(filesystem.find(root, detail=True))

        infos: Mapping[str, Any] = self._try("list", found, absent={})
        named = ((self._name(path), info) for path, info in infos.items() if info.get("type") != "directory")
        return {name: _stored(info) for name, info in named if name and not name.endswith("/")}

    def info(self, name: str) -> Stored | None:
        """One file; None where there is none."""
        filesystem = self._filesystem[0]

        def told() -> dict[str, Any]:
            filesystem.invalidate_cache()
            return dict(filesystem.info(self._key(name)))

        info: dict[str, Any] = self._try("look at", told, name, absent={})
        return _stored(info) if info and info.get("type") != "directory" else None

    def read(self, name: str) -> bytes | None:
        """The bytes of a small file; None where there is none."""
        return self._try("read", lambda: bytes(self._filesystem[0].cat_file(self._key(name))), name, absent=None)

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        self._try("write", lambda: self._filesystem[0].pipe_file(self._key(name), data), name)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file where there is none; False where there is one.

        S3 and Google Cloud Storage decide between two who do so at the same moment. For a store that cannot, fsspec
        looks first and writes then.
        """

        def make() -> bool:
            try:
                self._filesystem[0].pipe_file(self._key(name), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:  # some stores of the S3 kind do not say what was not fulfilled
                if "pre-condition" in str(error).lower() or "precondition" in str(error).lower():
                    return False
                raise
            return True

        return bool(self._try("write", make, name))

    def fetch(self, name: str, to: Path) -> bool:
        """Bring a file here, whole or not at all; False where there is none.

        Raises OutputError and NoSpaceError too.
        """

        def get(unfinished: Path) -> bool:
            self._filesystem[0].get_file(self._key(name), str(unfinished))
            return True

        try:
            with replacing(to) as unfinished:
                if not self._try("read", lambda: get(unfinished), name, absent=False):
                    raise _GoneError
        except _GoneError:
            return False
        return True

    def put(self, name: str, path: Path) -> None:
        """Store a file of this machine, whole or not at all."""
        self._try("write", lambda: self._filesystem[0].put_file(str(path), self._key(name)), name)

    def copy(self, name: str, to: str) -> None:
        """Copy a file within the store."""
        self._try("write", lambda: self._filesystem[0].cp_file(self._key(name), self._key(to)), to)

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; one that is gone already is no error."""
        keys = [self._key(name) for name in names]
        for start in range(0, len(keys), DELETED_AT_ONCE):
            some = keys[start : start + DELETED_AT_ONCE]
            self._try("delete", partial(self._filesystem[0].rm, some), absent=None)

    def _key(self, name: str) -> str:
        return f"{self._filesystem[1]}/{name}"

    def _name(self, key: str) -> str:
        root = self._filesystem[1]
        return key[len(root) :].strip("/") if key.startswith(root) else key

    def _try(self, what: str, call: Callable[[], Any], name: str = "", **absent: Any) -> Any:
        """The result of a call, tried several times; `absent`, where it is given and there is no such file."""
        place = f"{self.url}/{name}" if name else self.url
        try:
            return retry(call, hopeless=_hopeless)
        except FileNotFoundError as error:
            if "absent" in absent and not _lacks_bucket(error):
                return absent["absent"]
            raise StoreError(f"cannot {what} {place}: there is no such bucket, or it is not yours to see") from error
        except MemoryError:
            raise
        except Exception as error:  # each store's library has errors of its own
            if isinstance(error, OSError) and error.errno in FULL:
                raise  # this machine's disk
            raise StoreError(f"cannot {what} {place}: {_in_words(error)}") from error


def each(call: Callable[[T], object], things: Iterable[T], advance: Callable[[], object] = lambda: None) -> None:
    """Call `call` with each thing, some at once; the first error that is raised ends it."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="store") as pool:
        futures = [pool.submit(call, thing) for thing in things]
        try:
            for future in futures:
                future.result()
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _stored(info: Mapping[str, Any]) -> Stored:
    return Stored(int(info.get("size") or 0), version_of(dict(info)) or "")


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _hopeless(error: Exception) -> bool:
    return isinstance(error, (*HOPELESS, FileExistsError)) or not _kinds(error).isdisjoint(NO_WAY)


def _lacks_bucket(error: BaseException) -> bool:
    return "bucket" in str(error).lower() and "exist" in str(error).lower()


def _in_words(error: Exception) -> str:
    """What went wrong, and the way out."""
    said = str(error).strip() or type(error).__name__
    if "CredentialsError" in " ".join(_kinds(error)) or isinstance(error, PermissionError):
        return (
            f"{said}. The credentials of the environment are not enough; those of S3 are AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or a profile in AWS_PROFILE"
        )
    if isinstance(error, OSError) and error.errno == errno.EBUSY:
        return f"{said}. The store is busy; run the same command again"
    return f"{said}. Is this machine online? Once it is, run the same command again"
