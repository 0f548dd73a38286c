"""Find the unreadable images of a data set. Each image is decoded once; results are cached by content.

An evaluation must know them before it starts: every protocol needs the same images and labels, whether it works on
features or on pixels.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import PIL

from cpchub.common.files import write_json, writing
from cpchub.common.hashing import bytes_sha256
from cpchub.common.kept import own_cache
from cpchub.common.progress import Report
from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.damage import TOO_LITTLE_MEMORY, damage_as_failure
from cpchub.media.decode import decode_bytes, read_bytes

SMALLEST = 1  # pixels that are needed of an image: the whole file is read, and no more decoded than that takes


@dataclass(frozen=True)
class Checked:
    """The sha256 of the readable files, and the reason for each of the others."""

    sha256: dict[Path, str] = field(default_factory=dict)
    broken: dict[Path, str] = field(default_factory=dict)


def default_cache() -> Path:
    """`CPCHUB_CACHE/evaluation`, or `$XDG_CACHE_HOME/cpchub/evaluation` where that is not set."""
    return own_cache("evaluation")


def checked(paths: Sequence[Path], cache: Path | None = None) -> Checked:
    """Read every file, and decode it unless an earlier call has decoded the same content.

    cache: the folder for the results, by default `default_cache()`. Raises SourceError if no image can be read.
    """
    found = Checked()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        with Report("Reading the images", len(paths)) as report:
            for path, sha256 in zip(paths, pool.map(_sha256, paths), strict=True):
                if isinstance(sha256, BrokenImageError):
                    found.broken[path] = str(sha256)
                else:
                    found.sha256[path] = sha256
                report.advance()
        reasons = _kept_reasons(found.sha256, pool, cache or default_cache())
    for path in [path for path, sha256 in found.sha256.items() if sha256 in reasons]:
        found.broken[path] = reasons[found.sha256.pop(path)]
    if not found.sha256:
        first = next(iter(found.broken), None)
        why = f", first {first}: {found.broken[first]}" if first else ""
        raise SourceError(f"none of the {len(paths)} images can be read{why}")
    return found


def _kept_reasons(sha256: dict[Path, str], pool: ThreadPoolExecutor, cache: Path) -> dict[str, str]:
    """Content -> reason for undecodable files, from the cache of an earlier call if there is one."""
    decides = json.dumps([PIL.__version__, sorted(set(sha256.values()))])
    kept = cache / "readable" / f"{bytes_sha256(decides.encode())[:16]}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    reasons: dict[str, str] = {}
    with Report("Checking the images", len(sha256)) as report:
        for path, reason in zip(sha256, pool.map(_reason, sha256), strict=True):
            if reason is not None:
                reasons[sha256[path]] = reason
            report.advance()
    if TOO_LITTLE_MEMORY not in reasons.values():  # which another time may have
        with writing(kept.parent):
            kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, reasons)
    return reasons


def _sha256(path: Path) -> str | BrokenImageError:
    try:
        with damage_as_failure():
            return bytes_sha256(read_bytes(path))
    except BrokenImageError as error:
        return error


def _reason(path: Path) -> str | None:
    """Why a file cannot be decoded; None where it can."""
    try:
        decode_bytes(read_bytes(path), size=SMALLEST)
    except BrokenImageError as error:
        return str(error)
    return None
