"""Hash every file of an encoder again and compare it with the recorded hash. No cached result is used.

Hashes are recorded in four places: `config.json` (the weights), `release.json` (every file), pip's RECORD (every
installed file), and the Hub's cache, where the name of a file is its hash. `eval.json` says which weights it measured.
"""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

from cpchub.catalog.families import is_here
from cpchub.catalog.listing import broken_folders, get_spec, list_models
from cpchub.catalog.spec import EVALUATION, PUBLISHED_FILES, WEIGHTS, FileRecord, ModelSpec, read_json
from cpchub.common.hashing import git_blob_sha1, is_sha256
from cpchub.errors import IntegrityError, WeightsUnavailableError
from cpchub.hub.integrity import verify
from cpchub.hub.locate import locate_local

State = Literal["fine", "changed", "missing", "not on record"]
DAMAGE = ("changed", "missing")
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class FileCheck:
    """The result for one file; `detail` says what is wrong with it."""

    encoder: str
    path: Path
    state: State
    detail: str = ""


def verify_files(name_or_path: str | Path, *, cache_dir: str | Path | None = None) -> list[FileCheck]:
    """Check every file of an encoder on this machine, without any network request.

    Raises UnknownModelError, WeightsUnavailableError where it is not here, ModelFolderError.
    """
    spec = locate_local(name_or_path, cache_dir=cache_dir)
    if spec.folder is None:
        raise WeightsUnavailableError(f"{spec.name} has no files; it is a network without weights")
    return [_check(spec, spec.folder / filename) for filename in _filenames(spec)]


def verify_all() -> list[FileCheck]:
    """Check every encoder of the catalog whose weights are on this machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the listing leaves out is listed here
        names = [name for name in list_models() if is_here(get_spec(name))]
    found = [check for name in names for check in verify_files(name)]
    broken = [FileCheck(folder.name, folder, "changed", str(error)) for folder, error in broken_folders().items()]
    return [*found, *broken]


def _filenames(spec: ModelSpec) -> Iterator[str]:
    folder = spec.folder or Path()
    for filename in PUBLISHED_FILES:
        path = folder / filename
        if filename == WEIGHTS or filename in spec.files or path.is_symlink() or path.is_file():
            yield filename


def _check(spec: ModelSpec, path: Path) -> FileCheck:
    if not path.is_file():
        return FileCheck(spec.name, path, "missing", "on record, but not there")
    blob = path.resolve().name  # in the Hub's cache
    record = spec.files.get(path.name) or _installed(path)
    if record is None and is_sha256(blob):
        record = FileRecord(blob)
    if record is not None:
        try:
            verify(path, record, fresh=True)
        except IntegrityError as error:
            return FileCheck(spec.name, path.resolve(), "changed", str(error))
        return FileCheck(spec.name, path, "fine")
    if _GIT_SHA1.fullmatch(blob):
        seen = git_blob_sha1(path.read_bytes())
        if seen == blob:
            return FileCheck(spec.name, path, "fine")
        return FileCheck(spec.name, path.resolve(), "changed", f"git's hash is {seen}, the Hub's was {blob}")
    return _unrecorded(spec, path)


def _installed(path: Path) -> FileRecord | None:
    """pip's record of a file that it installed with cpchub; None for any other file."""
    try:
        files = distribution("cpchub").files or []
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None
    for file in files:
        if file.name == path.name and file.hash is not None and Path(str(file.locate())).resolve() == path.resolve():
            digest = base64.urlsafe_b64decode(file.hash.value + "=" * (-len(file.hash.value) % 4))
            return FileRecord(digest.hex(), file.size)
    return None


def _unrecorded(spec: ModelSpec, path: Path) -> FileCheck:
    """Check a file without a recorded hash: it may describe other weights."""
    measured = read_json(path).get("weights_sha256") if path.name == EVALUATION else None
    if measured is not None and measured != spec.weights_sha256:
        return FileCheck(spec.name, path, "changed", f"it measured other weights, {measured}")
    return FileCheck(spec.name, path, "not on record")
