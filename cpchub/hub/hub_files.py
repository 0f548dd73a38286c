"""Fetch one file of a repository: without a request if it is cached and pinned, and without delay if the Hub is down.

The client alone would make a request even for a pinned file in a warm cache (for a list that its telemetry uses), and
would retry a Hub that is down for half a minute.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is httpx's or httpx2's, as installed
    FileMetadataError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
)

from cpchub.common.retry import retry
from cpchub.hub.client import endpoint

_COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch(
    repo_id: str,
    filename: str,
    revision: str | None = None,
    *,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    answers: bool = False,
) -> Path:
    """The file in the Hub's cache, downloaded if need be. `answers`: the Hub did a moment ago, and need not be asked.

    Raises LocalEntryNotFoundError where it is not here and the Hub cannot be reached, else what the client raises.
    """
    there = try_to_load_from_cache(repo_id, filename, cache_dir=cache_dir, revision=revision)
    if isinstance(there, str) and _COMMIT.fullmatch(revision or ""):
        return Path(there)
    if not isinstance(there, str) and not answers:
        _check_hub_answers(hf_hub_url(repo_id, filename, revision=revision, endpoint=endpoint()), token)
    path = hf_hub_download(
        repo_id, filename, revision=revision, token=token, cache_dir=cache_dir, endpoint=endpoint(),
        library_name="cpchub",
    )  # fmt: skip
    return Path(path)


def check_reachable(
    repo_id: str, filenames: Sequence[str], *, revision: str | None = None, cache_dir: str | Path | None = None
) -> None:
    """Raise LocalEntryNotFoundError where none of these files is here, and the Hub cannot be reached.

    For files that are fetched later, or by another library, which would try for most of a minute.
    """
    access: dict[str, Any] = {"cache_dir": cache_dir, "revision": revision}
    if not any(isinstance(try_to_load_from_cache(repo_id, name, **access), str) for name in filenames):
        if constants.HF_HUB_OFFLINE:
            raise LocalEntryNotFoundError("HF_HUB_OFFLINE is set")
        _check_hub_answers(hf_hub_url(repo_id, filenames[0], revision=revision, endpoint=endpoint()), None)


def _check_hub_answers(url: str, token: str | None) -> None:
    """Check whether the Hub answers: a refused connection counts at once, a server error after some seconds."""
    if constants.HF_HUB_OFFLINE:
        return  # the client knows it, too
    try:
        retry(
            lambda: get_hf_file_metadata(url, token=token, library_name="cpchub", endpoint=endpoint()),
            hopeless=lambda error: not _is_of_the_server(error),
        )
    except HfHubHTTPError as error:
        if _is_of_the_server(error):
            raise LocalEntryNotFoundError(str(error)) from error
    except HTTPError as error:
        raise LocalEntryNotFoundError(str(error)) from error
    except FileMetadataError:
        return  # like every other answer: the client fails in the same way, with the exact error


def _is_of_the_server(error: Exception) -> bool:
    return isinstance(error, HfHubHTTPError) and error.response.status_code >= 500
