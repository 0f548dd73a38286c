"""The places that a recipe or a command names, looked for before torch is imported: data, runs and encoders."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cpchub.common.extras import need
from cpchub.common.files import expanded
from cpchub.errors import RecipeError, SourceError
from cpchub.hub.places import check_name
from cpchub.media.sources.storage import check_store
from cpchub_training.recipes.recipe import Recipe

CIFAR10_ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
HAVE_TEST_PART = ("cifar10", "digits")  # the data sets that are known by name


def check_places(recipe: Recipe) -> None:
    """Raise SourceError for data that is not there, RecipeError for a run, ModelFolderError and UnknownModelError for
    an encoder to go on from."""
    if recipe.init_from:
        check_name(recipe.init_from)
    if recipe.teacher and not expanded(recipe.teacher).is_dir():
        raise RecipeError(f"teacher={recipe.teacher!r} is no folder; name the run folder to go on from")
    if recipe.takes == "sound":
        _check_recordings(recipe.data)
    elif names_modalities(recipe.data):
        for folder in modalities_of(recipe.data).values():
            check_own_images(folder)
    elif recipe.data == "cifar10":
        cifar10_folder(data_folder())
    elif recipe.data not in HAVE_TEST_PART:
        check_own_images(recipe.data)


def check_labelled(name: str) -> None:
    """Raise SourceError for a data set to measure on that is not there."""
    if name == "cifar10":
        cifar10_folder(data_folder())
    elif name not in HAVE_TEST_PART and not expanded(name).is_dir():
        raise SourceError(
            f"there is no folder {name}, and no data set called {name!r}: use {', '.join(HAVE_TEST_PART)}, or a folder "
            "with a folder a class"
        )


def check_own_images(name: str) -> None:
    """Raise SourceError for images of one's own that are not there."""
    if not name:
        raise SourceError("this recipe is for images of your own: name their folder with --images")
    if "://" in name:
        if name.partition("://")[0].lower() not in ("file", "http", "https"):
            check_store(name)
    elif not expanded(name).exists():
        raise SourceError(
            f"there is no folder or file {name}, and no data set called {name!r}: use 'digits', 'cifar10' or images of "
            "your own, in a folder, tar shards, Parquet, or a list of them"
        )


def _check_recordings(name: str) -> None:
    if not name:
        raise SourceError("this recipe is for recordings of your own: name their folder with --recordings")
    need("soundfile", extra="audio")
    if name == "fsdd":
        fsdd_folder(data_folder())
    elif not expanded(name).is_dir():
        raise SourceError(f"there is no folder of recordings at {name}")


def names_modalities(name: str) -> bool:
    """Whether `name` lists aligned folders, `rgb=FOLDER,depth=FOLDER`; a path that contains = does not."""
    return re.match(r"[^/:,=]*=", name) is not None and not expanded(name).exists()


def modalities_of(spec: str) -> dict[str, str]:
    """The folders that `rgb=FOLDER,depth=FOLDER` lists, by name. Raises SourceError for any other text."""
    pairs = [part.partition("=") for part in re.split(r",(?=[^/:,=]*=)", spec)]  # a folder's name may hold a comma
    names = {name.strip(): path for name, _, path in pairs}
    if len(pairs) < 2 or len(names) < len(pairs) or not all(name and path for name, path in names.items()):
        raise SourceError(
            f"{spec!r} does not name two modalities or more (write rgb=FOLDER,depth=FOLDER), nor is there a folder "
            "of that name"
        )
    return names


def data_folder() -> Path:
    """Where the data sets that are known by name lie: `CPCHUB_DATA`, else `data`."""
    return Path(os.environ.get("CPCHUB_DATA", "data"))


def cifar10_folder(root: Path, needed: str = "data_batch_1") -> Path:
    """The folder of CIFAR-10's official files, at `root` or in it. Raises SourceError where `needed` is not there."""
    base = root / "cifar-10-batches-py" if (root / "cifar-10-batches-py").is_dir() else root
    if not (base / needed).is_file():
        raise SourceError(
            f"CIFAR-10 is not in the folder {root} ({needed} is missing): unpack {CIFAR10_ARCHIVE} there, or "
            "set CPCHUB_DATA to the folder it is in"
        )
    return base


def fsdd_folder(root: Path) -> Path:
    """Where the Free Spoken Digit Dataset's recordings are below `root`; `SourceError` where they are not."""
    for place in (root / "free_spoken_digits" / "recordings", root / "free-spoken-digit-dataset" / "recordings"):
        if place.is_dir():
            return place
    raise SourceError(
        f"the Free Spoken Digit Dataset is not in the folder {root} (looked for free_spoken_digits/recordings): clone "
        "github.com/Jakobovski/free-spoken-digit-dataset there, or set CPCHUB_DATA to the folder it is in"
    )
