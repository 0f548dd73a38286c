"""A batch falls into equal shares of the ranks, or the error names the sizes and the numbers of ranks that fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpchub.errors import RecipeError
from cpchub_training import recipes
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.cpc_settings import CPCSettings

SIMCLR = recipes.get("simclr_digits")
CPC = replace(recipes.get("cpc_cifar10_cpu"), cpc=CPCSettings(group=8))


@pytest.mark.parametrize(
    ("recipe", "batch_size", "ranks", "way_out"),
    [
        (SIMCLR, 64, 3, "3 ranks, of two images or more; use --batch-size 63 or 66; or start 1, 2 rank(s)"),
        (SIMCLR, 7, 8, "8 ranks, of two images or more; use --batch-size 16 or 24; or start 1 rank(s)"),
        (replace(SIMCLR, accumulate=4), 64, 3, "3 ranks, each in 4 parts, of two images or more; use --batch-size 60"),
        (CPC, 64, 3, "3 ranks, in groups of 8, of two images or more; use --batch-size 48 or 72; or start 1, 2"),
    ],
)
def test_an_error_names_what_fits(recipe: Recipe, batch_size: int, ranks: int, way_out: str) -> None:
    with pytest.raises(RecipeError) as raised:
        replace(recipe, batch_size=batch_size).check(10_000, ranks)
    assert str(raised.value).startswith(f"batch_size={batch_size} does not fall into equal shares of {way_out}")
    named = str(raised.value).partition("--batch-size ")[2].partition(";")[0]
    for size in named.split(" or "):
        replace(recipe, batch_size=int(size)).check(10_000, ranks)
