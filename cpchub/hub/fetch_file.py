"""Fetch one file from its authors' server: goes on where it broke off, and is what it was said to be.

The bytes are collected in `<name>.partial`, and what the server calls this version of the file in `<name>.version`, so
that two versions are never joined. The standard library's client honours the usual proxy variables. A mirror
(`CPCHUB_MIRROR=https://host/path`) stands in for every host, under the same paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from cpchub.catalog.origin import RemoteFile
from cpchub.common.files import PARTIAL, writing
from cpchub.common.retry import nobody_is_there, retry
from cpchub.errors import CpchubError, HubError, IntegrityError

VERSION = ".version"
_CHUNK = 1 << 20
_PATIENCE = 60.0  # seconds without a byte
_PAGES = (b"<!doctype html", b"<html")
_PASSING = (408, 425, 429)  # refusals that are over in a while, beside those of a server in trouble


class Tell(Protocol):
    """Is told how much of a file is here, in bytes, and how much there is, where that is known."""

    def __call__(self, have: int, total: int | None, /) -> None: ...


def address_of(file: RemoteFile) -> str:
    """The address to ask: the authors', or that of the mirror. Raises HubError for a mirror that is no address."""
    mirror = (os.environ.get("CPCHUB_MIRROR") or "").strip().rstrip("/")
    if not mirror:
        return file.address
    if urlsplit(mirror).scheme not in ("http", "https") or not urlsplit(mirror).netloc:
        raise HubError(f"CPCHUB_MIRROR is {mirror!r}; it is an address like https://host/path, or unset")
    parts = urlsplit(file.address)
    return f"{mirror}{parts.path}" + (f"?{parts.query}" if parts.query else "")


def fetch_file(file: RemoteFile, folder: Path, tell: Tell) -> Path:
    """The whole file in `folder`, its size checked where it is on record; its contents are not.

    Raises HubError where the server does not give it, IntegrityError for another size, NoSpaceError, OutputError. What
    has arrived is kept for the next call, but for bytes that cannot be of this file.
    """
    target = folder / file.name
    if target.exists():
        return target
    partial = folder / f"{file.name}{PARTIAL}"
    address = address_of(file)
    with writing(partial):
        out = partial.open("ab")
    try:
        with writing(partial), out:  # closing writes too: what a full disk did not take is tried once more
            _until_it_is_whole(lambda: _go_on(file, address, out, folder / f"{file.name}{VERSION}", tell), out, address)
    finally:
        if not partial.stat().st_size:
            _forget(folder, file)
    with partial.open("rb") as content:
        if content.read(64).lstrip().lower().startswith(_PAGES):
            _forget(folder, file)
            raise HubError(f"{address} gave a web page and not a file; it may have moved, or the network wants a login")
    partial.replace(target)
    (folder / f"{file.name}{VERSION}").unlink(missing_ok=True)
    return target


def check_answers(file: RemoteFile) -> None:
    """Raise HubError where nobody answers at the address of a file; what is answered is left to `fetch_file`."""
    address = address_of(file)
    try:
        with opened(Request(address, method="HEAD", headers={"User-Agent": "cpchub"})):
            return
    except (OSError, HTTPException, ValueError) as error:
        if nobody_is_there(error):
            raise _unreachable(address, error, kept=False) from error


def _until_it_is_whole(attempt: Callable[[], None], out: BinaryIO, address: str) -> None:
    """Try again as long as every few tries bring something."""
    have = 0

    def hopeless(error: Exception) -> bool:
        return is_final(error) or out.seek(0, os.SEEK_END) > have or (not have and nobody_is_there(error))

    while True:
        have = out.seek(0, os.SEEK_END)
        try:
            return retry(attempt, hopeless=hopeless)
        except CpchubError:
            raise
        except HTTPError as error:
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:  # what is here is no part of it
                out.truncate(0)
                continue
            raise HubError(f"{address} answered {error.code} ({error.reason})") from error
        except (OSError, HTTPException, ValueError) as error:  # ValueError: of an address that cannot be asked for
            if out.seek(0, os.SEEK_END) > have and not is_final(error):
                continue
            raise _unreachable(address, error, kept=bool(have)) from error


def is_final(error: Exception) -> bool:
    """Whether asking again cannot help."""
    if isinstance(error, HTTPError):
        return error.code < 500 and error.code not in _PASSING
    return isinstance(error, (CpchubError, ValueError))


def _unreachable(address: str, error: Exception, *, kept: bool) -> HubError:
    reason = error.reason if isinstance(error, URLError) else error
    more = "; what has arrived is kept, and the same call goes on from there" if kept else ""
    return HubError(f"{address} cannot be reached, or broke off ({reason}){more}")


def _go_on(file: RemoteFile, address: str, out: BinaryIO, version: Path, tell: Tell) -> None:
    """One request for what is not here yet; raises ConnectionError where it ends early."""
    have = out.seek(0, os.SEEK_END)
    known = version.read_text(encoding="utf-8") if version.is_file() else ""
    headers = {"User-Agent": "cpchub", "Accept-Encoding": "identity"}
    if have and known:
        headers |= {"Range": f"bytes={have}-", "If-Range": known}
    with opened(Request(address, headers=headers)) as answer:
        if answer.headers.get_content_type() == "text/html":
            raise HubError(f"{address} gave a web page and not a file; it may have moved, or the network wants a login")
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0
            out.truncate(0)
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        if file.size is not None and total is not None and total != file.size:
            raise IntegrityError(f"{address} offers {total:,} bytes; the file on record has {file.size:,}")
        tag = answer.headers.get("ETag", "")
        strong = "" if tag.startswith("W/") else tag  # a weak one may stand for other bytes
        with writing(version):
            version.write_text(strong or answer.headers.get("Last-Modified", ""), encoding="utf-8")
        have = _copy(answer, out, have, total, tell)
    if total is not None and have < total:
        raise ConnectionError(f"{have:,} of {total:,} bytes")
    if file.size is not None and have != file.size:
        out.truncate(0)
        raise IntegrityError(f"{address} gave {have:,} bytes; the file on record has {file.size:,}")


def opened(request: Request) -> Any:
    """The server's answer; raises HTTPError, which is an answer too, when it is closed."""
    try:
        return build_opener(_NoWayBack()).open(request, timeout=_PATIENCE)
    except HTTPError as error:
        error.close()
        raise


def _copy(answer: IO[bytes], out: BinaryIO, have: int, total: int | None, tell: Tell) -> int:
    """Write what comes; the number of bytes that are here then."""
    tell(have, total)
    while chunk := answer.read(_CHUNK):
        with writing(Path(out.name)):
            out.write(chunk)
            out.flush()
        have += len(chunk)
        tell(have, total)
    return have


def _forget(folder: Path, file: RemoteFile) -> None:
    for ending in ("", PARTIAL, VERSION):
        (folder / f"{file.name}{ending}").unlink(missing_ok=True)


class _NoWayBack(HTTPRedirectHandler):
    """Follows a server elsewhere, but never from https to http, where anybody could answer."""

    def redirect_request(  # type: ignore[no-untyped-def]  # the standard library's own signature
        self, req, fp, code, msg, headers, newurl
    ):
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("https", "http")
        if urlsplit(newurl).scheme not in allowed:
            if fp is not None:
                fp.close()  # nobody else would: the answer is not handed on
            raise HubError(f"{req.full_url} sends elsewhere without encryption, to {newurl}; that is not followed")
        there = super().redirect_request(req, fp, code, msg, headers, newurl)
        if there is not None and req.get_method() == "HEAD":
            there.method = "HEAD"  # the standard library would ask for the file
        return there
