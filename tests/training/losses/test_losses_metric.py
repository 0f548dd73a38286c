"""Hadsell's contrastive loss and triplets: values by hand, the spring's force, and independent oracles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cpchub_training.losses import margin_contrastive, mined_triplet, triplet


def test_the_contrastive_loss_has_both_of_its_halves() -> None:
    same = torch.zeros(1, 2)
    apart = torch.tensor([[0.6, 0.8]])  # at distance 1
    similar, dissimilar = torch.tensor([False]), torch.tensor([True])
    assert margin_contrastive(same, same, similar, 2.0) == 0
    assert margin_contrastive(same, same, dissimilar, 2.0).item() == pytest.approx(2.0)  # m^2 / 2
    assert margin_contrastive(same, apart, similar, 2.0).item() == pytest.approx(0.5)  # D^2 / 2
    assert margin_contrastive(same, apart, dissimilar, 2.0).item() == pytest.approx(0.5)  # (m - D)^2 / 2
    assert margin_contrastive(same, apart, dissimilar, 0.5) == 0  # beyond the margin


def test_the_contrastive_loss_pulls_and_pushes_like_a_spring() -> None:
    a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    for dissimilar, force in ((0, b), (1, -(2.0 - 1.0) * b)):  # D, and (m - D) the other way, along b - a
        x = b.clone().requires_grad_()
        margin_contrastive(a, x, torch.tensor([dissimilar]), 2.0).backward()
        torch.testing.assert_close(x.grad, force)


def test_the_contrastive_loss_of_coinciding_points_has_a_finite_gradient() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    margin_contrastive(x, torch.zeros(2, 3), torch.tensor([0, 1]), 1.0).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def both(mine: Tensor, theirs: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(mine, theirs)
    for a, b in zip(torch.autograd.grad(mine, inputs), torch.autograd.grad(theirs, inputs), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_triplet_agrees_with_torch_on_squared_distances() -> None:
    torch.manual_seed(0)
    a, p, n = (torch.randn(20, 4, requires_grad=True) for _ in range(3))
    oracle = torch.nn.TripletMarginWithDistanceLoss(distance_function=lambda x, y: (x - y).square().sum(-1), margin=0.5)
    both(triplet(a, p, n, 0.5), oracle(a, p, n), a, p, n)


def test_triplet_agrees_with_torch_where_distance_and_square_are_the_same() -> None:
    """Distances of 0 and 1 are their own squares, so the unsquared loss of torch has to give the same."""
    points = torch.eye(3)[[0, 1, 2]] / 2**0.5  # any two of them at distance 1
    a, p, n = points[[0, 1, 2, 0]], points[[0, 2, 1, 2]], points[[1, 1, 2, 0]]
    theirs = torch.nn.TripletMarginLoss(margin=0.2, eps=0)(a, p, n)
    assert triplet(a, p, n, 0.2).item() == pytest.approx(theirs.item(), abs=1e-6)


LINE = torch.tensor([[0.0], [1.0], [2.0]])  # images 0 and 1 of one class, 2 of another
CLASSES = torch.tensor([0, 0, 1])


@pytest.mark.parametrize(
    ("mining", "margin", "expected"),
    [
        # anchor 0: d_ap 1, d_an 4; anchor 1: d_ap 1, d_an 1
        ("hard", 2.0, 2.0),  # anchor 1 alone
        ("semi-hard", 4.0, 1.0),  # anchor 0 alone: 1 - 4 + 4
        ("semi-hard", 2.0, 0.0),  # none: anchor 0 is easy already
        ("easy", 2.0, 0.0),
        ("all", 4.0, (1.0 + 4.0) / 2),
    ],
)
def test_mining_takes_the_triplets_of_its_kind(mining: str, margin: float, expected: float) -> None:
    assert mined_triplet(LINE, CLASSES, margin, mining).item() == pytest.approx(expected)


@pytest.mark.parametrize("mining", ["hard", "semi-hard", "easy"])
def test_mining_agrees_with_pytorch_metric_learning_in_value_and_gradient(mining: str) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.miners import TripletMarginMiner
    from pytorch_metric_learning.reducers import MeanReducer

    torch.manual_seed(0)
    x, labels = torch.randn(18, 5, requires_grad=True), torch.arange(18) % 4
    distance = LpDistance(power=2, normalize_embeddings=False)
    miner = TripletMarginMiner(margin=3.0, type_of_triplets=mining.replace("-", ""), distance=distance)
    oracle = losses.TripletMarginLoss(margin=3.0, distance=distance, reducer=MeanReducer())
    both(mined_triplet(x, labels, 3.0, mining), oracle(x, labels, miner(x, labels)), x)


def test_a_batch_of_one_class_has_no_triplets_and_no_gradient() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    value = mined_triplet(x, torch.zeros(4), 0.2, "all")
    value.backward()
    assert value == 0
    assert x.grad is not None
    assert not x.grad.any()


def test_an_unknown_kind_of_mining_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'hardest'"):
        mined_triplet(LINE, CLASSES, 0.2, "hardest")
