"""The NCE of InstDisc: closed form, a loop over the paper's equations, and its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cpchub_training.losses import info_nce, instance_softmax, instdisc_nce


@pytest.mark.parametrize("m", [1, 16, 4096])
def test_nce_with_every_probability_at_the_noise_level(m: int) -> None:
    n, similarity = 50000, torch.full((3, 1 + m), 0.4)
    Z = n * math.exp(0.4 / 0.07)
    expected = math.log(1 + m) + m * math.log1p(1 / m)
    assert instdisc_nce(similarity, 0.07, n, Z).item() == pytest.approx(expected, abs=1e-5)


def test_nce_has_the_published_value() -> None:
    assert instdisc_nce(torch.zeros(2, 4097), 0.07, 100, 100.0).item() == pytest.approx(9.317888, abs=1e-5)


def nce_by_loops(similarity: Tensor, temperature: float, n: int, Z: float) -> Tensor:
    """Equations 5 to 7, one probability at a time."""
    m, terms = similarity.shape[1] - 1, []
    for row in similarity.double():
        p = (row / temperature).exp() / Z
        h = p / (p + m / n)
        terms.append(-h[0].log() - (1 - h[1:]).log().sum())
    return torch.stack(terms).mean()


def test_nce_equals_a_loop_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    similarity = torch.rand(5, 9) * 2 - 1
    results = []
    for loss in (instdisc_nce, nce_by_loops):
        leaf = similarity.clone().requires_grad_()
        value = loss(leaf, 0.1, 300, 2000.0)
        results.append((value.float().detach(), *torch.autograd.grad(value, leaf)))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def test_nce_is_finite_at_the_ends_of_the_cosine() -> None:
    similarity = torch.tensor([[-1.0, 1.0], [1.0, -1.0]], requires_grad=True)
    value = instdisc_nce(similarity, 0.01, 10, 1.0)
    value.backward()
    assert value.isfinite()
    assert similarity.grad is not None
    assert similarity.grad.isfinite().all()


def test_the_softmax_over_an_orthonormal_bank() -> None:
    indices = torch.tensor([7, 0])
    expected = math.log1p(99 * math.exp(-1 / 0.3))
    assert instance_softmax(torch.eye(100)[indices], torch.eye(100), indices, 0.3).item() == pytest.approx(
        expected, abs=1e-5
    )


def test_the_softmax_over_a_bank_is_info_nce_with_the_other_rows_as_negatives() -> None:
    torch.manual_seed(0)
    bank, v = torch.nn.functional.normalize(torch.randn(9, 4), dim=1), torch.randn(1, 4)
    expected = info_nce(v, bank[4:5], bank[[0, 1, 2, 3, 5, 6, 7, 8]], 0.2)
    torch.testing.assert_close(instance_softmax(v, bank, torch.tensor([4]), 0.2), expected)


def test_nce_computes_in_float32_whatever_comes_in() -> None:
    assert instdisc_nce(torch.zeros(2, 5).bfloat16(), 0.1, 10, 10.0).dtype == torch.float32
