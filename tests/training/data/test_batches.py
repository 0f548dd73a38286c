"""Which images a step takes: every image once an epoch, whatever the ranks, the parts and the remainder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cpchub_training import recipes
from cpchub_training.data.batches import Batches

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


def test_ranks_share_the_order_and_not_the_seeds() -> None:
    whole = next(Batches(RECIPE, 48).batches(5, 6))
    halves = [next(Batches(RECIPE, 48, rank, 2).batches(5, 6)) for rank in (0, 1)]
    assert torch.equal(whole.rows, torch.cat([half.rows for half in halves]))
    assert halves[0].seed != halves[1].seed
    assert whole.epoch == 1


def test_epochs_have_different_orders_and_a_plan_can_begin_anywhere() -> None:
    plan = Batches(RECIPE, 48)
    first, second = (torch.cat([b.rows for b in plan.batches(4 * e, 4 * e + 4)]) for e in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat([b.rows for b in plan.batches(6, 8)]), second[24:])
