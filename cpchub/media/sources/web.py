"""Images by http: what a server says of a URL, and its bytes, with limits on time and size."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from email.message import Message
from functools import partial
from http.client import HTTPException, InvalidURL
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from cpchub.common.retry import PAUSES, nobody_is_there, retry
from cpchub.errors import BrokenImageError
from cpchub.media.sources.base import StoredFile

TIMEOUT = 20.0  # seconds that a server may be silent
DEADLINE = 120.0  # seconds for a whole image
LARGEST = 128 << 20  # bytes
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that another try may not meet
_CHUNK = 1 << 16
_answered: set[str] = set()  # servers that have, so that a refusal of theirs may pass


def stored_file(url: str) -> StoredFile:
    """A URL as a file: size and version mark where the server tells them. Never raises: reading it gives the reason."""
    try:
        with _open(url, "HEAD") as answer:
            return StoredFile(
                url, _size(answer.headers), None, answer.headers["ETag"] or answer.headers["Last-Modified"]
            )
    except (OSError, HTTPException, ValueError):
        return StoredFile(url, None)


def download(url: str) -> bytes:
    """The bytes at a URL. Raises BrokenImageError with the reason, after some tries where another may help."""
    try:
        return retry(lambda: _download(url), hopeless=partial(_stays, url), pauses=PAUSES[:2])
    except urllib.error.HTTPError as error:
        raise BrokenImageError(f"the server answers {error.code} {error.reason}") from error
    except InvalidURL as error:
        raise BrokenImageError(f"not a URL that can be fetched ({error})") from error
    except (OSError, HTTPException) as error:
        raise BrokenImageError(f"cannot be downloaded ({getattr(error, 'reason', None) or error})") from error
    except BrokenImageError:
        raise
    except ValueError as error:
        raise BrokenImageError(f"not a URL that can be fetched ({error})") from error


def encoded(url: str) -> str:
    """An address as it goes over the network: letters, spaces and signs that are not in it percent-encoded.

    What is encoded already stays: `%20` does not become `%2520`, and a lone `%` becomes `%25`. The name of a server in
    other letters goes as IDNA has it (RFC 3490).
    """
    parts = urlsplit(url)
    host = parts.netloc
    if not host.isascii():
        name, colon, port = host.partition(":")
        host = name.encode("idna").decode() + colon + port
    lone = re.compile(r"%(?![0-9A-Fa-f]{2})")
    path, query = (quote(lone.sub("%25", part), safe="%/:=&?~+!$,;'@()*[]|") for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, host, path, query, ""))


def _stays(url: str, error: Exception) -> bool:
    """Whether another try would meet the same, as it does offline, where every server refuses from the first on."""
    if nobody_is_there(error) and urlsplit(url).netloc not in _answered:
        return True
    if isinstance(error, urllib.error.HTTPError):
        return error.code not in PASSING
    return isinstance(error, InvalidURL) or not isinstance(error, (OSError, HTTPException))


def _download(url: str) -> bytes:
    started = time.monotonic()
    with _open(url, "GET") as answer:
        size = _size(answer.headers)
        parts: list[bytes] = []
        received = 0
        while part := answer.read(_CHUNK):
            parts.append(part)
            received += len(part)
            if received > LARGEST:
                raise BrokenImageError(f"more than {LARGEST >> 20} MB; download it and embed the file")
            if time.monotonic() - started > DEADLINE:
                raise BrokenImageError(f"the server needs more than {DEADLINE:.0f} s for it")
    if size is not None and received < size:
        raise ConnectionError("the connection ended before its last byte")
    return b"".join(parts)


def _open(url: str, method: str) -> Any:
    request = urllib.request.Request(
        encoded(url), method=method, headers={"User-Agent": "cpchub", "Accept-Encoding": "identity"}
    )
    server = urlsplit(url).netloc
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError:
        _answered.add(server)
        raise
    _answered.add(server)
    return answer


def _size(headers: Message) -> int | None:
    length = headers["Content-Length"]
    return int(length) if length and length.isdigit() else None
