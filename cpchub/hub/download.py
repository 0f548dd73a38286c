"""A download that breaks is continued by the next call, in this process or in another.

huggingface_hub continues within one call only, and drops what has arrived when it gives up. So the bytes of a large
file are collected here, in `<sha256>.partial` beside the place that the Hub's cache has for them, and are moved there
once their sha256 is the one that the Hub has announced; `hf_hub_download` then finds them. What a bad mirror sends
never reaches the cache. Files that Xet carries are left to it, as it keeps pieces itself.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, but not in its __all__

from cpchub.common.files import PARTIAL, locked
from cpchub.common.hashing import read_sha256
from cpchub.errors import IntegrityError
from cpchub.hub.client import endpoint
from cpchub.hub.integrity import remember

_SHA256 = re.compile(r"[0-9a-f]{64}")


def download_resumable(
    repo_id: str, filename: str, commit: str, *, token: str | None = None, cache_dir: str | Path | None = None
) -> None:
    """Put the bytes of a large file where the Hub's cache looks for them; the rest is left to `hf_hub_download`.

    Raises IntegrityError for bytes other than announced, and whatever the client raises when a download breaks.
    """
    if isinstance(try_to_load_from_cache(repo_id, filename, cache_dir=cache_dir, revision=commit), str):
        return
    url = hf_hub_url(repo_id, filename, revision=commit, endpoint=endpoint())
    try:
        metadata = get_hf_file_metadata(url, token=token, library_name="cpchub", endpoint=endpoint())
    except (HfHubHTTPError, OfflineModeIsEnabled):
        return  # hf_hub_download meets the same, and says which it is
    speaks_xet = not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None
    carried_by_xet = speaks_xet and metadata.xet_file_data is not None
    if metadata.etag is None or not _SHA256.fullmatch(metadata.etag) or carried_by_xet:
        return
    headers = build_hf_headers(token=token, library_name="cpchub")
    if urlsplit(url).netloc != urlsplit(metadata.location).netloc:
        headers.pop("authorization", None)  # storage at another origin has a signed address, and no right to the token
    blobs = Path(cache_dir or constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type="model") / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    blob = blobs / metadata.etag
    partial = blob.with_name(f"{blob.name}{PARTIAL}")
    if blob.exists():
        return
    with partial.open("ab") as file:
        if not locked(file.fileno(), wait=True):  # another process may be at it: wait, and take what it got
            partial.unlink(missing_ok=True)
            return  # without locks two would write to one file; the client downloads to one of each process
        if blob.exists():
            partial.unlink(missing_ok=True)
            return
        _complete(file, metadata.location, headers, metadata.size)
        seen = read_sha256(partial)
        if seen != metadata.etag:
            file.truncate(0)
            raise IntegrityError(
                f"{filename} of {repo_id} came with sha256 {seen}, the Hub announced {metadata.etag}; it was dropped. "
                "Try again; if it stays so, do not trust the mirror or proxy in between."
            )
        partial.replace(blob)
    remember(blob, seen)


def _complete(file: BinaryIO, url: str, headers: dict[str, str], size: int | None) -> None:
    """Fetch what is not there yet; `file` is open for appending."""
    have = file.seek(0, os.SEEK_END)  # whoever held the lock before may have added to it since it was opened
    if size is not None and have > size:
        have = file.truncate(0)
    http_get(url, file, resume_size=have, headers=headers, expected_size=size)
    file.flush()
