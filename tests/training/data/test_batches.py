"""Which images a step takes: every image once an epoch, whatever the ranks, the parts and the remainder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cpchub_training import data, recipes
from cpchub_training.data.batches import Batches
from cpchub_training.data.listing import listed
from cpchub_training.data.streaming import Stream
from cpchub_training.views.settings import Views
from tests.training.small_runs import small

RECIPE = replace(recipes.get("simclr_digits"), batch_size=12)


@pytest.mark.parametrize(
    ("n", "world_size", "accumulate", "drop_last", "sizes"),
    [
        (48, 1, 1, True, [12, 12, 12, 12]),
        (50, 1, 1, True, [12, 12, 12, 12]),
        (50, 1, 1, False, [12, 12, 12, 12, 2]),
        (49, 1, 1, False, [12, 12, 12, 12]),  # a batch of one image has nothing to contrast
        (55, 2, 1, False, [12, 12, 12, 12, 6]),
        (55, 2, 2, False, [12, 12, 12, 12]),  # 7 images are not two for each of four parts
        (58, 1, 3, False, [12, 12, 12, 12, 9]),
    ],
)
def test_an_epoch_is_cut_into_batches(
    n: int, world_size: int, accumulate: int, drop_last: bool, sizes: list[int]
) -> None:
    recipe = replace(RECIPE, accumulate=accumulate, drop_last=drop_last)
    plans = [Batches(recipe, n, rank, world_size) for rank in range(world_size)]
    assert {plan.steps_per_epoch for plan in plans} == {len(sizes)}
    for epoch in range(2):
        steps = range(epoch * len(sizes), (epoch + 1) * len(sizes))
        each = [list(plan.batches(steps.start, steps.stop)) for plan in plans]
        joined = [torch.cat([batches[i].rows for batches in each]) for i in range(len(sizes))]
        assert [len(rows) for rows in joined] == sizes
        everything = torch.cat(joined)
        assert len(everything.unique()) == len(everything)


def test_ranks_share_the_order_and_the_seeds() -> None:
    whole = next(Batches(RECIPE, 48).batches(5, 6))
    halves = [next(Batches(RECIPE, 48, rank, 2).batches(5, 6)) for rank in (0, 1)]
    assert torch.equal(whole.rows, torch.cat([half.rows for half in halves]))
    assert halves[0].seed == halves[1].seed == whole.seed
    assert whole.epoch == 1


@pytest.mark.parametrize("changes", [{}, {"views_on": "cpu"}, {"method": "cpc_v2"}], ids=str)
def test_an_image_has_the_same_views_on_any_number_of_ranks(changes: dict[str, Any], tmp_path: Path) -> None:
    """But for patches, whose views are drawn for all patches of a rank: there each rank draws its own."""
    everything = Views(size=16, blur_p=0.5, solarize_p=0.5, gamma=0.3, rotation=10, shear=5, elastic=0.05)
    views = everything if not changes.get("views_on") else Views(size=16, blur_p=0.5, solarize_p=0.5)
    recipe = replace(RECIPE, views=views, **changes)
    images: Any = data.digits().subset(np.arange(24))
    if recipe.views_on == "cpu":
        for row, image in enumerate(images.images):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{row:02}.png")
        images = Stream(listed(str(tmp_path)), 32)
    if recipe.takes == "patches":
        recipe = replace(recipe, n_views=1, backbone_args={"patch_size": 8, "patch_stride": 4})

    def seen(rank: int, n: int) -> list[torch.Tensor]:
        plan = Batches(recipe, 24, rank, n).batches(1, 2)
        return next(iter(images.views(plan, recipe, torch.device("cpu"))))[1]

    whole = seen(0, 1)
    for n in (2, 3):
        parts = [seen(rank, n) for rank in range(n)]
        for number, expected in enumerate(whole):
            together = torch.cat([part[number] for part in parts])
            if recipe.takes == "images":
                torch.testing.assert_close(together, expected)
            else:
                assert not torch.equal(parts[0][number], parts[1][number])
                assert together.shape == expected.shape


def test_epochs_have_different_orders_and_a_plan_can_begin_anywhere() -> None:
    plan = Batches(RECIPE, 48)
    first, second = (torch.cat([b.rows for b in plan.batches(4 * e, 4 * e + 4)]) for e in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat([b.rows for b in plan.batches(6, 8)]), second[24:])


def test_early_batches_have_smaller_views_in_memory_and_streamed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    recipe = small(
        epochs=2, batch_size=4, stored_size=20, views=Views(size=16), early_sizes=((0.25, 8), (0.75, 12)), n_views=2
    )
    for source in (data.load(str(tmp_path), size=20), Stream(listed(str(tmp_path)), 20)):
        for views_on in ("device", "cpu"):
            each = source.views(
                Batches(recipe, 8).batches(0, 4), replace(recipe, views_on=views_on), torch.device("cpu")
            )
            assert [[view.shape[-1] for view in views] for _, views in each] == [[8] * 2, [12] * 2, [12] * 2, [16] * 2]
