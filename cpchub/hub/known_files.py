"""What came from an address the first time, on this machine: `origins.lock.json` in the cache.

Many authors publish no checksum. Then the sha256 of the first download that could be converted is written down, and
another file from the same address is refused later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from cpchub.catalog.origin import RemoteFile
from cpchub.common.files import locked, write_json, writing
from cpchub.common.hashing import file_sha256
from cpchub.errors import IntegrityError

LOCK_FILE = "origins.lock.json"
_CHUNK = 1 << 20


def check(file: RemoteFile, path: Path) -> str:
    """The sha256 of a file that was fetched, once it is found to be what is on record; raises IntegrityError."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise IntegrityError(f"{file.address} gave {size:,} bytes; the file on record has {file.size:,}")
    seen = file_sha256(path)
    if not seen.startswith(file.sha256 or file.sha256_prefix or ""):
        raise IntegrityError(
            f"{file.address} gave a file with sha256 {seen}; its authors have published "
            f"{file.sha256 or file.sha256_prefix}. It was dropped"
        )
    if file.md5_prefix is not None and not (md5 := _md5(path)).startswith(file.md5_prefix):
        raise IntegrityError(
            f"{file.address} gave a file with md5 {md5}; its authors have published one that begins with "
            f"{file.md5_prefix}. It was dropped"
        )
    known = _read().get(file.address)
    if known is not None and known.get("sha256") != seen:
        raise IntegrityError(
            f"{file.address} gave a file with sha256 {seen}; on {known.get('date')} it gave {known.get('sha256')}. It "
            f"was dropped. If its authors have replaced it, remove the address from {_path()} and try again"
        )
    return seen


def record(seen: Mapping[RemoteFile, str]) -> None:
    """Write down the sha256 of files that were found to be good."""
    path = _path()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{LOCK_FILE}.held").open("w") as held:
            locked(held.fileno(), wait=True)
            today = datetime.now(timezone.utc).date().isoformat()
            added = {file.address: {"sha256": sha256, "date": today} for file, sha256 in seen.items()}
            write_json(path, added | _read())  # what was known before stays


def _path() -> Path:
    return Path(constants.HF_HOME) / "cpchub" / LOCK_FILE


def _read() -> dict[str, Any]:
    path = _path()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}, which knows earlier downloads, cannot be read ({error}); remove it") from error
    if not isinstance(content, dict) or not all(isinstance(each, dict) for each in content.values()):
        raise IntegrityError(f"{path}, which knows earlier downloads, is damaged; remove it")
    return content


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
