"""What an encoder is called in tables, folders and files, so that two encoders never share a name.

Runs of one recipe export encoders of one name. The fingerprint says whether two encoders are the same. Where different
ones have the same name, each is called by what the user typed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cpchub.catalog.spec import EVALUATION, ModelSpec, read_json
from cpchub.errors import ModelFolderError, OutputError

EVALUATIONS, DETECTIONS = Path("runs", "evaluations"), Path("runs", "detection")
DETECTION = "detection.json"


def titles(typed: Sequence[str], specs: Sequence[ModelSpec]) -> list[str]:
    """A title for each encoder: its name, or what was typed for it where a different encoder has the same name."""
    of_name: dict[str, set[str]] = {}
    for spec in specs:
        of_name.setdefault(spec.name, set()).add(spec.fingerprint)
    found = [said if len(of_name[spec.name]) > 1 else spec.name for said, spec in zip(typed, specs, strict=True)]
    return found if len(set(found)) == len(set(typed)) else list(typed)  # a folder may have another encoder's name


def file_names(names: Sequence[str]) -> list[str]:
    """The names as file names, a number after those that would be the same."""
    found: list[str] = []
    for name in names:
        plain = _plain(name)
        candidates = (plain, *(f"{plain}-{n}" for n in range(2, len(names) + 1)))
        found.append(next(each for each in candidates if each not in found))
    return found


def home_of(
    spec: ModelSpec, typed: str, out: Path | None = None, *, root: Path = EVALUATIONS, file: str = EVALUATION
) -> Path:
    """The folder for the measurements of an encoder: `out`, or one in `root` named for it.

    Where a different encoder has measurements in `root/NAME`, the folder is named for what was typed instead. file:
    what a folder of measurements has. Raises OutputError for an `out` with the measurements of another encoder, and
    where every folder that could be named for it has measurements that cannot be read.
    """
    if out is not None:
        if _owned(out / file, spec) is False:
            raise OutputError(
                f"{out / file} has the measurements of another encoder than {typed}; choose another folder with --out"
            )
        return out
    said = _plain(typed)
    own = [root / each for each in (_plain(spec.name), said, f"{said}-{spec.fingerprint}")]
    kept = [folder for folder in (*own, *sorted(root.glob("*/"))) if _owned(folder / file, spec)]
    found = next(iter(kept), None) or next((each for each in own if _owned(each / file, spec) is None), None)
    if found is None:
        raise OutputError(f"{own[-1] / file} cannot be read and is not overwritten; move it away, or choose --out")
    return found


def same_encoder(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two files of measurements are of one encoder: by fingerprint, by weights where one has no fingerprint."""
    key = "fingerprint" if one.get("fingerprint") and other.get("fingerprint") else "weights_sha256"
    return bool(one.get(key) == other.get(key))


def identity(spec: ModelSpec) -> dict[str, str | None]:
    """What a file of measurements says of its encoder."""
    return {"model": spec.name, "weights_sha256": spec.weights_sha256, "fingerprint": spec.fingerprint}


def _owned(path: Path, spec: ModelSpec) -> bool | None:
    """Whether the measurements in a file are of this encoder; None where there is no file."""
    if not path.is_file():
        return None
    with suppress(ModelFolderError):  # what cannot be read is not overwritten either
        return same_encoder(read_json(path), identity(spec))
    return False


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "encoder"
