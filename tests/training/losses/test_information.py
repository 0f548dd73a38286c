"""Bounds on mutual information where the truth is known: correlated Gaussians, I = -log(1 - rho^2) / 2 a dimension."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cpchub_training.losses.information import (
    club_upper_bound,
    info_nce_lower_bound,
    leave_one_out_upper_bound,
    nwj_lower_bound,
    variational_upper_bound,
)

RHO = (0.5, 0.8)


def log_normal(c: Tensor, mean: Tensor | float, variance: float) -> Tensor:
    return (-((c - mean) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)).sum(-1)


def gaussian(rho: float, n: int, dims: int = 1, variance: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """`n` pairs: log p(c_j | x_i) as [n, n], log N(c_i; 0, variance) as [n], and the information in nats.

    The draws are whitened, so that their second moments are exact and bounds made of squares have no sampling error.
    """
    draws = torch.randn(n, 2 * dims, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, e = (torch.linalg.qr(draws - draws.mean(0)).Q * math.sqrt(n)).split(dims, dim=1)
    c = rho * x + math.sqrt(1 - rho**2) * e
    conditional = log_normal(c[None], rho * x[:, None], 1 - rho**2)
    return conditional, log_normal(c, 0.0, variance), torch.tensor(-0.5 * dims * math.log(1 - rho**2))


def test_the_information_of_the_examples_is_the_published_one() -> None:
    assert gaussian(0.5, 2)[2].item() == pytest.approx(0.1438, abs=5e-5)
    assert gaussian(0.8, 2)[2].item() == pytest.approx(0.5108, abs=5e-5)


@pytest.mark.parametrize("rho", RHO)
def test_the_variational_bound_with_the_true_marginal_is_the_information(rho: float) -> None:
    conditional, marginal, truth = gaussian(rho, 1024)
    assert variational_upper_bound(conditional.diagonal(), marginal).item() == pytest.approx(truth.item(), abs=1e-5)


@pytest.mark.parametrize("rho", RHO)
def test_the_variational_bound_exceeds_by_the_divergence_of_the_marginals(rho: float) -> None:
    conditional, wide, truth = gaussian(rho, 1024, variance=2.0)
    divergence = 0.5 * (math.log(2.0) + 1 / 2.0 - 1)  # KL(N(0, 1) || N(0, 2))
    bound = variational_upper_bound(conditional.diagonal(), wide)
    assert bound.item() == pytest.approx(truth.item() + divergence, abs=1e-5)


@pytest.mark.parametrize(("rho", "published"), [(0.5, 0.3333), (0.8, 1.7778)])
def test_club_with_the_true_density_has_its_closed_form(rho: float, published: float) -> None:
    n = 1024
    conditional, _, _ = gaussian(rho, n)
    closed_form = rho**2 / (1 - rho**2)
    assert closed_form == pytest.approx(published, abs=5e-5)
    without_the_diagonal = n / (n - 1)  # the whitened draws are exact over all N^2 pairs
    assert club_upper_bound(conditional).item() == pytest.approx(closed_form * without_the_diagonal, abs=1e-5)


@pytest.mark.parametrize("rho", RHO)
def test_nwj_with_its_best_critic_is_the_information(rho: float) -> None:
    conditional, marginal, truth = gaussian(rho, 1024)
    assert nwj_lower_bound(1 + conditional - marginal) == pytest.approx(truth.item(), abs=0.05)


@pytest.mark.parametrize("rho", RHO)
def test_info_nce_and_leave_one_out_enclose_the_information(rho: float) -> None:
    lower, upper, truth = 0.0, 0.0, gaussian(rho, 2)[2].item()
    conditional, marginal, _ = gaussian(rho, 1024)
    ratio = conditional - marginal
    for first in range(0, 1024, 32):  # batches of 32, where both are loose
        block = slice(first, first + 32)
        lower += info_nce_lower_bound(ratio[block, block]).item() / 32
        upper += leave_one_out_upper_bound(conditional[block, block]).item() / 32
    assert lower < truth < upper
    assert info_nce_lower_bound(ratio) == pytest.approx(truth, abs=0.03)  # and tight with many candidates
    assert leave_one_out_upper_bound(conditional) == pytest.approx(truth, abs=0.03)


def test_the_order_of_the_bounds_on_gaussians() -> None:
    conditional, marginal, _ = gaussian(0.8, 1024, dims=3)
    variational = variational_upper_bound(conditional.diagonal(), marginal)
    assert info_nce_lower_bound(conditional - marginal) < variational < club_upper_bound(conditional)


def test_info_nce_says_nothing_of_equal_scores_and_log_n_of_perfect_ones() -> None:
    assert info_nce_lower_bound(torch.ones(16, 16)).item() == pytest.approx(0, abs=1e-5)
    assert info_nce_lower_bound(torch.eye(16) * 1e4).item() == pytest.approx(math.log(16), abs=1e-5)


def test_bounds_by_hand_on_two_pairs() -> None:
    scores = torch.tensor([[1.0, 0.0], [-1.0, 2.0]])
    assert nwj_lower_bound(scores).item() == pytest.approx(1.5 - (math.exp(-1) + math.exp(-2)) / 2, abs=1e-6)
    assert club_upper_bound(scores).item() == pytest.approx(1.5 + 0.5, abs=1e-6)
    assert leave_one_out_upper_bound(scores).item() == pytest.approx(((1 - -1) + (2 - 0)) / 2, abs=1e-6)


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3, 2\]"):
        info_nce_lower_bound(torch.zeros(3, 2))
