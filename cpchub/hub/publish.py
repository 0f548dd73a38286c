"""Publish a model folder: to the Hub in one commit, or to a folder that stands in for it.

First a `ReleasePlan`: the card is rendered for the name it is published under and checked, and each file is compared
with what is there. Then the upload, on top of the very commit that the plan looked at: if somebody else's commit came
in between, nothing is overwritten. The result is a `Release`, and `record` pins a catalog entry to that commit.

If there is a card already, only our block in it is replaced, so text that people wrote on the Hub stays. If the
folder's own card has text, that text replaces it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from cpchub.catalog.spec import (
    CARD,
    PUBLISHED_FILES,
    RELEASE,
    WEIGHTS,
    FileRecord,
)
from cpchub.common.files import expanded, put_in_place, replacing, write_json, writing
from cpchub.errors import ArgumentError, ModelFolderError
from cpchub.hub.client import hub_errors
from cpchub.hub.derived import state_licence
from cpchub.hub.package import Package, encoder_package
from cpchub.hub.places import model_folder
from cpchub.hub.release_plan import (
    ReleasePlan,
    api_of,
    check_holds_a_release,
    head_of,
    plan_for_folder,
    plan_for_hub,
    records_as_json,
    refuse_other_parent,
    revision_of,
    target_of,
)


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
        folder, entry = model_folder(expanded(folder)), expanded(entry)
        check_holds_a_release(entry)
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
        content = {"repo_id": self.repo_id, "revision": self.revision, "files": records_as_json(self.files)}
        write_json(entry / RELEASE, content)
        return entry


def publish(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    parent: str | None = None,
    license: str | None = None,
) -> Release:
    """Publish a model folder, or that of a run, as `repo_id` (`org/name`; a bare name: to CPCHUB_ORG), in one commit.

    A path or `folder:PATH` as `repo_id` publishes to that folder instead, for a hub on a shared disk (`CPCHUB_HUB`).
    Where `org/name` is a folder with an encoder, `hf-hub:org/name` means the Hub (`cpchub.hub.places` has the rule).
    The repository is made if it does not exist. Nothing is uploaded unless the weights are as recorded and the card
    has no placeholder. `parent` is the commit that you take for the newest: if it is not, nothing is uploaded.
    `license` is the licence that you give your weights: it is written into the folder's `config.json` first.

    Raises ModelFolderError, IntegrityError, UnsafeWeightsError, OutputError, HubError, and HubConflictError where the
    repository is changed by somebody else meanwhile.
    """
    if license is not None:
        state_licence(folder, license)
    package = encoder_package(expanded(folder))
    return publish_package(package, repo_id, private=private, token=token, endpoint=endpoint, parent=parent)


def publish_package(
    package: Package,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    parent: str | None = None,
) -> Release:
    """Publish a package in one commit; arguments and errors are those of `publish`."""
    target, repo_id = target_of(package, repo_id)
    if target is not None:
        planned = plan_for_folder(package, target)
        refuse_other_parent(planned, parent)
        return _to_folder(planned, package.folder, target)
    api = api_of(token, endpoint)
    planned = plan_for_hub(package, repo_id, api)
    refuse_other_parent(planned, parent)
    return _to_hub(planned, package.folder, private, api)


def _to_hub(planned: ReleasePlan, folder: Path, private: bool, api: HfApi) -> Release:
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
            parent = head_of(api, repo_id)
        try:
            commit = api.create_commit(
                repo_id, operations, commit_message=f"Publish {repo_id.partition('/')[2]}", parent_commit=parent
            )
        except ValueError as error:
            if "README.md" not in str(error):
                raise
            raise ModelFolderError(f"The Hub refuses the card's front matter: {error}") from error
    return Release(repo_id, commit.oid, planned.files, planned.card)


def _to_folder(planned: ReleasePlan, folder: Path, target: Path) -> Release:
    revision = revision_of(planned.files)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            complete = Path(scratch) / target.name
            complete.mkdir()
            for name in planned.files:
                if name != CARD:
                    shutil.copyfile(folder / name, complete / name)
            (complete / CARD).write_text(planned.card, encoding="utf-8")
            write_json(complete / RELEASE, {"revision": revision, "files": records_as_json(planned.files)})
            put_in_place(complete, target)
    return Release(planned.repo_id, revision, planned.files, planned.card)
