"""Methods without a memory bank: MoCo's algorithm 1 step by step, and those that contrast within the batch."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpchub_training.losses import dcl, inva_spread, nt_xent, sup_con
from cpchub_training.methods.inva_spread import InvaSpread
from cpchub_training.methods.moco import MoCo
from cpchub_training.methods.simclr import SimCLR
from cpchub_training.methods.sup_con import SupCon


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
    k = F.normalize(method.queue[:8], dim=1)  # what was enqueued is this step's keys, in the order of the images
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


def test_keys_come_back_in_the_order_of_their_images() -> None:
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


@pytest.mark.parametrize("n", [2, 3, 7, 9, 17])
def test_no_part_of_a_split_batch_norm_is_a_single_image(n: int) -> None:
    norm = moco(bn_splits=8).backbone_k.get_submodule("norm")
    assert norm(torch.randn(n, 8, 1, 1)).shape == (n, 8, 1, 1)


def test_moco_symmetric_fills_the_queue_with_both_views() -> None:
    method = moco(symmetric=True)
    method(views(8))
    assert int(method.pointer) == 16


def test_an_encoder_to_which_all_images_are_alike_has_the_loss_of_chance() -> None:
    z = [torch.ones(6, 3, 6, 6)] * 4
    for method in (SimCLR(Tiny(), 8, 16, 4, 0.5, n_views=4), SupCon(Tiny(), 8, 16, 4, n_views=4)):
        loss, _ = method.eval()(z, labels=torch.arange(6))
        torch.testing.assert_close(loss.item(), method.chance(6), atol=1e-4, rtol=0)


@pytest.mark.parametrize("n_views", [2, 4])
def test_simclr_contrasts_every_view_with_every_other(n_views: int) -> None:
    method = SimCLR(Tiny(), 8, 16, 4, temperature=0.5)
    loss, scalars = method([torch.randn(6, 3, 6, 6) for _ in range(n_views)])
    assert loss.isfinite()
    assert -1 <= scalars["positive_similarity"] <= 1
    loss.backward()
    assert all(p.grad is not None for p in method.parameters())


def test_the_parameters_of_simclr_and_moco_keep_their_names() -> None:
    """Checkpoints and published recipes of earlier versions have these."""
    simclr = SimCLR(Tiny(), 8, 16, 4, temperature=0.5)
    heads = [name for name in simclr.state_dict() if not name.startswith("backbone.")]
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert heads == [
        "projector.0.weight",
        *(f"projector.1.{n}" for n in norm),
        "projector.3.weight",
        "projector.3.bias",
    ]
    heads = [name for name in moco().state_dict() if "backbone" not in name]
    layers = [f"{layer}.{name}" for layer in (0, 2) for name in ("weight", "bias")]
    assert heads == ["queue", "pointer", *(f"projector.{n}" for n in layers), *(f"projector_k.{n}" for n in layers)]


def test_the_head_of_simclr_v2_has_three_layers_and_ends_in_a_norm_without_shift() -> None:
    method = SimCLR(Tiny(), 8, 16, 4, temperature=0.5, projector_layers=3)
    kinds = [type(layer).__name__ for layer in method.projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    loss, _ = method(views())
    loss.backward()
    last = method.projector[-1]
    assert last.weight.grad is not None
    assert last.bias.grad is None
    assert not last.bias.any()


def test_a_head_of_four_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="not 4"):
        SimCLR(Tiny(), 8, 16, 4, temperature=0.5, projector_layers=4)


def test_inva_spread_contrasts_the_two_views_of_the_batch() -> None:
    method = InvaSpread(Tiny(), 8, 4, temperature=0.1).eval()
    x = views()
    loss, _ = method(x)
    z1, z2 = (method.projector(method.backbone(v)) for v in x)
    torch.testing.assert_close(loss, inva_spread(z1, z2, 0.1))
    loss.backward()
    assert all(p.grad is not None for p in method.parameters())


def test_sup_con_takes_the_images_of_a_class_for_positives() -> None:
    method = SupCon(Tiny(), 8, 16, 4, temperature=0.1).eval()
    x, labels = views(), torch.arange(8) % 3
    loss, _ = method(x, labels=labels)
    z = torch.stack([method.projector(method.backbone(v)) for v in x], dim=1)
    torch.testing.assert_close(loss, sup_con(z, labels, 0.1))


def test_sup_con_works_with_a_batch_of_one_class_and_asks_for_labels() -> None:
    method = SupCon(Tiny(), 8, 16, 4)
    loss, _ = method(views(), labels=torch.zeros(8, dtype=torch.long))
    assert loss.isfinite()
    with pytest.raises(ValueError, match="the class of each image"):
        method(views())


def test_simclr_is_nt_xent_or_decoupled_the_loss_without_the_positive_among_the_negatives() -> None:
    torch.manual_seed(0)
    x = views()
    coupled, decoupled = (SimCLR(Tiny(), 8, 16, 4, 0.2, decoupled=d).eval() for d in (False, True))
    decoupled.load_state_dict(coupled.state_dict())
    with torch.no_grad():
        z1, z2 = (coupled.projector(coupled.backbone(view)) for view in x)
        torch.testing.assert_close(coupled(x)[0], nt_xent(z1, z2, 0.2))
        torch.testing.assert_close(decoupled(x)[0], dcl(z1, z2, 0.2))
    assert coupled.chance(8) == pytest.approx(float(nt_xent(torch.ones(8, 4), torch.ones(8, 4), 0.2)), abs=1e-5)
    assert decoupled.chance(8) == pytest.approx(float(dcl(torch.ones(8, 4), torch.ones(8, 4), 0.2)), abs=1e-5)
