"""Parse a name, for loading and publishing: it means a folder, a repository on the Hub, or a bare name.

`./photos`, `a/b/c` and `local-dir:photos` are folders, `hf-hub:you/photos` is a repository. `you/photos` alone is the
repository, unless an encoder or a run lies in a folder of that name: images or nothing in it hide no repository. Where
there is a folder `you` and nothing called `photos` in it, a folder is meant that is not there. A bare name is of the
catalog, and a folder only where the catalog does not have it. A run folder means the encoder that the run has exported.
"""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path

from cpchub.catalog.families import is_here
from cpchub.catalog.listing import get_spec
from cpchub.catalog.spec import CONFIG, PICKLE_SUFFIXES, RECIPE, WEIGHTS
from cpchub.catalog.timm_names import timm_name
from cpchub.common.files import expanded
from cpchub.errors import CpchubWarning, ModelFolderError, UnknownModelError

EXPORT = "export"  # a run's model folder
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


def parse(name_or_path: str | Path) -> tuple[Path | None, str | None]:
    """A model folder, or a Hub id, or neither (then it is a catalog name)."""
    folder, repo_id = _parse(name_or_path)
    return (None if folder is None else model_folder(folder)), repo_id


def _parse(name_or_path: str | Path) -> tuple[Path | None, str | None]:
    if isinstance(name_or_path, Path):
        return expanded(name_or_path), None
    text = name_or_path.strip()
    folder, repo_id = written_folder(text), written_repository(text)
    if folder is not None or repo_id is not None:
        return folder, repo_id
    if text.endswith(PICKLE_SUFFIXES):
        return expanded(text), None
    if "/" in text:
        return (Path(text), None) if holds_encoder(Path(text)) or _is_missing_here(text) else (None, text)
    if Path(text).is_dir() and not _in_catalog(text):
        return Path(text), None
    return None, None


def model_folder(folder: Path) -> Path:
    """The model folder that is meant: a run folder means the encoder that the run has exported."""
    return folder / EXPORT if not (folder / CONFIG).is_file() and (folder / EXPORT / CONFIG).is_file() else folder


def check_name(name: str) -> None:
    """Raise for a name that is known to mean nothing, or is out of reach, before torch is imported.

    ModelFolderError for a folder that is not there, UnknownModelError for a name that the catalog does not have, and
    what `cpchub.hub.at_hand` raises. The rest passes: what the Hub or timm has to say comes with the download.
    """
    if name.startswith("timm/") or timm_name(name) is not None:
        return
    folder, repo_id = parse(name)
    if folder is not None:
        check_folder(folder)
        return
    if repo_id is None or _in_catalog(repo_id.partition("@")[0]):
        spec = get_spec(name if repo_id is None else repo_id.partition("@")[0])
        if is_here(spec):
            return
        from cpchub.hub.at_hand import check_spec  # here, because the Hub's client takes half a second to import

        check_spec(spec)
    else:
        from cpchub.hub.at_hand import check_repository

        check_repository(repo_id)


def check_folder(folder: Path, *, give: str | None = None) -> None:
    """Raise ModelFolderError, which offers the nearest names, where there is no folder.

    give: what to give instead; by default all that an encoder is named by.
    """
    if folder.is_file():
        raise ModelFolderError(f"{folder} is a file; give the model folder that holds it together with {CONFIG}")
    if (folder / RECIPE).is_file() and not any((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
        raise ModelFolderError(f"the run in {folder} has not exported its encoder yet; let the run go on to its end")
    if folder.exists():
        return
    beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
    near = [str(folder.parent / name) for name in difflib.get_close_matches(folder.name, beside, n=3)]
    offer = f"did you mean {' or '.join(near)}? Else " if near else ""
    if give is None:
        hub = len(folder.parts) == 2 and not folder.anchor
        give = "a run folder, a model folder, a catalog name or a Hub id (org/name)"
        give += f" (hf-hub:{folder} is the repository of that name)" if hub else ""
    raise ModelFolderError(f"There is no folder {folder}; {offer}give {give}")


def tell_of_namesake(name: str) -> None:
    """Warn where a name of the catalog is also that of a folder here with an encoder in it, which is not meant."""
    if holds_encoder(Path(name)):
        warnings.warn(
            f"{name} is the encoder of that name in the catalog; the encoder in the folder here is ./{name}",
            CpchubWarning,
            stacklevel=4,
        )


def holds_encoder(folder: Path) -> bool:
    """Whether an encoder lies in a folder, or a run that is or will be one."""
    return any((folder / name).is_file() for name in (CONFIG, WEIGHTS, RECIPE, Path(EXPORT, CONFIG)))


def no_encoder_beside(repo_id: str) -> str:
    """A sentence about a folder with the name of the repository, which is not meant; empty if there is none."""
    if not Path(repo_id).is_dir():
        return ""
    return f". There is a folder {repo_id} here, but no encoder in it; ./{repo_id} would mean the folder"


def _in_catalog(name: str) -> bool:
    try:
        get_spec(name)
    except UnknownModelError:
        return False
    return True


def _is_missing_here(text: str) -> bool:
    """Whether `folder/name` means a folder that is not there: the folder is, and nothing else has that name."""
    path = Path(text)
    if not path.parent.is_dir() or path.exists() or "@" in text or _in_catalog(text):
        return False
    from huggingface_hub import constants  # here, because that import takes half a second

    return not Path(constants.HF_HUB_CACHE, f"models--{text.replace('/', '--')}").exists()
