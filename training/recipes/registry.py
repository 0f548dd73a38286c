"""Recipes by name."""

from __future__ import annotations

from collections.abc import Callable

from cpchub.errors import UnknownModelError
from training.recipes.recipe import Recipe

_REGISTRY: dict[str, Callable[[], Recipe]] = {}


def recipe(function: Callable[[], Recipe]) -> Callable[[], Recipe]:
    """Register a recipe under its function's name."""
    _REGISTRY[function.__name__] = function
    return function


def names() -> list[str]:
    return sorted(_REGISTRY)


def get(name: str) -> Recipe:
    """The recipe called `name` (hyphens and underscores alike); the error offers the names there are."""
    key = name.replace("-", "_")
    if key not in _REGISTRY:
        raise UnknownModelError(f"no recipe called {name!r}; there are: {', '.join(names())}")
    return _REGISTRY[key]()
