"""Open the data that a recipe names: in memory, or streamed from disk or a bucket."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from cpchub.errors import RecipeError, SourceError
from cpchub.media.rules import NO_RULES, Rules
from cpchub_training.data import recordings
from cpchub_training.data.images import Images
from cpchub_training.data.kept_images import NONE, Copies
from cpchub_training.data.known import cifar10, digits
from cpchub_training.data.left_out import tell_left_out
from cpchub_training.data.listing import Listed, listed, squares
from cpchub_training.data.resized import Square
from cpchub_training.data.streaming import Stream
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.places import HAVE_TEST_PART, check_own_images, data_folder, names_modalities


def load(name: str, *, split: str = "train", size: int = 32, rules: Rules = NO_RULES) -> Images:
    """The data set `name`: "digits", "cifar10" (in the folder `CPCHUB_DATA`), or images in a folder, tar shards, ...

    `split` is "train" or "test"; digits keep the last 360 images for the test, a folder is all "train".
    `size` is the side in pixels that images of a folder are stored at, `rules` what is left out of it. Raises
    `SourceError` with the way out.
    """
    if name == "digits":
        return digits(split)
    if name == "cifar10":
        return cifar10(data_folder(), split)
    if not name:
        check_own_images(name)
    if split != "train":
        raise RecipeError(f"{name} has no {split} part")
    if names_modalities(name):
        from cpchub_training.data.aligned import aligned

        return aligned(name, size, rules)
    return in_memory(own_images(name, rules), title(name), size)


def own_images(name: str, rules: Rules = NO_RULES) -> Listed:
    """A user's own images. Raises `SourceError` if there are none."""
    check_own_images(name)
    return listed(name, rules)


def title(name: str) -> str:
    """What a source of images is called on cards: the last part of its path."""
    return name.rstrip("/").rpartition("/")[2]


def in_memory(found: Listed, name: str, size: int, image_cache: str = NONE) -> Images:
    """Every readable image of a source, as squares of `size` pixels. Broken ones are listed in `skipped`.

    image_cache: as a recipe has it; the next run then reads the squares of large images.
    """
    copies = Copies(found, Square(size), image_cache)
    images, skipped = squares(found, size, copies.read)
    good = [i for i in range(len(found)) if i not in skipped]
    reasons = tuple((found.images[i].path, skipped[i]) for i in sorted(skipped))
    if not good:
        raise SourceError(f"none of the {len(found)} images in {name} can be read, first: {skipped[0]}")
    labels = None if found.labels is None else found.labels[good]
    return Images(name, images[good], labels, found.classes, reasons)


def open_data(
    recipe: Recipe, check: Callable[[Recipe, int, bool], None] | None = None
) -> Images | Stream | recordings.Recordings:
    """The recipe's images, `recipe.limit` of them: in memory if they fit as squares into a quarter of it, or streamed.

    CPC on sound gets its recordings, which stay on disk. `check` is called with the recipe, the number of images and
    whether they have labels, before anything is decoded. Raises `SourceError` for missing data, and whatever `check`
    raises.
    """
    if recipe.takes == "sound":
        return recordings.load(recipe.data, recipe.audio, recipe.rules)
    if recipe.data in ("", *HAVE_TEST_PART) or names_modalities(recipe.data):
        known = _report_left_out(load(recipe.data, size=recipe.stored_size, rules=recipe.rules))
        return known if (rows := drawn(len(known), recipe.limit)) is None else known.subset(rows)
    images = own_images(recipe.data, recipe.rules)
    if (rows := drawn(len(images), recipe.limit)) is not None:
        images = images.subset(rows)
    if check is not None:
        check(recipe, len(images), images.labels is not None)
    if recipe.stream == "never" and recipe.views_on == "device":
        return _report_left_out(in_memory(images, title(recipe.data), recipe.stored_size, recipe.image_cache))
    needed = len(images) * 3 * recipe.stored_size**2
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if recipe.stream == "always" or recipe.views_on == "cpu" or needed > memory / 4:
        return Stream(images, recipe.stored_size, image_cache=recipe.image_cache)
    return _report_left_out(in_memory(images, title(recipe.data), recipe.stored_size, recipe.image_cache))


def drawn(n: int, limit: int) -> np.ndarray | None:
    """The rows of `limit` of n images, ascending and the same at every call; None where all are taken."""
    return np.sort(np.random.default_rng(0).permutation(n)[:limit]) if 0 < limit < n else None


def _report_left_out(images: Images) -> Images:
    """Report the images that are left out, and return the rest."""
    tell_left_out(images.skipped, len(images) + len(images.skipped), images.name)
    return images
