"""Find, fetch, verify and publish the folder of an encoder.

A name is a catalog name, a folder (`./export`, `local-dir:./export`) or a Hub id (`org/name`, `hf-hub:org/name@rev`).
Downloads go through huggingface_hub and its cache, so `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` mean
what they always mean; with a 40-hex revision and a warm cache there is no request at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is httpx's or httpx2's, as installed
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from cpchub.catalog import (
    CARD,
    CONFIG,
    EVALUATION,
    RECIPE,
    WEIGHTS,
    FileRecord,
    ModelSpec,
    get_spec,
)
from cpchub.errors import (
    HubError,
    ModelFolderError,
    UnknownModelError,
    WeightsUnavailableError,
)
from cpchub.integrity import PICKLE_SUFFIXES, refuse_pickles, sha256_of, verify

_SHA256 = re.compile(r"[0-9a-f]{64}")


def find(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
) -> Path:
    """A local folder with the named encoder's files, downloaded if need be, its weights verified.

    Raises UnknownModelError, WeightsUnavailableError, HubError, IntegrityError, UnsafeWeightsError, ModelFolderError.
    """
    folder = locate(name_or_path, revision=revision, token=token, cache_dir=cache_dir).folder
    if folder is None:
        raise WeightsUnavailableError(f"{name_or_path} has no folder")
    return folder


def locate(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    weights: bool = True,
) -> ModelSpec:
    """Like `find`, but the spec, whose `folder` is the local one and whose records were checked.

    With `weights=False` only the description is needed: nothing is verified, and a recipe will do.
    """
    folder, repo_id = _parse(name_or_path)
    if folder is not None:
        if not folder.is_dir():
            refuse_pickles([folder.name] if folder.is_file() else [], str(folder))
        elif weights:
            refuse_pickles((path.name for path in folder.iterdir()), str(folder))
        spec = ModelSpec.from_folder(folder)
        return _verified(spec, str(folder)) if weights else spec
    if repo_id is None:
        return _from_catalog(get_spec(str(name_or_path)), revision, token, cache_dir, weights)
    repo_id, _, written = repo_id.partition("@")
    try:
        known = get_spec(repo_id)
    except UnknownModelError:
        return _from_hub(repo_id, revision or written or None, token, cache_dir, weights, name=repo_id)
    return _from_catalog(known, revision or written or None, token, cache_dir, weights)


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
            f"The Hub has no repository {repo_id}, or it is private: check the name, or log in (`hf auth login`)"
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


def _parse(name_or_path: str | Path) -> tuple[Path | None, str | None]:
    """A folder, or a Hub id, or neither (then it is a catalog name)."""
    if isinstance(name_or_path, Path):
        return name_or_path.expanduser(), None
    text = name_or_path.strip()
    if text.startswith(("local-dir:", "folder:")):
        return Path(text.partition(":")[2]).expanduser(), None
    if text.startswith(("hf-hub:", "hf_hub:")):
        return None, text.partition(":")[2]
    if text.startswith((".", "~", "/")) or text.count("/") > 1 or text.endswith(PICKLE_SUFFIXES):
        return Path(text).expanduser(), None
    if "/" in text:
        return (Path(text), None) if Path(text).is_dir() else (None, text)
    if Path(text).is_dir():  # a bare name is a folder only if the catalog does not have it
        try:
            get_spec(text)
        except UnknownModelError:
            return Path(text), None
    return None, None


def _from_catalog(
    spec: ModelSpec, revision: str | None, token: str | None, cache_dir: str | Path | None, weights: bool
) -> ModelSpec:
    if not weights:
        return spec
    if spec.folder is not None and (spec.folder / WEIGHTS).is_file():
        if revision not in (None, spec.revision):
            raise WeightsUnavailableError(
                f"{spec.name} comes from a folder, which has no revision {revision}; leave the revision out"
            )
        return _verified(spec, spec.name)
    if spec.repo_id is None:
        recipe = (spec.recipe or {}).get("name", spec.name)
        raise WeightsUnavailableError(
            f"{spec.name} is a recipe: there are no weights for it yet. Train it (`cpchub train {recipe}`), or take "
            "the untrained network with pretrained=False"
        )
    pinned = revision in (None, spec.revision)
    fetched = _from_hub(
        spec.repo_id, spec.revision if pinned else revision, token, cache_dir, weights, name=spec.name,
        release=spec if pinned else None,
    )  # fmt: skip
    return replace(fetched, summary=fetched.summary or spec.summary, aliases=spec.aliases)


def _from_hub(
    repo_id: str,
    revision: str | None,
    token: str | None,
    cache_dir: str | Path | None,
    weights: bool,
    *,
    name: str,
    release: ModelSpec | None = None,
) -> ModelSpec:
    """Download our files of a repository, all of one commit, and check them against the release or their own record."""

    def fetch(filename: str, at: str | None) -> Path:
        path = hf_hub_download(
            repo_id, filename, revision=at, token=token, cache_dir=cache_dir, endpoint=endpoint(), library_name="cpchub"
        )
        return Path(path)

    with hub_errors(repo_id, "Fetching"):
        try:
            folder = fetch(CONFIG, revision).parent
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError as error:
            raise ModelFolderError(f"{repo_id} has no {CONFIG}, so it is not an encoder that timm can build") from error
        commit = folder.name  # the cache names a snapshot's folder by its commit; the rest is fetched from the same one
        if weights:
            try:
                fetch(WEIGHTS, commit)
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                refuse_pickles(
                    HfApi(endpoint=endpoint(), token=token).list_repo_files(repo_id, revision=commit), repo_id
                )
                raise
        for filename in (CARD, RECIPE, EVALUATION):
            try:
                fetch(filename, commit)
            except EntryNotFoundError:
                continue  # descriptive files: a repository without them still loads
    spec = ModelSpec.from_folder(folder, status="hub")
    files = {**spec.files, **(release.files if release else {})}
    spec = replace(spec, repo_id=repo_id, revision=commit, files=files)
    if release is not None or spec.name == commit:
        spec = replace(spec, name=name)
    return _verified(spec, repo_id) if weights else spec


def _verified(spec: ModelSpec, where: str) -> ModelSpec:
    """The spec with a record of its weights, after every recorded file was found to be as recorded."""
    folder = spec.folder
    if folder is None:
        raise ModelFolderError(f"{where} has no folder to read weights from")
    weights = folder / WEIGHTS
    files = dict(spec.files)
    if WEIGHTS not in files:
        blob = weights.resolve().name  # the Hub's cache names a large file by the sha256 that the Hub has for it
        files[WEIGHTS] = FileRecord(blob if _SHA256.fullmatch(blob) else sha256_of(weights))
    for filename, record in files.items():
        if (folder / filename).is_file():
            verify(folder / filename, record)
    return replace(spec, files=files)
