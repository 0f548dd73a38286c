"""How we talk to the Hub: which one, and what its refusals mean to the person who asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

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

from cpchub.errors import HubError, WeightsUnavailableError


def endpoint() -> str | None:
    """The Hub to talk to; None is the public one. Read on each call, unlike huggingface_hub's own constant."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def hub_errors(repo_id: str, doing: str) -> Iterator[None]:
    """Turn the client's errors into ours, each with its way out."""
    try:
        yield
    except GatedRepoError as error:
        raise WeightsUnavailableError(
            f"{repo_id} is gated: accept its terms on its page, then log in (`hf auth login`) or pass token="
        ) from error
    except RepositoryNotFoundError as error:
        raise WeightsUnavailableError(
            f"The Hub has no repository {repo_id}, or it is private, and there is no such folder here: check the name, "
            "or log in (`hf auth login`)"
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(f"{repo_id} has no such revision; leave it out for the newest") from error
    except LocalEntryNotFoundError as error:
        raise WeightsUnavailableError(
            f"{repo_id} is not in the cache and the Hub cannot be reached: connect once, or copy the folder here and "
            "load it by its path"
        ) from error
    except HFValidationError as error:
        raise HubError(f"{repo_id!r} cannot be a Hub id ({error}); it looks like org/name") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        hint = "log in with a token that may write (`hf auth login`)" if status in (401, 403) else "try again later"
        raise HubError(
            f"{doing} {repo_id}: the Hub answered {status} ({error.server_message or error}); {hint}"
        ) from error
    except (HTTPError, FileMetadataError, ConnectionError) as error:
        raise HubError(
            f"{doing} {repo_id}: the Hub cannot be reached ({error}); check the network or HF_ENDPOINT"
        ) from error
