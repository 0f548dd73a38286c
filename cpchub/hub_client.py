"""How we talk to the Hub: which one, and what its refusals mean to the person who asked."""

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

from cpchub.errors import HubConflictError, HubError, NoSpaceError, WeightsUnavailableError
from cpchub.files import FULL


def endpoint() -> str | None:
    """The Hub to talk to; None is the public one. Read on each call, unlike huggingface_hub's own constant."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def hub_errors(repo_id: str, doing: str) -> Iterator[None]:
    """Turn the client's errors into ours, each with its way out."""
    try:
        yield
    except GatedRepoError as error:
        page = f"{endpoint() or constants.ENDPOINT}/{repo_id}"
        raise WeightsUnavailableError(
            f"{repo_id} is gated: accept its terms on {page}, then log in (`hf auth login`, HF_TOKEN) or pass token="
        ) from error
    except RepositoryNotFoundError as error:
        raise WeightsUnavailableError(
            f"The Hub has no repository {repo_id}, or it is private, and there is no such folder here: check the name, "
            "or log in (`hf auth login`, HF_TOKEN) or pass token="
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(f"{repo_id} has no such revision; leave it out for the newest") from error
    except LocalEntryNotFoundError as error:
        offline = constants.HF_HUB_OFFLINE
        why, way = ("HF_HUB_OFFLINE is set", "unset it") if offline else ("the Hub cannot be reached", "connect")
        raise WeightsUnavailableError(
            f"{repo_id} is not in the cache and {why}: {way} once, or copy the folder here and load it by its path"
        ) from error
    except HFValidationError as error:
        raise HubError(f"{repo_id!r} cannot be a Hub id ({error}); it looks like org/name") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 409:
            raise HubConflictError(
                f"{repo_id} is there already, which could not be seen a moment ago; if it is private, log in with a "
                "token that may read it, else publish again to put yours on top of it"
            ) from error
        if status == 412:
            raise HubConflictError(
                f"{repo_id} has changed while it was being published ({error.server_message or status}); nothing of "
                "it was overwritten. Look at what is there now, and publish again to put yours on top of it"
            ) from error
        hint = "log in with a token that may write (`hf auth login`)" if status in (401, 403) else "try again later"
        raise HubError(
            f"{doing} {repo_id}: the Hub answered {status} ({error.server_message or error}); {hint}"
        ) from error
    except (HTTPError, FileMetadataError, ConnectionError) as error:
        if "/xet-" in str(error):
            raise HubError(
                f"{doing} {repo_id}: this Hub does not speak Xet ({error}); set HF_HUB_DISABLE_XET=1 and try again"
            ) from error
        kept = ". Weights that have arrived in part are kept: the same call goes on from there"
        raise HubError(
            f"{doing} {repo_id}: the Hub cannot be reached, or broke off ({error}); check the network or HF_ENDPOINT"
            f"{kept if doing == 'Fetching' else ''}"
        ) from error
    except OSError as error:
        if error.errno in FULL:
            raise NoSpaceError(
                f"no space left for {repo_id} in the cache; make room, or set HF_HOME to another disk"
            ) from error
        raise HubError(
            f"{doing} {repo_id}: {error}; the cache must be a folder that you may write to (HF_HOME, cache_dir=)"
        ) from error
