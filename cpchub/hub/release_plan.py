"""What publishing a model folder would change, and on top of which commit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from cpchub.catalog.spec import (
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
from cpchub.common.files import check_free, expanded, writing
from cpchub.common.hashing import bytes_sha256, git_blob_sha1
from cpchub.errors import HubConflictError, ModelFolderError, OutputError
from cpchub.hub import card
from cpchub.hub.client import endpoint as default_endpoint
from cpchub.hub.client import hub_errors
from cpchub.hub.derived import check_licence
from cpchub.hub.integrity import refuse_pickles, sha256_of, verified
from cpchub.hub.places import check_folder, holds_encoder, model_folder, written_folder, written_repository

Change = Literal["new", "changed", "same", "removed"]


@dataclass(frozen=True)
class ReleasePlan:
    """What publishing would do: the fate of each file, on top of which commit (None: the repository is made)."""

    repo_id: str
    parent: str | None
    changes: Mapping[str, Change]
    files: Mapping[str, FileRecord]
    card: str = field(repr=False)


def plan_release(
    folder: str | Path, repo_id: str, *, token: str | None = None, endpoint: str | None = None
) -> ReleasePlan:
    """What `publish` would do with the same arguments; nothing is made or uploaded. Raises as `publish` does."""
    folder, target, repo_id = read_target(folder, repo_id)
    if target is not None:
        return plan_for_folder(folder, target)
    return plan_for_hub(folder, repo_id, api_of(token, endpoint))


def read_target(folder: str | Path, repo_id: str) -> tuple[Path, Path | None, str]:
    """The folder, checked; where it goes if that is a folder too; the repository's whole name."""
    folder = model_folder(expanded(folder))
    check_folder(folder, give="a run folder or a model folder")
    refuse_pickles((path.name for path in folder.iterdir()), str(folder))
    spec = verified(ModelSpec.from_folder(folder), str(folder))
    if "cpchub" not in read_json(folder / CONFIG):
        raise ModelFolderError(f"{folder / CONFIG} has no cpchub facts to make a card from; export the folder again")
    check_licence(folder)
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


def api_of(token: str | None, endpoint: str | None) -> HfApi:
    return HfApi(endpoint=default_endpoint(endpoint), token=token, library_name="cpchub")


def refuse_other_parent(planned: ReleasePlan, parent: str | None) -> None:
    if parent is not None and not (planned.parent or "nothing").startswith(parent):
        raise HubConflictError(
            f"{planned.repo_id} is at {planned.parent or 'no commit yet'}, not at {parent}; nothing was uploaded. Look "
            "at what is there now, and publish again with that commit as parent"
        )


def plan_for_hub(folder: Path, repo_id: str, api: HfApi) -> ReleasePlan:
    there: dict[str, RepoFile] = {}
    existing = ""
    with hub_errors(repo_id, "Publishing"):
        head = head_of(api, repo_id)
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
    return ReleasePlan(repo_id, head, changes, _records(contents), text)


def head_of(api: HfApi, repo_id: str) -> str | None:
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
        return there.lfs.sha256 == (bytes_sha256(content) if isinstance(content, bytes) else sha256_of(content))
    data = content if isinstance(content, bytes) else content.read_bytes()
    return there.blob_id == git_blob_sha1(data)


def plan_for_folder(folder: Path, target: Path) -> ReleasePlan:
    with writing(target):
        check_holds_a_release(target)
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
    return ReleasePlan(f"folder:{target}", revision_of(before) if before else None, changes, records, text)


def records_as_json(records: Mapping[str, FileRecord]) -> dict[str, dict[str, Any]]:
    return {name: asdict(record) for name, record in records.items()}


def revision_of(records: Mapping[str, FileRecord]) -> str:
    """A folder's stand-in for a commit: 40 hex digits of what is in it."""
    contents = "".join(f"{name} {record.sha256}\n" for name, record in sorted(records.items()))
    return hashlib.sha1(contents.encode(), usedforsecurity=False).hexdigest()


def check_holds_a_release(folder: Path) -> None:
    """Raise OutputError where a folder that is published to holds anything but a published encoder."""
    way_out = "only a published encoder is replaced: choose another folder"
    check_free(folder, known={*PUBLISHED_FILES, RELEASE}, way_out=way_out)


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
        name: FileRecord(bytes_sha256(content), len(content))
        if isinstance(content, bytes)
        else FileRecord(sha256_of(content), content.stat().st_size)
        for name, content in contents.items()
    }
