"""The command that trains a recipe again, as its card has it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

from cpchub_training.recipes.recipe import Recipe
from cpchub_training.recipes.registry import get, names


def command_of(recipe: Recipe) -> str | None:
    """`cpchub train NAME` with a flag for each field that is not the registered recipe's; None for a name that is not
    registered.

    Of an absolute path the last part stays: the rest names folders of one machine.
    """
    if recipe.name not in names():
        return None
    return shlex.join(["cpchub", "train", recipe.name, *_changed(get(recipe.name), recipe, "", recipe.unit)])


def _changed(base: Any, value: Any, prefix: str, unit: str) -> Iterator[str]:
    """The flags that make `value` of `base`, two values of one dataclass."""
    for field in fields(base):
        old, new = getattr(base, field.name), getattr(value, field.name)
        name = f"{unit}s" if not prefix and field.name == "data" else field.name
        if is_dataclass(old):
            yield from _changed(old, new, f"{prefix}{name}.", unit)
        elif old != new:
            yield from _flag(f"{prefix}{name}".replace("_", "-"), new)


def _flag(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield f"--{name}" if value else "--" + ".".join([*name.split(".")[:-1], f"no-{name.split('.')[-1]}"])
        return
    yield f"--{name}"
    if isinstance(value, Mapping):
        yield json.dumps(dict(value))
    elif isinstance(value, (list, tuple)):
        yield from (str(each) for each in _flat(value))
    elif isinstance(value, str) and PurePath(value).is_absolute():
        yield PurePath(value).name
    else:
        yield str(value)


def _flat(values: Any) -> Iterator[Any]:
    for each in values:
        if isinstance(each, (list, tuple)):
            yield from _flat(each)
        else:
            yield each
