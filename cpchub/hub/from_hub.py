"""The files of an encoder from the Hub, through huggingface_hub and its cache: all of one commit, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RemoteEntryNotFoundError

from cpchub.catalog.spec import CARD, CONFIG, EVALUATION, RECIPE, WEIGHTS, FileRecord, ModelSpec
from cpchub.errors import ModelFolderError, WeightsUnavailableError
from cpchub.hub.client import endpoint, hub_errors
from cpchub.hub.download import download_resumable
from cpchub.hub.hub_files import fetch
from cpchub.hub.integrity import refuse_pickles, verified


def from_cache(
    name: str, repo_id: str, revision: str | None, records: Mapping[str, FileRecord], cache_dir: str | Path | None
) -> ModelSpec:
    """The spec of what is in the Hub's cache, without any request. Raises WeightsUnavailableError where nothing is."""
    cached = try_to_load_from_cache(repo_id, CONFIG, cache_dir=cache_dir, revision=revision)
    if not isinstance(cached, str):
        raise WeightsUnavailableError(f"{name} is not on this machine; `cpchub.load` downloads it")
    snapshot = Path(cached).parent
    spec = ModelSpec.from_folder(snapshot, status="hub")
    return replace(spec, name=name, repo_id=repo_id, revision=snapshot.name, files={**spec.files, **records})


def from_hub(
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

    access: dict[str, Any] = {"token": token, "cache_dir": cache_dir}
    with hub_errors(repo_id, "Fetching"):
        try:
            folder = fetch(repo_id, CONFIG, revision, **access).parent
        except RemoteEntryNotFoundError as error:
            raise ModelFolderError(f"{repo_id} has no {CONFIG}, so it is not an encoder that timm can build") from error
        commit = folder.name  # the cache names a snapshot's folder by its commit; the rest is fetched from the same one
        if weights:
            download_resumable(repo_id, WEIGHTS, commit, **access)
            try:
                fetch(repo_id, WEIGHTS, commit, answers=True, **access)
            except RemoteEntryNotFoundError:
                refuse_pickles(
                    HfApi(endpoint=endpoint(), token=token).list_repo_files(repo_id, revision=commit), repo_id
                )
                raise
        _describe(repo_id, commit, **access)
    spec = ModelSpec.from_folder(folder, status="hub")
    files = {**spec.files, **(release.files if release else {})}
    spec = replace(spec, repo_id=repo_id, revision=commit, files=files)
    if release is not None or spec.name == commit:
        spec = replace(spec, name=name)
    return verified(spec, repo_id, every_file=release is not None) if weights else spec


def _describe(repo_id: str, commit: str, *, token: str | None, cache_dir: str | Path | None) -> None:
    """Fetch the descriptive files; a repository without them still loads, and so does one whose Hub is out of reach."""
    answers = False
    for filename in (CARD, RECIPE, EVALUATION):
        cached = try_to_load_from_cache(repo_id, filename, cache_dir=cache_dir, revision=commit)
        if cached is not None:  # cached, or known to be missing in this commit, which the client would check again
            continue
        try:
            fetch(repo_id, filename, commit, token=token, cache_dir=cache_dir, answers=answers)
        except LocalEntryNotFoundError:
            return  # the Hub is out of reach for the next file too
        except EntryNotFoundError:
            pass
        answers = True
