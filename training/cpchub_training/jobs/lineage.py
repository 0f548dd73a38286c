"""Which published encoders a run has made its own of: licences go over from one to the next."""

from __future__ import annotations

from pathlib import Path

import timm

from cpchub.catalog.licences import UNKNOWN, Parent
from cpchub.errors import CpchubError
from cpchub.hub.locate import locate_local
from cpchub_training.recipes import Recipe
from cpchub_training.run.run_folder import recipe_of


def parents_of(recipe: Recipe) -> tuple[Parent, ...]:
    """The encoder that a run went on from (`init_from`), and those of the runs that taught it.

    An encoder that is no longer on this machine counts as one whose licence is not known.
    """
    found = [_parent(recipe.init_from)] if recipe.init_from else []
    taught = recipe_of(Path(recipe.teacher)) if recipe.teacher else None
    return tuple(dict.fromkeys((*found, *(parents_of(taught) if taught else ()))))


def _parent(name: str) -> Parent:
    if name.startswith("timm/"):
        config = timm.get_pretrained_cfg(name.removeprefix("timm/"))
        return Parent(name, (config.license if config else None) or UNKNOWN)
    try:
        spec = locate_local(name)
    except CpchubError:
        return Parent(Path(name).name, UNKNOWN)
    return Parent(spec.name, spec.license or UNKNOWN)
