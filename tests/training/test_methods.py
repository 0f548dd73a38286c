"""MoCo's algorithm 1, step by step."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.methods import MoCo, SimCLR


class Tiny(nn.Module):
    """Pixels to 8 features, with a batch norm to split."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).mean((2, 3))


def views(n: int = 8) -> list[Tensor]:
    return [torch.randn(n, 3, 6, 6) for _ in range(2)]


def moco(**settings: object) -> MoCo:
    torch.manual_seed(0)
    return MoCo(Tiny(), 8, 16, 4, **{"K": 32, "T": 0.2, "m": 0.9, "bn_splits": 2, **settings})  # type: ignore[arg-type]


def test_keys_enter_the_queue_after_the_loss_was_taken() -> None:
    method = moco()
    before = method.queue.clone()
    x = views()
    reference = copy.deepcopy(method)
    loss, _ = method(x)

    q = F.normalize(reference.projector(reference.backbone(x[0])), dim=1)
    torch.manual_seed(1)
    k = F.normalize(method.queue[:8], dim=1)  # what was enqueued is this step's keys, in the order of the pictures
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ before.T], dim=1) / 0.2
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.zeros(8, dtype=torch.long)), atol=1e-5, rtol=1e-5)
    assert torch.equal(method.queue[8:], before[8:])
    assert int(method.pointer) == 8


def test_the_queue_wraps_around_with_a_batch_that_does_not_divide_it() -> None:
    method = moco(K=20)
    for _ in range(3):
        method(views(8))
    assert int(method.pointer) == 24 % 20
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(20))


def test_a_batch_larger_than_the_queue_leaves_its_last_keys() -> None:
    method = moco(K=5)
    method(views(8))
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(5))


def test_the_key_encoder_follows_by_m_to_the_n() -> None:
    method = moco()
    start = [p.clone() for p in method.backbone_k.parameters()]
    with torch.no_grad():
        for p in method.backbone.parameters():
            p.add_(1.0)
    for _ in range(5):
        method(views())
    for p_q, p_k, p_0 in zip(method.backbone.parameters(), method.backbone_k.parameters(), start, strict=True):
        torch.testing.assert_close(p_k, 0.9**5 * p_0 + (1 - 0.9**5) * p_q)


def test_no_gradient_reaches_the_key_encoder() -> None:
    method = moco(symmetric=True)
    loss, _ = method(views())
    loss.backward()
    assert all(p.grad is None for p in method.backbone_k.parameters())
    assert all(p.grad is not None for p in method.backbone.parameters())


def test_keys_come_back_in_the_order_of_their_pictures() -> None:
    method = moco(bn_splits=1).eval()
    x = torch.randn(8, 3, 6, 6)
    expected = F.normalize(method.projector_k(method.backbone_k(x)), dim=1)
    torch.testing.assert_close(method._keys(x), expected)


def test_split_batch_norm_uses_the_statistics_of_each_part() -> None:
    method = moco(bn_splits=2)
    norm = method.backbone_k.get_submodule("norm")
    x = torch.randn(8, 8, 4, 4)
    plain = nn.BatchNorm2d(8)
    expected = torch.cat([plain(x[:4]), plain(x[4:])])
    torch.testing.assert_close(norm(x), expected)


def test_moco_symmetric_fills_the_queue_with_both_views() -> None:
    method = moco(symmetric=True)
    method(views(8))
    assert int(method.pointer) == 16


@pytest.mark.parametrize("n_views", [2, 4])
def test_simclr_contrasts_every_view_with_every_other(n_views: int) -> None:
    method = SimCLR(Tiny(), 8, 16, 4, temperature=0.5)
    loss, scalars = method([torch.randn(6, 3, 6, 6) for _ in range(n_views)])
    assert loss.isfinite()
    assert -1 <= scalars["positive_similarity"] <= 1
    loss.backward()
    assert all(p.grad is not None for p in method.parameters())
