"""LARS in both conventions, against single steps by hand and lightly's; what decays; averaged weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cpchub_training import recipes
from cpchub_training.run import checkpoint, optimizers
from cpchub_training.run.average import WeightAverage
from cpchub_training.run.optimizers import LARS


def trajectory(optimizer: torch.optim.Optimizer, w: Tensor, gradients: list[Tensor], rates: list[float]) -> Tensor:
    for gradient, lr in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        w.grad = gradient.clone()
        optimizer.step()
    return w.detach()


def test_a_step_of_lars_is_a_thousandth_of_the_length_of_the_weights() -> None:
    w = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = LARS([w], lr=1.0, momentum=0.0)
    w.grad = torch.tensor([0.0, 70.0])  # its length does not matter
    optimizer.step()
    torch.testing.assert_close(w.detach(), torch.tensor([3.0, 4.0 - 0.001 * 5]))


def test_the_conventions_put_weight_decay_on_either_side_of_the_trust_ratio() -> None:
    w0, g, wd = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]), 0.1
    for convention, g_norm in (("google", (g + wd * w0).norm()), ("torch", g.norm() + wd * w0.norm())):
        w = nn.Parameter(w0.clone())
        optimizer = LARS([w], lr=0.5, momentum=0.9, weight_decay=wd, convention=convention)  # type: ignore[arg-type]
        w.grad = g.clone()
        optimizer.step()
        torch.testing.assert_close(w.detach(), w0 - 0.5 * 0.001 * w0.norm() / g_norm * (g + wd * w0))


def test_a_falling_rate_slows_the_momentum_of_one_convention_only() -> None:
    steps = {}
    for convention in ("google", "torch"):
        w = nn.Parameter(torch.ones(4))
        optimizer = LARS([w], lr=1.0, momentum=0.9, convention=convention)  # type: ignore[arg-type]
        trajectory(optimizer, w, [torch.ones(4)], [1.0])
        before = w.detach().clone()
        trajectory(optimizer, w, [torch.zeros(4)], [0.0])
        steps[convention] = float((before - w.detach()).norm())
    assert steps["google"] == pytest.approx(0.9 * 0.001 * 2, rel=1e-3)
    assert steps["torch"] == 0


def test_the_torch_convention_is_lightlys() -> None:
    lightly = pytest.importorskip("lightly.utils.lars")
    torch.manual_seed(0)
    w0, gradients, rates = torch.randn(5, 3), list(torch.randn(4, 5, 3)), [0.4, 0.3, 0.2, 0.1]
    ours, theirs = nn.Parameter(w0.clone()), nn.Parameter(w0.clone())
    a = LARS([ours], lr=0.4, momentum=0.9, weight_decay=1e-2, convention="torch")
    b = lightly.LARS([theirs], lr=0.4, momentum=0.9, weight_decay=1e-2, trust_coefficient=0.001)
    torch.testing.assert_close(trajectory(a, ours, gradients, rates), trajectory(b, theirs, gradients, rates))


def test_lars_leaves_tensors_of_zeros_to_plain_momentum() -> None:
    w = nn.Parameter(torch.zeros(2))
    w.grad = torch.tensor([1.0, 0.0])
    LARS([w], lr=0.1).step()
    torch.testing.assert_close(w.detach(), torch.tensor([-0.1, 0.0]))


def test_norms_and_biases_decay_only_if_the_recipe_says_so() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    recipe = replace(recipes.get("simclr_digits"), optimizer="lars", weight_decay=0.1)
    for decay_all, expected in ((False, 0.0), (True, 0.1)):
        matrices, rest = optimizers.build(replace(recipe, decay_all=decay_all), network).param_groups
        assert [p.ndim for p in matrices["params"]] == [4]
        assert [p.ndim for p in rest["params"]] == [1, 1, 1]
        assert (matrices["weight_decay"], rest["weight_decay"]) == (0.1, expected)
        assert (matrices["adapt"], rest["adapt"]) == (True, False)


def test_an_average_of_weights_follows_its_formula() -> None:
    network = nn.BatchNorm1d(2)
    average = WeightAverage(network, decay=0.5)
    expected = network.weight.detach().clone()
    for n in range(1, 8):
        with torch.no_grad():
            network.weight.add_(1.0)
        network(torch.randn(4, 2))
        average.update(network)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * network.weight.detach()
    torch.testing.assert_close(average.network.weight.detach(), expected)
    assert average.network.num_batches_tracked == 7
    assert not average.network.training
    assert not any(p.requires_grad for p in average.parameters())


def test_restored_state_lies_in_memory_as_its_weights_do_and_follows_the_machine(tmp_path: Path) -> None:
    """Fused optimizers refuse a momentum whose channels are not where the weights have them."""
    torch.manual_seed(0)

    def begun(**settings: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
        network = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, **settings)

    network, optimizer = begun(fused=True)
    network(torch.rand(2, 4, 5, 5)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "run.safetensors", {"network": network}, optimizer, {})
    other, restored = begun()
    checkpoint.load(tmp_path / "run.safetensors", {"network": other})
    checkpoint.load_optimizer(tmp_path / "run.safetensors", restored)
    for mine, theirs in zip(other.parameters(), network.parameters(), strict=True):
        momentum = restored.state[mine]["momentum_buffer"]
        assert momentum.stride() == mine.stride()
        assert torch.equal(momentum, optimizer.state[theirs]["momentum_buffer"])
    assert not restored.param_groups[0]["fused"]
