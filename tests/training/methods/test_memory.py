"""The memory bank, the loss against it, and InstDisc, which is little more than these."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpchub_training.losses import instance_softmax, instdisc_nce
from cpchub_training.methods.instdisc import InstDisc
from cpchub_training.methods.memory_bank import InstanceContrast, MemoryBank


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def instdisc(n: int = 20, **settings: object) -> InstDisc:
    torch.manual_seed(0)
    return InstDisc(Flat(), 12, 4, n, **{"temperature": 0.1, "m": 0, **settings})  # type: ignore[arg-type]


def test_an_update_moves_the_rows_of_the_batch_alone_and_leaves_unit_length() -> None:
    torch.manual_seed(0)
    bank = MemoryBank(10, 4, momentum=0.5)
    before, v, rows = bank.features.clone(), unit(3, 4), torch.tensor([7, 0, 2])
    bank.update(rows, v)
    torch.testing.assert_close(bank.features[rows], F.normalize(before[rows] + v, dim=1))
    others = [1, 3, 4, 5, 6, 8, 9]
    assert torch.equal(bank.features[others], before[others])
    torch.testing.assert_close(bank.features.norm(dim=1), torch.ones(10))


def test_drawn_rows_begin_with_the_own_one_and_cover_the_bank_evenly() -> None:
    torch.manual_seed(0)
    rows = MemoryBank(5, 4).draw(torch.tensor([3, 1]), 5000)
    assert rows.shape == (2, 5001)
    assert rows[:, 0].tolist() == [3, 1]
    counts = rows[:, 1:].flatten().bincount(minlength=5) / 10000
    torch.testing.assert_close(counts, torch.full((5,), 0.2), atol=0.02, rtol=0)


def test_the_partition_constant_is_that_of_the_first_batch_for_ever() -> None:
    torch.manual_seed(0)
    bank, contrast = MemoryBank(50, 4), InstanceContrast(temperature=0.5, m=8)
    first, second = unit(6, 4), unit(6, 4)
    rows = bank.draw(torch.arange(6), 8)
    similarity = torch.einsum("nd,nmd->nm", first, bank.features[rows])
    Z = 50 * (similarity / 0.5).exp().mean()
    torch.testing.assert_close(contrast(first, bank, rows), instdisc_nce(similarity, 0.5, 50, Z))
    contrast(second, bank, rows)
    torch.testing.assert_close(contrast.Z, Z)


def test_the_bank_may_be_updated_between_the_loss_and_its_backward_pass() -> None:
    for m in (0, 8):
        bank, contrast = MemoryBank(20, 4), InstanceContrast(0.1, m)
        v = unit(3, 4).requires_grad_()
        rows = bank.draw(torch.arange(3), m)
        loss = contrast(v, bank, rows)
        expected = torch.autograd.grad(loss, v, retain_graph=True)[0]
        bank.update(torch.arange(3), v)
        loss.backward()
        torch.testing.assert_close(v.grad, expected)


def test_the_loss_is_the_same_under_autocast() -> None:
    torch.manual_seed(0)
    bank, v, rows = MemoryBank(20, 4), unit(3, 4), torch.arange(3)
    for m in (0, 8):
        drawn = bank.draw(rows, m)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = InstanceContrast(0.1, m)(v, bank, drawn)
        assert torch.equal(mixed, InstanceContrast(0.1, m)(v, bank, drawn))


def test_instdisc_reads_the_bank_before_the_batch_enters_it() -> None:
    method = instdisc()
    x, rows, before = torch.randn(5, 3, 2, 2), torch.tensor([4, 9, 1, 0, 17]), method.bank.features.clone()
    loss, _ = method([x], rows)
    v = method.projector(x.flatten(1))
    torch.testing.assert_close(loss, instance_softmax(v, before, rows, 0.1))
    torch.testing.assert_close(method.bank.features[rows], F.normalize(before[rows] + F.normalize(v, dim=1), dim=1))


def test_the_proximal_term_is_the_squared_way_from_the_last_value() -> None:
    plain, pulled = instdisc(), instdisc(proximal=30.0)
    x, rows = torch.randn(5, 3, 2, 2), torch.arange(5)
    v, previous = F.normalize(plain.projector(x.flatten(1)), dim=1), plain.bank.features[rows].clone()
    difference = pulled([x], rows)[0] - plain([x], rows)[0]
    assert difference.item() == pytest.approx(30 * (v - previous).square().sum(1).mean().item(), rel=1e-4)


def test_instdisc_with_sampled_negatives_trains() -> None:
    method = instdisc(m=16)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    x, rows, losses = torch.randn(20, 3, 2, 2), torch.arange(20), []
    for _ in range(60):
        loss, scalars = method([x], rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert math.isfinite(losses[-1])
    assert losses[-1] < 0.7 * losses[0]
    assert scalars["positive_similarity"] > 0.9


def test_a_bank_that_starts_with_visits_holds_real_features_only() -> None:
    bank = MemoryBank(6, 4, momentum=0.5, start="visited")
    v = F.normalize(torch.randn(2, 4), dim=1)
    bank.admit(torch.tensor([4, 1]), v)
    assert bank.visited.tolist() == [False, True, False, False, True, False]
    torch.testing.assert_close(bank.features[[4, 1]], v)
    assert set(bank.draw(torch.tensor([4, 1]), 50)[:, 1:].unique().tolist()) == {1, 4}
    bank.admit(torch.tensor([4]), -v[:1])
    torch.testing.assert_close(bank.features[4], v[0])  # its first feature stays until the update

    loss = InstanceContrast(0.1, m=0)(v, bank, bank.draw(torch.tensor([4, 1]), 0))
    logits = v @ bank.features[[4, 1]].T / 0.1
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.arange(2)))


def test_a_bank_that_starts_at_random_is_all_negatives_from_the_first_step() -> None:
    bank = MemoryBank(6, 4)
    before = bank.features.clone()
    bank.admit(torch.tensor([0]), torch.ones(1, 4))
    assert bank.visited.all()
    assert torch.equal(bank.features, before)
    with pytest.raises(ValueError, match="'random' or 'visited'"):
        MemoryBank(6, 4, start="empty")
