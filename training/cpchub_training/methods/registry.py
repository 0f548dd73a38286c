"""The registry of methods: `@method("moco_v2", views=2)` on a class is all that makes it trainable by name.

A recipe names its method. The class says what the loop has to know of it (how many views it takes, whether it needs
labels), and its `from_recipe` builds it from the recipe's values.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import torch.nn as nn
from torch import Tensor

from cpchub.errors import RecipeError
from cpchub_training.recipes import Recipe


class Method(nn.Module):
    """Base of the methods: a module whose `forward` is the algorithm. All its state is in parameters and buffers.

    `backbone` is the encoder that is exported.
    """

    backbone: nn.Module
    sync_batch_norm: ClassVar[bool] = True  # over several ranks, batch norms take the statistics of all of them
    can_be_sharded: ClassVar[bool] = True  # False where a step changes weights outside of the optimizer

    def forward(
        self, views: Sequence[Tensor], indices: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and a few scalars worth watching.

        views: the random views of a batch, `[N, C, H, W]` each; row i of each view is from image i.
        indices: int64 `[N]`, which images of the data set these are.
        labels: int64 `[N]`, their classes, where the method asked for labels; -1 is a label that is not known.
        """
        raise TypeError(f"{type(self).__name__} has no forward, which is where its algorithm belongs")

    def chance(self, n: int) -> float | None:
        """The loss of an encoder that gives all images of a batch of `n` the same vector, which is no learning.

        None where a method cannot say it.
        """
        return None


class Classifying(Method):
    """Base of the methods that train a linear classifier beside their encoder."""

    classifier: nn.Linear

    def logits(self, x: Tensor) -> Tensor:
        """Images `[N, C, H, W]` to `[N, classes]`."""
        raise TypeError(f"{type(self).__name__} does not say how its classifier is applied")


class DataFacts(NamedTuple):
    """What a method may need to know of the training data: a memory bank has a row for each image."""

    n_images: int
    n_classes: int = 0  # of the labels; 0 where there are none


class Teacher(NamedTuple):
    """A finished run that another run goes on from: its recipe and its method as it was trained."""

    recipe: Recipe
    method: nn.Module


@dataclass(frozen=True)
class Entry:
    """One method of the registry. `labels`: none are used, some images have one, or all."""

    name: str
    cls: type[Method]
    views: Collection[int]
    labels: Literal["none", "some", "all"]
    teacher: bool

    def build(self, recipe: Recipe, backbone: nn.Module, data: DataFacts, teacher: Teacher | None = None) -> Method:
        """The method around `backbone`. Raises `RecipeError` for a backbone that the method cannot use."""
        from_recipe: Any = self.cls.from_recipe  # type: ignore[attr-defined]
        built: Method = from_recipe(recipe, backbone, data, *([teacher] if self.teacher else []))
        return built

    def check(self, recipe: Recipe, *, labelled: bool) -> None:
        """Raise `RecipeError` where the recipe, or data without labels, cannot be used with this method."""
        if recipe.n_views not in self.views:
            raise RecipeError(f"n_views={recipe.n_views!r} cannot work with method={self.name!r}; change --n-views")
        if self.labels != "none" and not labelled:
            raise RecipeError(f"method={self.name!r} needs labels, and the data has none; use --method simclr")
        if recipe.fsdp and not self.cls.can_be_sharded:
            raise RecipeError(
                f"fsdp=True cannot work with method={self.name!r}, whose steps need whole weights; use --no-fsdp"
            )
        if self.teacher and not recipe.teacher:
            raise RecipeError(f"method={self.name!r} goes on from another run: name its folder with --teacher")


_REGISTRY: dict[str, Entry] = {}

AnyMethod = TypeVar("AnyMethod", bound=Method)


def method(
    name: str,
    *,
    views: int | Collection[int],
    labels: Literal["none", "some", "all"] = "none",
    teacher: bool = False,
) -> Callable[[type[AnyMethod]], type[AnyMethod]]:
    """Register a class under `name`. It has a class method `from_recipe(recipe, backbone, data)`.

    views: how many views of an image it takes, as `--n-views` may have it.
    labels: "all" images need a class, "some" do, or "none" is used.
    teacher: it goes on from another run, which `from_recipe` is given as its fourth argument.
    """
    counts = (views,) if isinstance(views, int) else views

    def register(cls: type[AnyMethod]) -> type[AnyMethod]:
        _REGISTRY[name] = Entry(name, cls, counts, labels, teacher)
        return cls

    return register


def names() -> list[str]:
    """The names of all methods."""
    return sorted(_REGISTRY)


def get(name: str) -> Entry:
    """The method called `name`. Raises `RecipeError`, which offers the nearest names, where there is none."""
    if name not in _REGISTRY:
        near = difflib.get_close_matches(name, names(), n=3)
        offer = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names())}"
        raise RecipeError(f"method={name!r} is no method; {offer}")
    return _REGISTRY[name]


def check(recipe: Recipe, n_images: int, labelled: bool, world_size: int = 1) -> None:
    """Raise `RecipeError` for a recipe that cannot work, in itself or with this data, before any work.

    labelled: whether the images have labels. world_size: number of ranks.
    """
    recipe.check(n_images, world_size)
    get(recipe.method).check(recipe, labelled=labelled)


def width_of(backbone: nn.Module) -> int:
    """C, the number of features of a timm network without its classifier."""
    return int(backbone.num_features)  # type: ignore[arg-type]
