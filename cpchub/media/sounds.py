"""Sound files: what a folder holds, what a file says of itself, and its waveform or a window of it.

libsndfile (through `soundfile`) reads them: WAV, FLAC, Ogg and what else it knows.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cpchub.common.extras import import_extra
from cpchub.common.files import expanded
from cpchub.errors import SourceError
from cpchub.media.rules import NO_RULES, Rules
from cpchub.media.sources.found import Found
from cpchub.media.sources.walk import walk

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff"})


@dataclass(frozen=True)
class Recording:
    """A sound file: its path below the folder with `/` between parts, its samples a second, and how many it has."""

    path: str
    sample_rate: int
    samples: int


def find_recordings(folder: str | Path) -> list[Recording]:
    """Every sound file below a folder, by extension, sorted by path; which count is as for images.

    Raises SourceError where the folder is missing or holds no sound, or for a file that cannot be read.
    """
    return look_for_recordings(folder)[0]


def look_for_recordings(folder: str | Path, rules: Rules = NO_RULES) -> tuple[list[Recording], Found]:
    """The same, and what was passed over: folders that cannot be listed or that the rules leave out, other files."""
    root = expanded(folder)
    if not root.is_dir():
        raise SourceError(f"no folder of recordings at {root}" + (": that is a file" if root.exists() else ""))
    found = walk(root, EXTENSIONS, rules)
    if not found.files:
        kinds = " ".join(sorted(extension[1:] for extension in EXTENSIONS))
        told = f"no recordings in {root} or the folders below it (looked for: {kinds})"
        raise SourceError(". ".join([told, *found.notes(rules)]))
    return [describe(root / file.path, root) for file in found.files], found


def describe(path: Path, root: Path) -> Recording:
    """What the header of a sound file says; SourceError where it is none."""
    soundfile = import_extra("soundfile", extra="audio")
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError) as error:
        raise SourceError(f"{path} cannot be read as sound ({error}); leave it out, or convert it to WAV") from error
    return Recording(path.relative_to(root).as_posix(), int(info.samplerate), int(info.frames))


def read_sound(
    source: str | Path | bytes, *, start: int = 0, samples: int | None = None
) -> tuple[npt.NDArray[np.float32], int]:
    """The waveform of a file or of its bytes, float32 `[T]` in -1 to 1, and its samples a second.

    Channels are averaged. `start` and `samples` read a window without decoding what is before or after it.
    Raises SourceError, naming the file, where it cannot be read.
    """
    soundfile = import_extra("soundfile", extra="audio")
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        waveform, rate = soundfile.read(
            file, start=start, frames=-1 if samples is None else samples, dtype="float32", always_2d=True
        )
    except (soundfile.LibsndfileError, OSError) as error:
        raise SourceError(f"{name} cannot be read as sound ({error})") from error
    return np.ascontiguousarray(waveform.mean(1)), int(rate)
