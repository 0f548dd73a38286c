"""Find and fetch the folder of an encoder, and verify its files.

A name is a catalog name, a folder (`./photos`, `local-dir:photos`) or a Hub id (`org/name`, `hf-hub:org/name@rev`);
`cpchub.hub.places` has the rule.
Downloads go through huggingface_hub and its cache, so `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` mean
what they always mean; with a 40-hex revision and a warm cache there is no request at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cpchub.catalog.families import family_name, is_here
from cpchub.catalog.listing import get_spec, list_models
from cpchub.catalog.origin import converted_folder
from cpchub.catalog.spec import WEIGHTS, FileRecord, ModelSpec
from cpchub.errors import ArgumentError, UnknownModelError, WeightsUnavailableError
from cpchub.hub.integrity import refuse_pickles, verified
from cpchub.hub.places import check_folder, parse, tell_of_namesake


def find(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
) -> Path:
    """A local folder with the named encoder's files, downloaded if need be, its weights verified.

    Raises UnknownModelError, WeightsUnavailableError, HubError, IntegrityError, UnsafeWeightsError, ModelFolderError,
    ArgumentError.
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
    """Like `find`, but returns the spec. Its `folder` is the local one, and its records were checked.

    With `weights=False` only the description is needed: nothing is verified, and a recipe will do.
    """
    folder, repo_id = parse(name_or_path)
    if folder is not None:
        return _from_folder(folder, revision, weights)
    if repo_id is None:
        tell_of_namesake(str(name_or_path))
        return _from_catalog(get_spec(str(name_or_path), cache_dir=cache_dir), revision, token, cache_dir, weights)
    repo_id, _, written = repo_id.partition("@")
    try:
        known = get_spec(repo_id)
    except UnknownModelError:
        from cpchub.hub.from_hub import from_hub  # here, because the Hub's client takes a quarter of a second to import

        return from_hub(repo_id, revision or written or None, token, cache_dir, weights, name=repo_id)
    return _from_catalog(known, revision or written or None, token, cache_dir, weights)


def locate_local(
    name_or_path: str | Path, *, revision: str | None = None, cache_dir: str | Path | None = None
) -> ModelSpec:
    """Like `locate`, but without any request and without any check: the spec of what is on this machine.

    Raises WeightsUnavailableError where there is nothing, else as `locate`.
    """
    folder, repo_id = parse(name_or_path)
    if folder is not None:
        return _from_folder(folder, revision, weights=False)
    repo_id, _, written = (repo_id or str(name_or_path)).partition("@")
    revision = revision or written or None
    records: Mapping[str, FileRecord] = {}
    try:
        spec = get_spec(repo_id, cache_dir=cache_dir)
    except UnknownModelError:
        if "/" not in repo_id:
            raise
        name = repo_id
    else:
        if spec.folder is not None and (spec.folder / WEIGHTS).is_file():
            return spec
        if spec.origin is not None:
            return _converted(spec, cache_dir)
        if spec.repo_id is None:
            raise WeightsUnavailableError(no_weights(spec))
        name, repo_id = spec.name, spec.repo_id
        if revision is None or _is_commit(revision, spec.revision):
            revision, records = spec.revision, spec.files
    from cpchub.hub.from_hub import from_cache

    return from_cache(name, repo_id, revision, records, cache_dir)


def _from_folder(folder: Path, revision: str | None, weights: bool) -> ModelSpec:
    if folder.is_file():
        refuse_pickles([WEIGHTS] if folder.suffix == ".safetensors" else [folder.name], str(folder))
    check_folder(folder)
    if revision is not None:
        raise ArgumentError(f"{folder} is a folder, which has no revision {revision}; leave the revision out")
    if not weights:
        return ModelSpec.from_folder(folder)
    refuse_pickles((path.name for path in folder.iterdir()), str(folder))
    return verified(ModelSpec.from_folder(folder), str(folder))


def _from_catalog(
    spec: ModelSpec, revision: str | None, token: str | None, cache_dir: str | Path | None, weights: bool
) -> ModelSpec:
    if not weights:
        return spec
    if spec.folder is not None and (spec.folder / WEIGHTS).is_file():
        if revision is not None and not _is_commit(revision, spec.revision):
            raise ArgumentError(
                f"{spec.name} comes from a folder, which has no revision {revision}; leave the revision out"
            )
        return verified(spec, spec.name)
    if spec.origin is not None:
        if revision is not None:
            raise ArgumentError(
                f"{spec.name} is its authors' checkpoint, which has no revision {revision}; leave the revision out"
            )
        from cpchub.hub import public

        return verified(public.locate_public(spec, cache_dir), spec.name)
    if spec.repo_id is None:
        raise WeightsUnavailableError(no_weights(spec))
    from cpchub.hub.from_hub import from_hub

    pinned = revision is None or _is_commit(revision, spec.revision)
    fetched = from_hub(
        spec.repo_id, spec.revision if pinned else revision, token, cache_dir, weights, name=spec.name,
        release=spec if pinned else None,
    )  # fmt: skip
    return replace(fetched, summary=fetched.summary or spec.summary, aliases=spec.aliases)


def _converted(spec: ModelSpec, cache_dir: str | Path | None) -> ModelSpec:
    """The spec of a public encoder that was fetched before."""
    if not is_here(spec, cache_dir):
        raise WeightsUnavailableError(
            f"{spec.name} is not on this machine; `cpchub fetch {spec.name}` or `cpchub.load` fetches it"
        )
    from cpchub.hub import public

    return public.of_folder(spec, converted_folder(spec.name, cache_dir))


def _is_commit(revision: str, commit: str | None) -> bool:
    """Whether a revision is this commit, whole or by its first digits (git asks for seven)."""
    return commit is not None and len(revision) >= 7 and commit.startswith(revision.lower())


def no_weights(spec: ModelSpec) -> str:
    """Why there are no weights, and the ways out."""
    recipe = (spec.recipe or {}).get("name")
    train = f"`cpchub train {recipe}`" if recipe else "`cpchub train --list` shows the recipes"
    ways = f"Train it ({train}), or take the untrained network with pretrained=False"
    family = family_name(spec.name)
    if family is None or spec.folder is not None:
        return f"{spec.name} is a recipe: there are no weights for it yet. {ways}"
    there = [name for status in ("hub", "public") for name in list_models(family, status=status) if name != spec.name]
    fetch = f"Load {there[0]} by its name, which downloads it. Or: " if there else ""
    return (
        f"No {spec.method} encoder is here, neither shipped nor in CPCHUB_HUB nor in the cache. {fetch}{ways} "
        f"({spec.architecture})"
    )
