"""The term that keeps colours in the features: what a view's colours are, and who is asked for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cpchub_training.losses import colour_loss
from cpchub_training.losses.colours import BINS, colour_shares
from cpchub_training.methods.simclr import SimCLR


class Mean(nn.Module):
    """The mean of each channel, the same network whatever the seed."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) * self.scale


def simclr(weight: float, **settings: object) -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(Mean(), 3, 8, 4, 0.2, colour_weight=weight, **settings)  # type: ignore[arg-type]


def test_an_image_of_one_colour_has_one_and_a_half_and_half_one_has_two() -> None:
    x = torch.full((2, 3, 8, 8), -2.0)
    x[1, 0, :4] = 2.0  # red above
    shares = colour_shares(x)
    assert shares.shape == (2, BINS)
    assert shares[0].nonzero().tolist() == [[0]]
    assert shares[1].nonzero().tolist() == [[0], [3 * 16]]
    assert shares[1, 0] == 0.5


@pytest.mark.parametrize("shape", [(3, 3, 48, 48), (1, 3, 7, 5), (2, 3, 1, 1)])
def test_shares_add_up_to_one_and_do_not_depend_on_the_layout(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    torch.testing.assert_close(colour_shares(x).sum(1), torch.ones(shape[0]))
    assert torch.equal(colour_shares(x), colour_shares(x.contiguous(memory_format=torch.channels_last)))


def test_foretold_exactly_the_loss_is_zero_and_by_chance_what_it_is_by_hand() -> None:
    x = torch.full((4, 3, 8, 8), -2.0)
    exact = torch.full((4, BINS), -50.0)
    exact[:, 0] = 50.0
    assert colour_loss(exact, x).item() == pytest.approx(0, abs=1e-6)
    assert colour_loss(torch.zeros(4, BINS), x).item() == pytest.approx(4.158883, abs=1e-5)  # log 64
    with torch.autocast("cpu", torch.bfloat16):
        assert colour_loss(torch.zeros(4, BINS).bfloat16(), x).dtype == torch.float32


def test_the_term_is_added_with_its_weight_and_teaches_the_encoder() -> None:
    views = [torch.randn(6, 3, 8, 8) for _ in range(2)]
    plain, coloured = simclr(0.0), simclr(0.5)
    assert "colours" not in plain(views)[1]
    assert not [name for name in plain.state_dict() if name.startswith("colours")]
    loss, scalars = coloured(views)
    torch.testing.assert_close(loss, scalars["contrast"] + 0.5 * scalars["colours"])
    assert not scalars["colours"].requires_grad
    colour_loss(coloured.colours(coloured.backbone(torch.cat(views))), torch.cat(views)).backward()  # type: ignore[misc]
    assert float(coloured.get_parameter("backbone.scale").grad.abs().min()) > 0  # type: ignore[union-attr]


def test_with_more_views_and_decoupled_it_is_the_same_term() -> None:
    views = [torch.randn(6, 3, 8, 8) for _ in range(3)]
    assert simclr(1.0, n_views=3)(views)[1]["colours"] > 0
    assert simclr(1.0, decoupled=True)(views[:2])[1]["colours"] > 0
