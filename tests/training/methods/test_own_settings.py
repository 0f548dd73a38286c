"""The settings that a method is said to read are those that it reads: the help of `cpchub train` shows no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cpchub_training import methods, recipes
from cpchub_training.methods import DataFacts
from cpchub_training.recipes.own_settings import CLAIMED, GROUPS, METHODS, not_of, only_own
from cpchub_training.run.backbone import build_backbone

RECIPES = {recipes.get(name).method: name for name in recipes.names()}  # one for each method that has a recipe
READ_BY_THE_RUN = {"semi.label_fraction", "semi.labelled_share"}
HANDED_ON_WHOLE = ("cpc.", "audio.")


class Read:
    """A recipe or a group of its settings that notes what is read of it, by dotted name."""

    def __init__(self, value: Any, seen: set[str], prefix: str = "") -> None:
        self._value, self._seen, self._prefix = value, seen, prefix

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._value, name)
        if name in GROUPS:
            return Read(value, self._seen, f"{name}.")
        self._seen.add(self._prefix + name)
        return value


def test_every_method_says_which_settings_it_reads() -> None:
    assert set(methods.names()) == METHODS


@pytest.mark.parametrize("method", sorted(RECIPES))
def test_what_a_method_reads_is_what_it_is_said_to_read(method: str) -> None:
    recipe, seen = recipes.get(RECIPES[method]), set[str]()
    with torch.device("meta"):
        methods.get(method).build(Read(recipe, seen), build_backbone(recipe), DataFacts(64, 10))  # type: ignore[arg-type]
    assert not seen & not_of(method)
    own = CLAIMED - not_of(method) - READ_BY_THE_RUN
    assert not {name for name in own - seen if not name.startswith(HANDED_ON_WHOLE)}


def test_a_method_that_nobody_knows_has_all_settings() -> None:
    assert not not_of("somebodys_own")


def test_what_is_exported_has_the_settings_of_its_method_and_is_the_same_recipe() -> None:
    recipe = recipes.get("simclr_digits")
    own = only_own(recipe.to_dict())
    assert {"temperature", "projector_dim", "views", "lr"} <= set(own)
    assert not set(GROUPS) & set(own)
    assert recipes.Recipe.from_dict(own) == recipe
    moco = only_own(recipes.get("moco_v2_resnet18_w32_cifar10_cpu").to_dict())
    assert set(GROUPS) & set(moco) == {"moco"}
