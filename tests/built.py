"""The package as pip would build it: with hatchling, here in this process, and without a network.

pip calls the same builder for a folder, an sdist and a .zip of the repository.
"""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

from tests.processes import REPOSITORY

OURS = ("cpchub", "cpchub_serving", "cpchub_training")
DIST_INFO = "cpchub-0.1.0.dist-info"
Way = Literal["wheel", "sdist", "zip", "editable"]


def build(way: Way, folder: Path) -> Path:
    """The wheel that an installation from the checkout, from its sdist, from a .zip of it, or with `-e` makes."""
    folder.mkdir()
    if way == "sdist":
        return _wheel(_unpacked_sdist(folder / "unpacked"), folder, "standard")
    if way == "zip":
        return _wheel(_unpacked_zip(folder / "unpacked"), folder, "standard")
    return _wheel(REPOSITORY, folder, "editable" if way == "editable" else "standard")


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _wheel(source: Path, folder: Path, version: str) -> Path:
    from hatchling.builders.wheel import WheelBuilder

    return Path(next(WheelBuilder(str(source)).build(directory=str(folder), versions=[version])))


def _unpacked_sdist(folder: Path) -> Path:
    from hatchling.builders.sdist import SdistBuilder

    sdist = next(SdistBuilder(str(REPOSITORY)).build(directory=str(folder)))
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / "cpchub-0.1.0"


def _unpacked_zip(folder: Path) -> Path:
    """The repository without git's folder below one folder, as a forge packs it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            target = folder / "cpchub-main" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((REPOSITORY / name).read_bytes())
    return folder / "cpchub-main"
