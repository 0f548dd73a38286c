"""The Hub's address, and its errors translated into ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is httpx's or httpx2's, as installed
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from cpchub.common.files import FULL, NO_LOCKS
from cpchub.errors import CpchubError, HubConflictError, HubError, NoSpaceError, WeightsUnavailableError
from cpchub.hub.places import no_encoder_beside


def endpoint(given: str | None = None) -> str | None:
    """The address of the Hub, `given` or HF_ENDPOINT, without a slash at the end; None is the public Hub.

    Read on each call, unlike huggingface_hub's own constant.
    """
    return (given or os.environ.get("HF_ENDPOINT") or "").strip().rstrip("/") or None


@contextmanager
def hub_errors(repo_id: str, doing: str) -> Iterator[None]:
    """Turn the client's errors into ours, each with a way out. Any exception counts as an error of the Hub: a mirror
    or a storage may answer anything.
    """
    try:
        yield
    except (CpchubError, MemoryError):
        raise
    except Exception as error:
        raise _ours(error, repo_id, doing) from error


def _ours(error: Exception, repo_id: str, doing: str) -> CpchubError:
    if type(error) is RuntimeError and isinstance(error.__cause__, Exception):  # "Error while uploading 'FILE' ..."
        return _ours(error.__cause__, repo_id, f"{str(error).rstrip('.')}. {doing}")
    if isinstance(error, GatedRepoError):
        return WeightsUnavailableError(
            f"{repo_id} is gated: accept its terms on {endpoint() or constants.ENDPOINT}/{repo_id}, then log in "
            "(`hf auth login`, HF_TOKEN) or pass token="
        )
    if isinstance(error, RepositoryNotFoundError):
        return WeightsUnavailableError(
            f"The Hub has no repository {repo_id}, or it is private, and there is no such model folder here: check the "
            f"name, or log in (`hf auth login`, HF_TOKEN) or pass token={no_encoder_beside(repo_id)}"
        )
    if isinstance(error, RevisionNotFoundError):
        return HubError(f"{repo_id} has no such revision; leave it out for the newest")
    if isinstance(error, LocalEntryNotFoundError):
        return _not_here(error, repo_id)
    if isinstance(error, HFValidationError):
        return HubError(f"{repo_id!r} cannot be a Hub id ({error}); it looks like org/name")
    if isinstance(error, HfHubHTTPError):
        return _refused(error, repo_id, doing)
    if isinstance(error, (HTTPError, FileMetadataError, ConnectionError)):
        if "/xet-" in str(error):
            return HubError(
                f"{doing} {repo_id}: this Hub does not speak Xet ({error}); set HF_HUB_DISABLE_XET=1 and try again"
            )
        kept = ". Weights that have arrived in part are kept: the same call goes on from there"
        return HubError(
            f"{doing} {repo_id}: the Hub cannot be reached, or broke off ({error}); check the network or HF_ENDPOINT"
            f"{kept if doing == 'Fetching' else ''}"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return _not_written(error, repo_id, doing)
    # The client's own advice would be for its own arguments (`force_download=True`), and stands on a line of its own.
    said = str(error).partition("\n")[0] or type(error).__name__
    return HubError(
        f"{doing} {repo_id}: what came from the Hub is not what it should be ({said}); the same call tries again, and "
        "fetches only what is missing. If it stays so, look at HF_ENDPOINT, and at what is in between"
    )


def _not_here(error: LocalEntryNotFoundError, repo_id: str) -> CpchubError:
    cause = error.__cause__
    if constants.HF_HUB_OFFLINE:
        why, way = "HF_HUB_OFFLINE is set", "unset it once"
    elif isinstance(cause, HfHubHTTPError):
        why, way = f"the Hub answers {cause.response.status_code}", "try again later"
    else:
        why, way = f"the Hub cannot be reached{f' ({cause})' if cause else ''}", "connect once"
    return WeightsUnavailableError(
        f"{repo_id} is not in the cache and {why}: {way}, or copy the folder here and load it by its path"
        f"{no_encoder_beside(repo_id) or _no_folder(repo_id)}"
    )


def _no_folder(repo_id: str) -> str:
    """For `runs/photos` of somebody who has trained nothing yet; nobody means a folder by `timm/NAME`."""
    return "" if repo_id.startswith("timm/") else f". There is no folder {repo_id} here"


def _refused(error: HfHubHTTPError, repo_id: str, doing: str) -> CpchubError:
    status = error.response.status_code
    if status == 409:
        return HubConflictError(
            f"{repo_id} is there already, which could not be seen a moment ago; if it is private, log in with a "
            "token that may read it, else publish again to put yours on top of it"
        )
    if status == 412:
        return HubConflictError(
            f"{repo_id} has changed while it was being published ({error.server_message or status}); nothing of "
            "it was overwritten. Look at what is there now, and publish again to put yours on top of it"
        )
    hint = "log in with a token that may write (`hf auth login`)" if status in (401, 403) else "try again later"
    said = error.server_message or error.response.reason_phrase  # its message has the address, maybe signed
    return HubError(f"{doing} {repo_id}: the Hub answered {status} ({said}); {hint}")


def _not_written(error: OSError, repo_id: str, doing: str) -> CpchubError:
    if error.errno in FULL:
        return NoSpaceError(f"no space left for {repo_id} in the cache; make room, or set HF_HOME to another disk")
    if error.errno in NO_LOCKS:
        return HubError(
            f"{doing} {repo_id}: the file system of the cache cannot lock ({error}); set HF_HOME, or cache_dir=, to a "
            "folder on another one"
        )
    return HubError(
        f"{doing} {repo_id}: {error}; the cache must be a folder that you may write to (HF_HOME, cache_dir=)"
    )
