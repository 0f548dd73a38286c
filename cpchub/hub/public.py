"""The encoders whose checkpoint is its authors': fetched, checked, converted and kept, when they are first loaded.

In the cache stands the model folder, `public/<name>`, with safetensors like any other. A second load makes no request.
The checkpoint itself is dropped once it is converted. One process fetches an encoder, the others wait for it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from huggingface_hub import constants
from rich.console import Console

from cpchub.catalog.licences import in_words, is_free
from cpchub.catalog.origin import Origin, RemoteFile, Source, converted_folder
from cpchub.catalog.spec import WEIGHTS, ModelSpec
from cpchub.common.files import locked, put_in_place, writing
from cpchub.common.progress import BYTE, Report
from cpchub.common.quiet import remark
from cpchub.errors import (
    HubError,
    ImportFormatError,
    IntegrityError,
    ModelFolderError,
    UnsafeWeightsError,
    WeightsUnavailableError,
)
from cpchub.hub import known_files
from cpchub.hub.fetch_file import address_of, check_answers, fetch_file

SCRATCH = "converting-"


def locate_public(spec: ModelSpec, cache_dir: str | Path | None = None, *, keep: str | Path | None = None) -> ModelSpec:
    """The spec of the converted folder of a public encoder, which is fetched and converted if need be.

    keep: a folder into which the authors' files are moved. They are fetched for it also where the encoder is here.

    Raises WeightsUnavailableError where the network is forbidden, HubError, IntegrityError, ImportFormatError,
    UnsafeWeightsError, NoSpaceError, OutputError. Nothing half-written is left but what has arrived of a download.
    """
    folder = converted_folder(spec.name, cache_dir)
    downloads = _downloads(folder)
    kept = Path(keep) if keep is not None else None
    if kept is not None or not (folder / WEIGHTS).is_file() or downloads.exists():
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock = (folder.parent / f".{spec.name}.lock").open("w")
        with lock:
            if locked(lock.fileno(), wait=True):
                _sweep(folder)
            if not (folder / WEIGHTS).is_file() or (kept is not None and not _holds_all(spec, kept)):
                _make(spec, folder, downloads, kept)
            shutil.rmtree(downloads, ignore_errors=True)
    return of_folder(spec, folder)


def check_reachable(spec: ModelSpec) -> None:
    """Raise where a public encoder cannot be fetched now; its conversion, which needs torch, is not waited for.

    WeightsUnavailableError where the network is forbidden, HubError where no source answers.
    """
    origin, folder = _origin(spec), converted_folder(spec.name)
    _refuse_offline(spec, origin, folder)
    failures: list[Exception] = []
    for number, source in enumerate(origin.sources):
        if all((_downloads(folder) / str(number) / file.name).is_file() for file in source.files):
            return None
        try:
            return check_answers(source.files[0])
        except HubError as error:
            failures.append(error)
    raise _failed(spec, failures)


def _downloads(folder: Path) -> Path:
    """Where the authors' files of a converted folder are, or their parts, until they are converted."""
    return folder.parent / ".downloads" / folder.name


def of_folder(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The spec of the converted folder, under the entry's names."""
    return replace(ModelSpec.from_folder(folder, status="public"), name=spec.name, aliases=spec.aliases)


def _sweep(folder: Path) -> None:
    """Remove what a conversion that was killed has left; whoever holds the lock is the only one at work here."""
    for left in folder.parent.glob(f".{folder.name}.{SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)


def _make(spec: ModelSpec, folder: Path, downloads: Path, keep: Path | None) -> None:
    """Fetch from the first source that gives the files, convert them, and put the model folder in its place."""
    origin = _origin(spec)
    _refuse_offline(spec, origin, folder)
    failures: list[Exception] = []
    for number, source in enumerate(origin.sources):
        place = downloads / str(number)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
        try:
            _announce(spec, source, origin)
            files = _fetched(source, place)
        except (HubError, IntegrityError) as error:
            failures.append(error)
            continue
        try:
            if not (folder / WEIGHTS).is_file():
                _convert(spec, source, place / source.files[0].name, folder, files)
        except (ImportFormatError, UnsafeWeightsError, ModelFolderError):
            shutil.rmtree(place)  # the same bytes would fail again
            raise
        if keep is not None:
            _move(place, keep)
        return
    raise _failed(spec, failures)


def _fetched(source: Source, place: Path) -> dict[RemoteFile, str]:
    """The sha256 of each file of a source, now in `place`; a file that is not the one on record is removed."""
    seen = {}
    console = Console(stderr=True, quiet=bool(constants.HF_HUB_DISABLE_PROGRESS_BARS))
    for file in source.files:
        with Report(file.name, None, unit=BYTE, console=console) as report:
            path = fetch_file(file, place, report.update)
        try:
            seen[file] = known_files.check(file, path)
        except IntegrityError:
            path.unlink()
            raise
    return seen


def _convert(spec: ModelSpec, source: Source, checkpoint: Path, folder: Path, files: Mapping[RemoteFile, str]) -> None:
    # The one call upward: the importers build on the rooms below them, and only a first load needs them.
    from cpchub.importers.published import convert_published

    prefix = f".{folder.name}.{SCRATCH}"
    with writing(folder), tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as scratch:
        complete = Path(scratch) / folder.name
        convert_published(checkpoint, complete, spec, source)
        known_files.record(files)  # first: a folder that is there is never fetched again
        put_in_place(complete, folder)


def _origin(spec: ModelSpec) -> Origin:
    if spec.origin is None:
        raise WeightsUnavailableError(f"{spec.name} is no public encoder: nothing says where its checkpoint is")
    return spec.origin


def _refuse_offline(spec: ModelSpec, origin: Origin, folder: Path) -> None:
    own = os.environ.get("CPCHUB_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")
    if not own and not constants.HF_HUB_OFFLINE:
        return
    what = f"The authors' file of {spec.name}" if (folder / WEIGHTS).is_file() else spec.name
    raise WeightsUnavailableError(
        f"{what} is not on this machine and {'CPCHUB_OFFLINE' if own else 'HF_HUB_OFFLINE'} is set: unset it to "
        f"fetch it from {address_of(origin.sources[0].files[0])} or from a mirror in CPCHUB_MIRROR, or run `cpchub "
        f"fetch {spec.name}` where there is a network and copy the folder that it prints to {folder}"
    )


def _announce(spec: ModelSpec, source: Source, origin: Origin) -> None:
    """One line on what is fetched; a licence that restricts the use is said at every first load."""
    note = f" ({origin.license_note})" if origin.license_note and not is_free(spec.license) else ""
    print(
        f"Fetching {spec.name} from {address_of(source.files[0])} ({source.size_in_words}); licence of the weights: "
        f"{in_words(spec.license)}{note}",
        file=sys.stderr,
    )


def _failed(spec: ModelSpec, failures: list[Exception]) -> Exception:
    """The error of the only source, or one that has the errors of all."""
    ways = (
        f"Check the network, set CPCHUB_MIRROR to a mirror that has the same paths, or run `cpchub fetch {spec.name}` "
        "on another machine and copy the folder that it prints"
    )
    said = "; ".join(str(error) for error in failures)
    kind = IntegrityError if all(isinstance(error, IntegrityError) for error in failures) else HubError
    return kind(f"{spec.name} could not be fetched: {said}. {ways}")


def _holds_all(spec: ModelSpec, keep: Path) -> bool:
    """Whether the authors' files of one source are in a folder already; each is said."""
    for source in _origin(spec).sources:
        paths = [keep / file.name for file in source.files]
        if all(path.is_file() for path in paths):
            for path in paths:
                remark(f"{path} is there already and stays as it is")
            return True
    return False


def _move(place: Path, keep: Path) -> None:
    """Move the authors' files into a folder, where no file is replaced; each is said."""
    with writing(keep):
        keep.mkdir(parents=True, exist_ok=True)
        for path in sorted(place.iterdir()):
            if (keep / path.name).exists():
                remark(f"{keep / path.name} is there already and stays as it is")
            else:
                shutil.move(path, keep / path.name)
                remark(f"Kept {keep / path.name}")
