"""What publishing a package would change, and on top of which commit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from cpchub.catalog.spec import CARD, PUBLISHED_FILES, RELEASE, FileRecord, default_org
from cpchub.common.files import check_free, expanded, writing
from cpchub.common.hashing import bytes_sha256, git_blob_sha1
from cpchub.errors import HubConflictError, OutputError
from cpchub.hub.client import endpoint as default_endpoint
from cpchub.hub.client import hub_errors
from cpchub.hub.integrity import sha256_of
from cpchub.hub.package import Package, encoder_package, records_of
from cpchub.hub.places import holds_encoder, written_folder, written_repository

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
    return plan_package(encoder_package(expanded(folder)), repo_id, token=token, endpoint=endpoint)


def plan_package(
    package: Package, repo_id: str, *, token: str | None = None, endpoint: str | None = None
) -> ReleasePlan:
    """What `publish_package` would do with the same arguments."""
    target, repo_id = target_of(package, repo_id)
    if target is not None:
        return plan_for_folder(package, target)
    return plan_for_hub(package, repo_id, api_of(token, endpoint))


def target_of(package: Package, repo_id: str) -> tuple[Path | None, str]:
    """Where a package goes: to a folder, or else to the repository, whose whole name is given. Raises OutputError."""
    target = written_folder(repo_id)
    if target is not None:
        return target, f"{default_org()}/{package.name}"
    written = written_repository(repo_id)
    if written is None and holds_encoder(Path(repo_id)):
        raise OutputError(
            f"{repo_id} is a folder with an encoder here, which is what `cpchub.load` means by it; write "
            f"hf-hub:{repo_id} to publish to the Hub, or folder:{repo_id} to publish to that folder"
        )
    repo_id = written or repo_id
    return None, repo_id if "/" in repo_id else f"{default_org()}/{repo_id}"


def api_of(token: str | None, endpoint: str | None) -> HfApi:
    return HfApi(endpoint=default_endpoint(endpoint), token=token, library_name="cpchub")


def refuse_other_parent(planned: ReleasePlan, parent: str | None) -> None:
    if parent is not None and not (planned.parent or "nothing").startswith(parent):
        raise HubConflictError(
            f"{planned.repo_id} is at {planned.parent or 'no commit yet'}, not at {parent}; nothing was uploaded. Look "
            "at what is there now, and publish again with that commit as parent"
        )


def plan_for_hub(package: Package, repo_id: str, api: HfApi) -> ReleasePlan:
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
    text = package.card_for(repo_id, existing)
    contents = package.contents(text)
    changes: dict[str, Change] = {
        name: "new" if name not in there else "same" if _is_same(there[name], content) else "changed"
        for name, content in contents.items()
    }
    # a recipe or an evaluation that is no longer there would be taken for that of the new weights
    changes |= {name: "removed" for name in package.file_names if name in there and name not in contents}
    return ReleasePlan(repo_id, head, changes, records_of(contents), text)


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


def plan_for_folder(package: Package, target: Path) -> ReleasePlan:
    with writing(target):
        check_holds_a_release(target, package.file_names)
        if target.resolve() == package.folder.resolve():
            raise OutputError(f"{target} is the folder itself; choose another one to publish to")
        there = {name: target / name for name in package.file_names if (target / name).is_file()}
        existing = there[CARD].read_text(encoding="utf-8") if CARD in there else ""
        before = {name: FileRecord(sha256_of(path), path.stat().st_size) for name, path in there.items()}
    text = package.card_for(f"{default_org()}/{package.name}", existing)
    records = records_of(package.contents(text))
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


def check_holds_a_release(folder: Path, file_names: Sequence[str] = PUBLISHED_FILES) -> None:
    """Raise OutputError where a folder that is published to holds anything but a release with these files."""
    what = "encoder" if file_names == PUBLISHED_FILES else "classifier"
    way_out = f"only a published {what} is replaced: choose another folder"
    check_free(folder, known={*file_names, RELEASE}, way_out=way_out)
