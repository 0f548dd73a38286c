"""Publish a model folder: to the Hub in one commit, or to a folder that stands in for it.

First a `Plan`: the card rendered for the name it is published under and checked, and each file compared with what is
there. Then the upload, on top of the very commit that the plan looked at: if somebody else's came in between, nothing
is overwritten. A `Release` says what came of it, and `record` pins a catalog entry to that commit.

Where a card is there already, only our block of it is replaced, so what people wrote on the Hub stays; text of the
folder's own card, where it has any, takes its place.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from cpchub import card
from cpchub.catalog import (
    CARD,
    CONFIG,
    EVALUATION,
    PUBLISHED_FILES,
    RECIPE,
    RELEASE,
    WEIGHTS,
    FileRecord,
    ModelSpec,
    default_org,
    read_json,
)
from cpchub.errors import ArgumentError, HubConflictError, ModelFolderError, OutputError
from cpchub.files import expanded, put_in_place, replacing, visible_names, write_json, writing
from cpchub.hub_client import endpoint as default_endpoint
from cpchub.hub_client import hub_errors
from cpchub.integrity import refuse_pickles, sha256_of, sha256_of_bytes, verified
from cpchub.places import holds_encoder, written_folder, written_repository

Change = Literal["new", "changed", "same", "removed"]


@dataclass(frozen=True)
class Plan:
    """What publishing would do: the fate of each file, on top of which commit (None: the repository is made)."""

    repo_id: str
    parent: str | None
    changes: Mapping[str, Change]
    files: Mapping[str, FileRecord]
    card: str = field(repr=False)


@dataclass(frozen=True)
class Release:
    """What was published: where, as which commit (40 hex), and the sha256 and size of each file."""

    repo_id: str
    revision: str
    files: Mapping[str, FileRecord]
    card: str = field(default="", repr=False, compare=False)

    def record(self, folder: str | Path, entry: str | Path) -> Path:
        """Make `entry` (`model_cards/<name>`) the catalog's entry of what `folder` was published as; returns it.

        The entry gets the published description and a `release.json`, which pins it to this very commit; weights only
        if it had weights before, as an encoder that ships with the package.

        Raises OutputError if `entry` holds anything else, ArgumentError for a release to a folder, NoSpaceError.
        """
        if self.repo_id.startswith("folder:"):
            raise ArgumentError(
                f"{self.repo_id} is no repository to pin an entry to; publish to the Hub, or set CPCHUB_HUB"
            )
        folder, entry = expanded(folder), expanded(entry)
        _refuse_foreign(entry, {*PUBLISHED_FILES, RELEASE})
        with writing(entry):
            entry.mkdir(parents=True, exist_ok=True)
        ships = (entry / WEIGHTS).is_file()
        for name in PUBLISHED_FILES:
            if name not in self.files:
                (entry / name).unlink(missing_ok=True)
            elif name != WEIGHTS or ships:
                with replacing(entry / name) as partial:
                    if name == CARD:
                        partial.write_text(self.card, encoding="utf-8")
                    else:
                        shutil.copyfile(folder / name, partial)
        content = {"repo_id": self.repo_id, "revision": self.revision, "files": _as_json(self.files)}
        write_json(entry / RELEASE, content)
        return entry


def plan(folder: str | Path, repo_id: str, *, token: str | None = None, endpoint: str | None = None) -> Plan:
    """What `publish` would do with the same arguments; nothing is made or uploaded. Raises as `publish` does."""
    folder, target, repo_id = _read(folder, repo_id)
    if target is not None:
        return _plan_for_folder(folder, target)
    return _plan_for_hub(folder, repo_id, _api(token, endpoint))


def publish(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    parent: str | None = None,
) -> Release:
    """Publish a model folder as `repo_id` (`org/name`; a bare name goes to CPCHUB_ORG), in one commit.

    A path or `folder:PATH` as `repo_id` publishes to that folder instead, for a hub on a shared disk (`CPCHUB_HUB`).
    Where `org/name` is a folder with an encoder, `hf-hub:org/name` means the Hub (`cpchub.places` has the rule).
    The repository is made if it does not exist. Nothing is uploaded unless the weights are as recorded and the card
    has no placeholder. `parent` is the commit that you take for the newest: if it is not, nothing is uploaded.

    Raises ModelFolderError, IntegrityError, UnsafeWeightsError, OutputError, HubError, and HubConflictError where the
    repository is changed by somebody else meanwhile.
    """
    folder, target, repo_id = _read(folder, repo_id)
    if target is not None:
        planned = _plan_for_folder(folder, target)
        _refuse_other_parent(planned, parent)
        return _to_folder(planned, folder, target)
    api = _api(token, endpoint)
    planned = _plan_for_hub(folder, repo_id, api)
    _refuse_other_parent(planned, parent)
    return _to_hub(planned, folder, private, api)


def _read(folder: str | Path, repo_id: str) -> tuple[Path, Path | None, str]:
    """The folder, checked; where it goes if that is a folder too; the repository's whole name."""
    folder = expanded(folder)
    if not folder.is_dir():
        raise ModelFolderError(
            f"{folder} is not a folder; give a run's export/, or a folder that `cpchub import` wrote"
        )
    refuse_pickles((path.name for path in folder.iterdir()), str(folder))
    spec = verified(ModelSpec.from_folder(folder), str(folder))
    if "cpchub" not in read_json(folder / CONFIG):
        raise ModelFolderError(f"{folder / CONFIG} has no cpchub facts to make a card from; export the folder again")
    target = written_folder(repo_id)
    if target is not None:
        return folder, target, f"{default_org()}/{spec.name}"
    written = written_repository(repo_id)
    if written is None and holds_encoder(Path(repo_id)):
        raise OutputError(
            f"{repo_id} is a folder with an encoder here, which is what `cpchub.load` means by it; write "
            f"hf-hub:{repo_id} to publish to the Hub, or folder:{repo_id} to publish to that folder"
        )
    repo_id = written or repo_id
    return folder, None, repo_id if "/" in repo_id else f"{default_org()}/{repo_id}"


def _api(token: str | None, endpoint: str | None) -> HfApi:
    return HfApi(endpoint=default_endpoint(endpoint), token=token, library_name="cpchub")


def _refuse_other_parent(planned: Plan, parent: str | None) -> None:
    if parent is not None and not (planned.parent or "nothing").startswith(parent):
        raise HubConflictError(
            f"{planned.repo_id} is at {planned.parent or 'no commit yet'}, not at {parent}; nothing was uploaded. Look "
            "at what is there now, and publish again with that commit as parent"
        )


def _plan_for_hub(folder: Path, repo_id: str, api: HfApi) -> Plan:
    there: dict[str, RepoFile] = {}
    existing = ""
    with hub_errors(repo_id, "Publishing"):
        head = _head(api, repo_id)
        if head is not None:
            tree = api.list_repo_tree(repo_id, revision=head)
            there = {file.path: file for file in tree if isinstance(file, RepoFile)}
        if CARD in there:
            path = hf_hub_download(repo_id, CARD, revision=head, token=api.token, endpoint=api.endpoint)
            existing = Path(path).read_text(encoding="utf-8")
    text = _card_for(folder, repo_id, existing)
    contents = _contents(folder, text)
    changes: dict[str, Change] = {
        name: "new" if name not in there else "same" if _is_same(there[name], content) else "changed"
        for name, content in contents.items()
    }
    # a recipe or an evaluation that is no longer there would be taken for that of the new weights
    changes |= {name: "removed" for name in PUBLISHED_FILES if name in there and name not in contents}
    return Plan(repo_id, head, changes, _records(contents), text)


def _head(api: HfApi, repo_id: str) -> str | None:
    """The newest commit of a repository; None if there is no repository that we may see."""
    try:
        return api.model_info(repo_id).sha
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return None


def _is_same(there: RepoFile, content: Path | bytes) -> bool:
    """Whether the Hub has these bytes: it names large files by their sha256, small ones by git's sha1."""
    if there.lfs is not None:
        return there.lfs.sha256 == (sha256_of_bytes(content) if isinstance(content, bytes) else sha256_of(content))
    data = content if isinstance(content, bytes) else content.read_bytes()
    return there.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _to_hub(planned: Plan, folder: Path, private: bool, api: HfApi) -> Release:
    repo_id, parent = planned.repo_id, planned.parent
    if parent is not None and set(planned.changes.values()) == {"same"}:
        return Release(repo_id, parent, planned.files, planned.card)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationDelete(name)
        if change == "removed"
        else CommitOperationAdd(name, planned.card.encode() if name == CARD else folder / name)
        for name, change in planned.changes.items()
        if change != "same"
    ]
    with hub_errors(repo_id, "Publishing"):
        if parent is None:
            api.create_repo(repo_id, private=private)
            parent = _head(api, repo_id)
        try:
            commit = api.create_commit(
                repo_id, operations, commit_message=f"Publish {repo_id.partition('/')[2]}", parent_commit=parent
            )
        except ValueError as error:
            if "README.md" not in str(error):
                raise
            raise ModelFolderError(f"The Hub refuses the card's front matter: {error}") from error
    return Release(repo_id, commit.oid, planned.files, planned.card)


def _plan_for_folder(folder: Path, target: Path) -> Plan:
    with writing(target):
        _refuse_foreign(target, {*PUBLISHED_FILES, RELEASE})
        if target.resolve() == folder.resolve():
            raise OutputError(f"{target} is the folder itself; choose another one to publish to")
        there = {name: target / name for name in PUBLISHED_FILES if (target / name).is_file()}
        existing = there[CARD].read_text(encoding="utf-8") if CARD in there else ""
        before = {name: FileRecord(sha256_of(path), path.stat().st_size) for name, path in there.items()}
    text = _card_for(folder, f"{default_org()}/{ModelSpec.from_folder(folder).name}", existing)
    records = _records(_contents(folder, text))
    changes: dict[str, Change] = {
        name: "new" if name not in before else "same" if before[name] == record else "changed"
        for name, record in records.items()
    }
    changes |= {name: "removed" for name in before if name not in records}
    return Plan(f"folder:{target}", _revision(before) if before else None, changes, records, text)


def _to_folder(planned: Plan, folder: Path, target: Path) -> Release:
    revision = _revision(planned.files)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            complete = Path(scratch) / target.name
            complete.mkdir()
            for name in planned.files:
                if name != CARD:
                    shutil.copyfile(folder / name, complete / name)
            (complete / CARD).write_text(planned.card, encoding="utf-8")
            write_json(complete / RELEASE, {"revision": revision, "files": _as_json(planned.files)})
            put_in_place(complete, target)
    return Release(planned.repo_id, revision, planned.files, planned.card)


def _as_json(records: Mapping[str, FileRecord]) -> dict[str, dict[str, Any]]:
    return {name: asdict(record) for name, record in records.items()}


def _revision(records: Mapping[str, FileRecord]) -> str:
    """A folder's stand-in for a commit: 40 hex digits of what is in it."""
    contents = "".join(f"{name} {record.sha256}\n" for name, record in sorted(records.items()))
    return hashlib.sha1(contents.encode(), usedforsecurity=False).hexdigest()


def _refuse_foreign(folder: Path, known: set[str]) -> None:
    if folder.exists() and (not folder.is_dir() or not set(visible_names(folder)) <= known):
        raise OutputError(f"{folder} holds something other than a published encoder; choose another folder")


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


def _contents(folder: Path, card_text: str) -> dict[str, Path | bytes]:
    """What is published, by name: files of the folder, and the card's bytes."""
    files: dict[str, Path | bytes] = {name: folder / name for name in PUBLISHED_FILES if (folder / name).is_file()}
    return {**files, CARD: card_text.encode()}


def _records(contents: Mapping[str, Path | bytes]) -> dict[str, FileRecord]:
    return {
        name: FileRecord(sha256_of_bytes(content), len(content))
        if isinstance(content, bytes)
        else FileRecord(sha256_of(content), content.stat().st_size)
        for name, content in contents.items()
    }
