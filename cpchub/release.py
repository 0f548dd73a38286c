"""Publish a model folder: to the Hub in one commit, or to a folder that stands in for it.

The card is rendered again for the name it is published under. Where a card is there already, only our block of it is
replaced, so what people wrote on the Hub stays; text of the folder's own card, where it has any, takes its place.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError

from cpchub import card
from cpchub.catalog import (
    CARD,
    CONFIG,
    EVALUATION,
    PUBLISHED_FILES,
    RECIPE,
    RELEASE,
    FileRecord,
    ModelSpec,
    default_org,
    read_json,
)
from cpchub.errors import ModelFolderError, OutputError
from cpchub.files import put_in_place, visible_names, writing
from cpchub.hub_client import endpoint as default_endpoint
from cpchub.hub_client import hub_errors
from cpchub.integrity import refuse_pickles, sha256_of, sha256_of_bytes, verified


@dataclass(frozen=True)
class Release:
    """What was published: where, as which commit (40 hex), and the sha256 and size of each file."""

    repo_id: str
    revision: str
    files: Mapping[str, FileRecord]

    def write(self, folder: Path) -> Path:
        """Record the release as `release.json` in a catalog entry, which pins the encoder to this very commit."""
        path = folder / RELEASE
        content = {
            "repo_id": self.repo_id,
            "revision": self.revision,
            "files": {name: asdict(record) for name, record in self.files.items()},
        }
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return path


def publish(
    folder: str | Path, repo_id: str, *, private: bool = False, token: str | None = None, endpoint: str | None = None
) -> Release:
    """Publish a model folder as `repo_id` (`org/name`; a bare name goes to CPCHUB_ORG), in one commit.

    A path or `folder:PATH` as `repo_id` publishes to that folder instead, for a hub on a shared disk (`CPCHUB_HUB`).
    The repository is made if it does not exist. Nothing is uploaded unless the weights are as recorded and the card
    has no placeholder.

    Raises ModelFolderError, IntegrityError, UnsafeWeightsError, OutputError, HubError.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ModelFolderError(f"{folder} is not a folder; give one that `export` wrote")
    refuse_pickles((path.name for path in folder.iterdir()), str(folder))
    spec = verified(ModelSpec.from_folder(folder), str(folder))
    if "cpchub" not in read_json(folder / CONFIG):
        raise ModelFolderError(f"{folder / CONFIG} has no cpchub facts to make a card from; export the folder again")
    if repo_id.startswith(("folder:", "/", ".", "~")):
        return _to_folder(spec, folder, Path(repo_id.removeprefix("folder:")).expanduser())
    return _to_hub(spec, folder, repo_id if "/" in repo_id else f"{default_org()}/{repo_id}", private, token, endpoint)


def _to_hub(
    spec: ModelSpec, folder: Path, repo_id: str, private: bool, token: str | None, endpoint: str | None
) -> Release:
    endpoint = endpoint or default_endpoint()
    api = HfApi(endpoint=endpoint, token=token, library_name="cpchub")
    _card_for(folder, repo_id, "")  # a card that cannot be published is refused before a repository is made
    with hub_errors(repo_id, "Publishing"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        try:
            remote = Path(hf_hub_download(repo_id, CARD, token=token, endpoint=endpoint)).read_text(encoding="utf-8")
        except RemoteEntryNotFoundError:
            remote = ""
        text = _card_for(folder, repo_id, remote)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [CommitOperationAdd(CARD, text.encode())]
        operations += [
            CommitOperationAdd(name, folder / name)
            for name in PUBLISHED_FILES
            if name != CARD and (folder / name).is_file()
        ]
        # a recipe or an evaluation that is no longer there would be taken for that of the new weights
        gone = {name for name in PUBLISHED_FILES if name != CARD and not (folder / name).is_file()}
        operations += [CommitOperationDelete(name) for name in sorted(gone.intersection(api.list_repo_files(repo_id)))]
        commit = api.create_commit(repo_id, operations, commit_message=f"Publish {spec.name}")
    return Release(repo_id, commit.oid, _records(folder, text))


def _to_folder(spec: ModelSpec, folder: Path, target: Path) -> Release:
    if target.exists() and (not target.is_dir() or not set(visible_names(target)) <= set(PUBLISHED_FILES)):
        raise OutputError(f"{target} holds something other than a published encoder; choose another folder")
    if target.resolve() == folder.resolve():
        raise OutputError(f"{target} is the folder itself; choose another one to publish to")
    repo_id = f"{default_org()}/{spec.name}"
    existing = (target / CARD).read_text(encoding="utf-8") if (target / CARD).is_file() else ""
    text = _card_for(folder, repo_id, existing)
    records = _records(folder, text)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            complete = Path(scratch) / target.name
            complete.mkdir()
            for name in records:
                if name != CARD:
                    shutil.copyfile(folder / name, complete / name)
            (complete / CARD).write_text(text, encoding="utf-8")
            put_in_place(complete, target)
    contents = "".join(f"{name} {record.sha256}\n" for name, record in sorted(records.items()))
    return Release(str(target), hashlib.sha1(contents.encode(), usedforsecurity=False).hexdigest(), records)


def _card_for(folder: Path, repo_id: str, existing: str) -> str:
    """The card to publish: our block inside the folder's own text, or inside that of the card that is there already."""
    recipe, evaluation = (
        read_json(folder / name) if (folder / name).is_file() else None for name in (RECIPE, EVALUATION)
    )
    rendered = card.render(read_json(folder / CONFIG), recipe, evaluation, repo_id=repo_id)
    local = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).is_file() else ""
    text = card.merge(existing, rendered, local=local)
    card.check(text, repo_id)
    return text


def _records(folder: Path, card_text: str) -> dict[str, FileRecord]:
    encoded = card_text.encode()
    records = {CARD: FileRecord(sha256_of_bytes(encoded), len(encoded))}
    for name in PUBLISHED_FILES:
        path = folder / name
        if name != CARD and path.is_file():
            records[name] = FileRecord(sha256_of(path), path.stat().st_size)
    return records
