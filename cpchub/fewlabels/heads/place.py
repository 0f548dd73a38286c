"""Where a head is: a folder, or a repository on the Hub, which is fetched into the Hub's cache."""

from __future__ import annotations

import re
from pathlib import Path

from cpchub.common.files import expanded
from cpchub.errors import ClassifierError
from cpchub.hub.places import written_folder, written_repository

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def head_folder(name: str | Path, files: tuple[str, ...], token: str | None = None) -> Path:
    """The local folder of a head: `name` is a path, or `org/name` or `org/name@revision` where no such folder is here.

    files: what is fetched of a repository, all of one commit. `./name` and `hf-hub:org/name` mean what
    `cpchub.hub.places` says. Raises ClassifierError for a repository without them, WeightsUnavailableError, HubError.
    """
    text = str(name)
    repository = None if isinstance(name, Path) else written_repository(text)
    if repository is None:
        here = expanded(text.partition(":")[2] if text.startswith(("local-dir:", "folder:")) else name)
        means_path = isinstance(name, Path) or written_folder(text) is not None or here.exists()
        if means_path or here.parent.is_dir() or not REPOSITORY.fullmatch(text):
            return here
        repository = text
    return _fetched(repository, files, token)


def _fetched(repository: str, files: tuple[str, ...], token: str | None) -> Path:
    from huggingface_hub.errors import RemoteEntryNotFoundError

    from cpchub.hub.client import hub_errors
    from cpchub.hub.hub_files import fetch

    repo_id, _, revision = repository.partition("@")
    with hub_errors(repo_id, "Fetching"):
        try:
            first = fetch(repo_id, files[0], revision or None, token=token)
            for name in files[1:]:
                fetch(repo_id, name, first.parent.name, token=token, answers=True)
        except RemoteEntryNotFoundError as error:
            raise ClassifierError(
                f"{repo_id} is no classifier: it has no {files[0]}. An encoder is loaded by cpchub.load"
            ) from error
    return first.parent
