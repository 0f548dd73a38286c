"""Recipes by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from cpchub.errors import UnknownModelError
from cpchub_training.recipes.recipe import Recipe

_REGISTRY: dict[str, Callable[[], Recipe]] = {}


def recipe(function: Callable[[], Recipe]) -> Callable[[], Recipe]:
    """Register a recipe under its function's name."""
    _REGISTRY[function.__name__] = function
    return function


def names() -> list[str]:
    return sorted(_REGISTRY)


def get(name: str) -> Recipe:
    """The recipe called `name` (hyphens and underscores alike); the error offers the nearest."""
    key = name.replace("-", "_")
    if key not in _REGISTRY:
        near = difflib.get_close_matches(key, names(), n=3)
        offer = f"did you mean {' or '.join(near)}?" if near else "see what there is: cpchub train --list"
        raise UnknownModelError(f"no recipe called {name!r}; {offer}")
    return _REGISTRY[key]()
