"""Where the authors of an encoder keep their checkpoint, and how one knows that it is theirs: `origin.json`.

An entry of the catalog with this file is `public`. The checkpoint is fetched, checked and converted on this machine
when the encoder is first loaded; it is never part of the package.

    {
      "license_note": "...",              what is known of the licence beyond its name; may be left out
      "citation": "...", "page": "https://...",
      "links_read": "2026-11-28",         when the links were last verified, from documents: nobody had to open them
      "sources": [{
        "format": "moco", "claims": {},   as `cpchub import` takes them: --as, --architecture and the like
        "known_from": "...",              where the address was read, and how fresh it is
        "files": [{"name": "...", "address": "https://...", "size": null, "about_mb": null,
                   "sha256": null, "sha256_prefix": null, "md5_prefix": null}]
      }]
    }

Sources come in order of preference; each is enough alone. A value that its authors did not publish is null.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cpchub.errors import ModelFolderError

ORIGIN = "origin.json"
CLAIMS = ("architecture", "patch_size", "stem_padding")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{8,64}")
_MEGABYTE = 1e6


@dataclass(frozen=True)
class RemoteFile:
    """One file of a checkpoint. `size` is in bytes and exact; `about_mb` is what a page said, rounded."""

    name: str
    address: str
    size: int | None = None
    about_mb: float | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    md5_prefix: str | None = None


@dataclass(frozen=True)
class Source:
    """One place of the checkpoint: the files that are fetched from there, and how they are imported.

    format: the importer's name; None where it is recognised by the names of the tensors.
    """

    format: str | None
    files: tuple[RemoteFile, ...]
    claims: Mapping[str, Any]
    known_from: str = ""

    @property
    def megabytes(self) -> float | None:
        """How much is fetched, in MB; None where the size of a file is not stated."""
        sizes = [file.size / _MEGABYTE if file.size is not None else file.about_mb for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def host(self) -> str:
        """The server of its files."""
        return urlsplit(self.files[0].address).hostname or ""

    @property
    def size_in_words(self) -> str:
        """For example "103 MB", or "size not stated"."""
        return "size not stated" if self.megabytes is None else f"{self.megabytes:,.0f} MB"


@dataclass(frozen=True)
class Origin:
    """Where the authors' checkpoint is; `links_read` is the date at which its links were last verified."""

    sources: tuple[Source, ...]
    citation: str
    links_read: date
    page: str | None = None
    license_note: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any], path: Path) -> Origin:
        """The origin that a JSON object describes; `path` names the file in errors.

        Raises ModelFolderError where a value is missing or of another form.
        """
        try:
            return cls(
                sources=tuple(_source(each) for each in content["sources"]),
                citation=str(content["citation"]),
                links_read=date.fromisoformat(content["links_read"]),
                page=None if content.get("page") is None else _https(content["page"]),
                license_note=str(content.get("license_note") or ""),
            )._checked()
        except KeyError as error:
            raise _broken(path, f"it has no {error.args[0]!r}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise _broken(path, str(error)) from error

    def _checked(self) -> Origin:
        if not self.sources:
            raise ValueError("its sources are an empty list")
        return self


def converted_folder(name: str, cache_dir: str | Path | None = None) -> Path:
    """Where the model folder of a public encoder is kept once it was converted: in the Hub's cache."""
    from huggingface_hub import constants  # here, since listing the catalog waits for nothing

    return Path(cache_dir or Path(constants.HF_HOME, "cpchub")) / "public" / name


def _source(content: Mapping[str, Any]) -> Source:
    files = tuple(_file(each) for each in content["files"])
    if not files:
        raise ValueError("a source has no files")
    claims = dict(content.get("claims") or {})
    if unknown := sorted(set(claims) - set(CLAIMS)):
        raise ValueError(f"claims has {unknown[0]!r}; known are {', '.join(CLAIMS)}")
    format_name = content["format"]
    if format_name is not None and not isinstance(format_name, str):
        raise ValueError(f"format is {format_name!r}; it is the name of an importer, or null")
    return Source(format_name, files, claims, str(content.get("known_from") or ""))


def _file(content: Mapping[str, Any]) -> RemoteFile:
    name = content["name"]
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"name is {name!r}; it is the name of a file, without folders")
    size, about = content.get("size"), content.get("about_mb")
    if size is not None and (type(size) is not int or size <= 0):
        raise ValueError(f"size is {size!r}; it is a number of bytes, or null")
    if about is not None and (type(about) not in (int, float) or about <= 0):
        raise ValueError(f"about_mb is {about!r}; it is a number of megabytes, or null")
    return RemoteFile(
        name,
        _https(content["address"]),
        size,
        about,
        _hex(content, "sha256", _SHA256),
        _hex(content, "sha256_prefix", _PREFIX),
        _hex(content, "md5_prefix", _PREFIX),
    )


def _https(address: Any) -> str:
    parts = urlsplit(address) if isinstance(address, str) else None
    if parts is None or parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise ValueError(f"an address is {address!r}; it begins with https:// and holds no user")
    return str(address)


def _hex(content: Mapping[str, Any], field: str, form: re.Pattern[str]) -> str | None:
    value = content.get(field)
    if value is not None and (not isinstance(value, str) or not form.fullmatch(value)):
        raise ValueError(f"{field} is {value!r}; it is {form.pattern} or null")
    return value


def _broken(path: Path, problem: str) -> ModelFolderError:
    return ModelFolderError(f"{path} does not say where a checkpoint is: {problem}. Correct it, or remove the file")
