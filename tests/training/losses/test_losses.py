"""Losses of softmax form: closed forms, independent oracles (values and gradients), and two ranks against one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.losses import dcl, info_nce, inva_spread, mined_triplet, nt_xent, sup_con
from tests.training.several_ranks import on_ranks

CLASSES = torch.arange(8) % 3

LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "nt_xent": lambda a, b, _: nt_xent(a, b, 0.2),
    "info_nce": lambda a, b, _: info_nce(a, b, None, 0.2),
    "sup_con": lambda a, b, labels: sup_con(torch.stack([a, b], 1), labels, 0.2),
    "dcl": lambda a, b, _: dcl(a, b, 0.2),
    "inva_spread": lambda a, b, _: inva_spread(a, b, 0.2),
    "mined_triplet": lambda a, b, labels: mined_triplet(a + b, labels, 8.0),
}


def orthonormal(n: int) -> Tensor:
    return torch.eye(n)


@pytest.mark.parametrize(("n", "temperature"), [(256, 0.5), (256, 0.1), (7, 1.0)])
def test_nt_xent_of_orthonormal_identical_views(n: int, temperature: float) -> None:
    expected = math.log1p((2 * n - 2) * math.exp(-1 / temperature))
    assert nt_xent(orthonormal(n), orthonormal(n), temperature).item() == pytest.approx(expected, abs=1e-5)


def test_nt_xent_has_the_published_values() -> None:
    z = orthonormal(256)
    assert nt_xent(z, z, 0.5).item() == pytest.approx(4.248795, abs=1e-5)
    assert nt_xent(z, z, 0.1).item() == pytest.approx(0.022890, abs=1e-5)
    collapsed = torch.ones(256, 8)
    assert nt_xent(collapsed, collapsed, 0.5).item() == pytest.approx(6.236370, abs=1e-5)


@pytest.mark.parametrize(("temperature", "expected"), [(0.07, 0.040135), (0.2, 6.092617)])
def test_info_nce_with_an_orthogonal_queue(temperature: float, expected: float) -> None:
    q = torch.tensor([[1.0, 0.0, 0.0]])
    queue = torch.tensor([[0.0, 1.0, 0.0]]).expand(65536, 3)
    assert info_nce(q, q, queue, temperature).item() == pytest.approx(expected, abs=1e-5)


def test_info_nce_of_a_collapsed_encoder_is_the_log_of_the_candidates() -> None:
    q = torch.ones(4, 3)
    assert info_nce(q, q, torch.ones(65536, 3), 0.2).item() == pytest.approx(11.090370, abs=1e-5)
    assert info_nce(q, q, None, 0.2).item() == pytest.approx(math.log(4), abs=1e-5)


def test_info_nce_in_batch_of_orthonormal_keys() -> None:
    z = orthonormal(10)
    assert info_nce(z, z, None, 0.3).item() == pytest.approx(math.log1p(9 * math.exp(-1 / 0.3)), abs=1e-5)


def test_sup_con_of_class_prototypes() -> None:
    labels = torch.arange(3).repeat_interleave(4)  # 3 classes of 4 images, one view each
    z = orthonormal(3)[labels][:, None]
    positives, negatives = 3, 8
    expected = math.log(positives + negatives * math.exp(-1 / 0.1))
    assert sup_con(z, labels, 0.1).item() == pytest.approx(expected, abs=1e-5)


def test_sup_con_inside_the_log_is_never_larger_than_outside() -> None:
    z, labels = torch.randn(12, 2, 8), torch.arange(4).repeat(3)
    assert sup_con(z, labels, 0.2, form="in") <= sup_con(z, labels, 0.2, form="out")
    same = torch.ones(12, 2, 8)
    assert sup_con(same, labels, 0.2, form="in").item() == pytest.approx(sup_con(same, labels, 0.2).item(), abs=1e-5)


def test_sup_con_refuses_an_anchor_without_positive() -> None:
    with pytest.raises(ValueError, match="no positive"):
        sup_con(torch.randn(3, 1, 4), torch.tensor([0, 0, 1]), 0.1)
    with pytest.raises(ValueError, match="no positive"):
        sup_con(torch.randn(3, 1, 4), None, 0.1)


def test_multi_view_loss_equals_a_loop_over_every_pair() -> None:
    torch.manual_seed(0)
    z = torch.randn(5, 3, 6)
    unit = F.normalize(z, dim=-1)
    terms = []
    for i in range(5):
        for v in range(3):
            sims = {(j, w): (unit[i, v] @ unit[j, w] / 0.3) for j in range(5) for w in range(3) if (j, w) != (i, v)}
            total = torch.stack(list(sims.values())).logsumexp(0)
            terms.append(sum(total - sims[i, w] for w in range(3) if w != v) / 2)
    assert sup_con(z, None, 0.3).item() == pytest.approx(torch.stack(terms).mean().item(), abs=1e-5)


def gradients(loss: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = loss(*leaves)
    return (value.detach(), *torch.autograd.grad(value, leaves))


@pytest.mark.parametrize(("loss", "name", "temperature"), [(nt_xent, "NTXentLoss", 0.5), (dcl, "DCLLoss", 0.2)])
def test_it_agrees_with_lightly_in_value_and_gradient(
    loss: Callable[..., Tensor], name: str, temperature: float
) -> None:
    oracle = getattr(pytest.importorskip("lightly.loss"), name)(temperature=temperature)
    a, b = torch.randn(16, 32), torch.randn(16, 32)
    mine = gradients(lambda x, y: loss(x, y, temperature), a, b)
    for ours, theirs in zip(mine, gradients(oracle, a, b), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_sup_con_agrees_with_pytorch_metric_learning_in_value_and_gradient() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    oracle = losses.SupConLoss(temperature=0.1)
    z, labels = torch.randn(12, 2, 16), torch.arange(4).repeat(3)

    def theirs(x: Tensor) -> Tensor:
        return oracle(x.reshape(24, 16), labels.repeat_interleave(2))

    for mine, other in zip(gradients(lambda x: sup_con(x, labels, 0.1), z), gradients(theirs, z), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-4)


def test_losses_compute_in_float32_whatever_comes_in() -> None:
    a, b = torch.randn(8, 16).bfloat16(), torch.randn(8, 16).bfloat16()
    assert nt_xent(a, b, 0.1).dtype == torch.float32
    assert info_nce(a, b, a, 0.1).dtype == torch.float32


@pytest.mark.parametrize("name", LOSSES)
def test_losses_compute_in_float32_under_autocast_too(name: str) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(8, 16), torch.randn(8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = LOSSES[name](a, b, CLASSES)
    assert torch.equal(mixed, LOSSES[name](a, b, CLASSES))


def test_dcl_of_orthonormal_and_of_collapsed_views() -> None:
    z = orthonormal(16)
    assert dcl(z, z, 0.5).item() == pytest.approx(math.log(30) - 2, abs=1e-5)
    assert dcl(torch.ones(16, 4), torch.ones(16, 4), 0.5).item() == pytest.approx(math.log(30), abs=1e-5)


def test_dcl_refuses_an_image_without_negatives() -> None:
    with pytest.raises(ValueError, match="two images"):
        dcl(torch.ones(1, 4), torch.ones(1, 4), 0.5)


def test_inva_spread_has_the_published_values() -> None:
    z = orthonormal(128)
    assert inva_spread(z, z, 0.1).item() == pytest.approx(0.022866, abs=1e-5)
    collapsed = math.log(255) - 254 * math.log(1 - 1 / 255)
    assert inva_spread(torch.ones(128, 8), torch.ones(128, 8), 0.1).item() == pytest.approx(collapsed, abs=1e-5)


def inva_spread_by_loops(z1: Tensor, z2: Tensor, temperature: float, stop: bool) -> Tensor:
    """Equation 6, anchor by anchor; with `stop`, candidates are constants."""
    x = F.normalize(torch.cat([z1, z2]).double(), dim=1)
    candidates = x.detach() if stop else x
    terms = []
    for i in range(len(x)):
        weight = {j: (x[i] @ candidates[j] / temperature).exp() for j in range(len(x)) if j != i}
        p = {j: w / sum(weight.values()) for j, w in weight.items()}
        twin = (i + len(z1)) % len(x)
        terms.append(-p[twin].log() - sum((1 - p[j]).log() for j in p if j != twin))
    return torch.stack(terms).mean()


def test_inva_spread_equals_a_loop_whose_candidates_carry_no_gradient() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(6, 5), torch.randn(6, 5)
    mine = gradients(lambda x, y: inva_spread(x, y, 0.3), a, b)
    stopped = gradients(lambda x, y: inva_spread_by_loops(x, y, 0.3, stop=True), a, b)
    flowing = gradients(lambda x, y: inva_spread_by_loops(x, y, 0.3, stop=False), a, b)
    for m, s in zip(mine, stopped, strict=True):
        torch.testing.assert_close(m, s.float(), atol=1e-6, rtol=1e-4)
    assert not torch.allclose(mine[1], flowing[1].float(), rtol=0.1)


def test_inva_spread_stays_finite_with_the_same_image_twice_in_a_batch() -> None:
    z = torch.eye(4)[[0, 1, 2, 0]] * torch.tensor([1.0, 1.0, 1.0, 2.0])[:, None]
    for part in gradients(lambda x, y: inva_spread(x, y, 0.01), z, torch.eye(4).flip(0)[[3, 2, 1, 0]]):
        assert part.isfinite().all()


def two_batches() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 16, generator=generator), torch.randn(8, 16, generator=generator)


def half_of_each(folder: Path) -> None:
    rank, (a, b) = torch.distributed.get_rank(), two_batches()
    mine = slice(rank * 4, rank * 4 + 4)
    results = {}
    for name, loss in LOSSES.items():
        results[name] = list(gradients(lambda x, y, loss=loss: loss(x, y, CLASSES[mine]), a[mine], b[mine]))
    torch.save(results, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor, list[dict[str, list[Tensor]]]]:
    """Two batches of features, and what each of two ranks computed from its half of them."""
    folder = tmp_path_factory.mktemp("ranks")
    on_ranks(2, folder, half_of_each, folder)
    return *two_batches(), [torch.load(folder / f"{r}.pt", weights_only=True) for r in (0, 1)]


@pytest.mark.parametrize("name", LOSSES)
def test_two_ranks_equal_one_rank_with_the_whole_batch(
    name: str, two_ranks: tuple[Tensor, Tensor, list[dict[str, list[Tensor]]]]
) -> None:
    a, b, ranks = two_ranks
    value, *grads = gradients(lambda x, y: LOSSES[name](x, y, CLASSES), a, b)
    assert value > 0
    torch.testing.assert_close(torch.stack([r[name][0] for r in ranks]).mean(), value)
    for i, grad in enumerate(grads, start=1):
        halves = torch.cat([r[name][i] for r in ranks]) / 2  # DDP averages over the ranks
        torch.testing.assert_close(halves, grad, atol=1e-6, rtol=1e-4)
