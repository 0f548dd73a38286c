"""Resumable downloads: a broken download is continued by the next call, in this process or another.

huggingface_hub resumes within one call only and deletes the partial file when it gives up. So we download a large file
to `<sha256>.partial`, beside its place in the Hub's cache, and move it there once its sha256 is the one that the Hub
announced; `hf_hub_download` then finds it. A wrong file from a bad mirror never reaches the cache. Files stored with
Xet are left to the client, which keeps pieces itself.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, but not in its __all__

from cpchub.common.files import PARTIAL, locked
from cpchub.common.hashing import file_sha256, is_sha256
from cpchub.errors import IntegrityError
from cpchub.hub.client import endpoint
from cpchub.hub.integrity import cache_sha256


def download_resumable(
    repo_id: str, filename: str, commit: str, *, token: str | None = None, cache_dir: str | Path | None = None
) -> None:
    """Download a large file into the Hub's cache; everything else is left to `hf_hub_download`.

    Raises IntegrityError for bytes other than announced, and whatever the client raises when a download breaks.
    """
    if isinstance(try_to_load_from_cache(repo_id, filename, cache_dir=cache_dir, revision=commit), str):
        return
    url = hf_hub_url(repo_id, filename, revision=commit, endpoint=endpoint())
    try:
        metadata = get_hf_file_metadata(url, token=token, library_name="cpchub", endpoint=endpoint())
    except (HfHubHTTPError, OfflineModeIsEnabled):
        return  # hf_hub_download fails in the same way, with the exact error
    speaks_xet = not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None
    carried_by_xet = speaks_xet and metadata.xet_file_data is not None
    if metadata.etag is None or not is_sha256(metadata.etag) or carried_by_xet:
        return
    headers = build_hf_headers(token=token, library_name="cpchub")
    if urlsplit(url).netloc != urlsplit(metadata.location).netloc:
        headers.pop("authorization", None)  # storage at another origin uses a signed address and must not get the token
    blobs = Path(cache_dir or constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type="model") / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    blob = blobs / metadata.etag
    partial = blob.with_name(f"{blob.name}{PARTIAL}")
    if blob.exists():
        return
    with partial.open("ab") as file:
        if not locked(file.fileno(), wait=True):  # another process may be downloading it: wait, and use its bytes
            partial.unlink(missing_ok=True)
            return  # without locks two would write to one file; the client downloads to one of each process
        if blob.exists():
            partial.unlink(missing_ok=True)
            return
        _complete(file, metadata.location, headers, metadata.size)
        seen = file_sha256(partial)
        if seen != metadata.etag:
            file.truncate(0)
            raise IntegrityError(
                f"{filename} of {repo_id} came with sha256 {seen}, the Hub announced {metadata.etag}; it was dropped. "
                "Try again; if it stays so, do not trust the mirror or proxy in between."
            )
        partial.replace(blob)
    cache_sha256(blob, seen)


def _complete(file: BinaryIO, url: str, headers: dict[str, str], size: int | None) -> None:
    """Download the missing bytes; `file` is open for appending."""
    have = file.seek(0, os.SEEK_END)  # whoever held the lock before may have added to it since it was opened
    if size is not None and have > size:
        have = file.truncate(0)
    http_get(url, file, resume_size=have, headers=headers, expected_size=size)
    file.flush()
