"""Sound files: what a folder holds, what a file says of itself, and its waveform or a window of it.

libsndfile (through `soundfile`) reads them: WAV, FLAC, Ogg and what else it knows.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from cpchub.errors import DependencyError, SourceError

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff"})


@dataclass(frozen=True)
class Recording:
    """A sound file: its path below the folder with `/` between parts, its samples a second, and how many it has."""

    path: str
    sample_rate: int
    samples: int


def find_recordings(folder: str | Path) -> list[Recording]:
    """Every sound file below a folder, by extension, sorted by path. Hidden files and folders are left out.

    Raises SourceError where the folder is missing or holds no sound, or for a file that cannot be read.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise SourceError(f"no folder of recordings at {root}" + (": that is a file" if root.exists() else ""))
    found = []
    for parent, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS:
                found.append(describe(Path(parent, name), root))
    if not found:
        kinds = " ".join(sorted(extension[1:] for extension in EXTENSIONS))
        raise SourceError(f"no recordings in {root} or the folders below it (looked for: {kinds})")
    return sorted(found, key=lambda recording: recording.path)


def describe(path: Path, root: Path) -> Recording:
    """What the header of a sound file says; SourceError where it is none."""
    soundfile = _soundfile()
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
    soundfile = _soundfile()
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        waveform, rate = soundfile.read(
            file, start=start, frames=-1 if samples is None else samples, dtype="float32", always_2d=True
        )
    except (soundfile.LibsndfileError, OSError) as error:
        raise SourceError(f"{name} cannot be read as sound ({error})") from error
    return np.ascontiguousarray(waveform.mean(1)), int(rate)


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except ImportError as error:
        raise DependencyError('sound needs the package soundfile: pip install "cpchub[audio]"') from error
    module: ModuleType = soundfile
    return module
