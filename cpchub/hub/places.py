"""Parse a name, for loading and publishing: it means a folder, a repository on the Hub, or a bare name.

`./photos`, `a/b/c` and `local-dir:photos` are folders, `hf-hub:you/photos` is a repository. `you/photos` alone is the
repository, unless an encoder or a run lies in a folder of that name: images or nothing in it hide no repository.
"""

from __future__ import annotations

from pathlib import Path

from cpchub.catalog.spec import CONFIG, RECIPE, WEIGHTS
from cpchub.common.files import expanded

_FOLDER, _REPOSITORY = ("local-dir:", "folder:"), ("hf-hub:", "hf_hub:")


def written_folder(text: str) -> Path | None:
    """The folder that a text means by the way it is written; None where it may mean something else."""
    if text.startswith(_FOLDER):
        return expanded(text.partition(":")[2])
    if not text.startswith(_REPOSITORY) and (text.startswith((".", "~", "/")) or text.count("/") > 1):
        return expanded(text)
    return None


def written_repository(text: str) -> str | None:
    """The Hub id that a text means by the way it is written; None where it may mean something else."""
    return text.partition(":")[2] if text.startswith(_REPOSITORY) else None


def holds_encoder(folder: Path) -> bool:
    """Whether an encoder lies in a folder, or a run that is or will be one."""
    return any((folder / name).is_file() for name in (CONFIG, WEIGHTS, RECIPE, Path("export", CONFIG)))


def no_encoder_beside(repo_id: str) -> str:
    """A sentence about a folder with the name of the repository, which is not meant; empty if there is none."""
    if not Path(repo_id).is_dir():
        return ""
    return f". There is a folder {repo_id} here, but no encoder in it; ./{repo_id} would mean the folder"
