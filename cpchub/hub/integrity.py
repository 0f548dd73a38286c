"""Checks before any weights are read: do the bytes match the recorded hash, and could they execute code?

A hash is cached by path, size, modification time and inode change time (which no program can set), so the second load
of a large model is instant. Neither timm nor huggingface_hub checks contents: they load a wrong file of the right size
without an error.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from huggingface_hub import constants

from cpchub.catalog.spec import PICKLE_SUFFIXES, WEIGHTS, FileRecord, ModelSpec
from cpchub.common.hashing import file_sha256, is_sha256
from cpchub.errors import IntegrityError, ModelFolderError, UnsafeWeightsError


def sha256_of(path: Path, *, fresh: bool = False) -> str:
    """The sha256 of a file, in hex; from memory if it has not changed since it was last hashed, unless `fresh`."""
    memory = _read_memory()
    key = _key(path)
    if fresh or key not in memory:
        seen = file_sha256(path)
        cache_sha256(path, seen, key)  # the key from before reading: the file may have changed meanwhile
        return seen
    return memory[key]


def cache_sha256(path: Path, sha256: str, key: str | None = None) -> None:
    """Cache the sha256 of a file that was just hashed, until its size or times differ from now, or from `key`."""
    memory = {name: value for name, value in _read_memory().items() if not name.startswith(f"{path.resolve()}|")}
    _write_memory({**memory, key or _key(path): sha256})


def verify(path: Path, record: FileRecord, *, fresh: bool = False) -> None:
    """Raise IntegrityError unless the file has the recorded size and sha256; `fresh` reads it whatever is remembered.

    The message also names the file itself: in the Hub's cache, deleting the link to it would not fetch it again.
    """
    real = path.resolve()
    size = real.stat().st_size
    if record.size is not None and size != record.size:
        raise IntegrityError(
            f"{path} has {size:,} bytes, the record says {record.size:,}; it is incomplete or not this file. "
            f"Delete {real} and fetch it again."
        )
    seen = sha256_of(path, fresh=fresh)
    if seen != record.sha256.lower():
        raise IntegrityError(
            f"{path} has sha256 {seen}, the record says {record.sha256}; the file is damaged or was replaced, and is "
            f"not loaded. Delete {real} and fetch it again; if it stays so, do not trust where it came from."
        )


def refuse_pickles(names: Iterable[str], where: str) -> None:
    """Raise if there are no safetensors among the file names: UnsafeWeightsError where there is a pickle instead.

    Pickles beside a `model.safetensors` are harmless here, as they are never opened.
    """
    names = list(names)
    if WEIGHTS in names:
        return
    pickles = sorted(name for name in names if name.lower().endswith(PICKLE_SUFFIXES))
    if pickles:
        raise UnsafeWeightsError(
            f"{where} offers its weights as {pickles[0]}, a pickle, which can run code when it is opened; only "
            f"{WEIGHTS} is read. Ask its author for safetensors, or convert it where you trust it."
        )
    raise ModelFolderError(
        f"{where} has no {WEIGHTS}; name a run folder, or a model folder, which `cpchub import` writes"
    )


def verified(spec: ModelSpec, where: str, *, every_file: bool = False) -> ModelSpec:
    """The spec with a record of its weights, after they (or `every_file` on record) were found to be as recorded."""
    folder = spec.folder
    if folder is None:
        raise ModelFolderError(f"{where} has no folder to read weights from")
    weights = folder / WEIGHTS
    files = dict(spec.files)
    if WEIGHTS not in files:
        blob = weights.resolve().name  # the Hub's cache names a large file by the sha256 that the Hub has for it
        files[WEIGHTS] = FileRecord(blob if is_sha256(blob) else sha256_of(weights))
    for filename, record in files.items():
        if filename == WEIGHTS or (every_file and (folder / filename).is_file()):
            verify(folder / filename, record)
    return replace(spec, files=files)


def _key(path: Path) -> str:
    real = path.resolve()
    stat = real.stat()
    return f"{real}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}"


def _memory_file() -> Path:
    return Path(constants.HF_HOME) / "cpchub" / "verified.json"


def _read_memory() -> dict[str, str]:
    try:
        memory = json.loads(_memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or damaged: the files are hashed again
        return {}
    return memory if isinstance(memory, dict) else {}


def _write_memory(memory: dict[str, str]) -> None:
    target = _memory_file()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(memory, file, indent=0)
        Path(temporary).replace(target)
    except OSError:
        return  # a read-only home: the file is hashed again each time
