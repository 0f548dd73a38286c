"""Batch norms over ranks on CPUs: values, gradients and statistics are those of one rank with the whole batch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import nn

from cpchub_training.run.batch_norms import synchronised
from tests.training.several_ranks import on_ranks


class Norms(nn.Module):
    """One of each kind; the middle one without momentum, which makes its running statistics plain means."""

    sync_batch_norm = True

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.BatchNorm2d(3),
            BatchNormAct2d(3),
            nn.Flatten(),
            nn.BatchNorm1d(12, momentum=None),
            nn.Linear(12, 4),
            nn.BatchNorm1d(4, affine=False),
        )

    def outcome(self, mine: slice) -> dict[str, torch.Tensor]:
        self.double()  # what is scaled twice has gradients that are a difference of rounding errors in float32
        drawn = torch.randn(8, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        x = drawn[mine].requires_grad_()
        for _ in range(2):
            y = self.layers(x)
        (y.tanh() * torch.arange(32.0).reshape(8, 4)[mine]).sum().backward()
        buffers = {name: value.clone() for name, value in self.named_buffers()}
        gradients = {f"gradient {name}": p.grad for name, p in self.named_parameters()}
        return {"y": y.detach(), "x": x.grad, "evaluated": self.eval().layers(x).detach()} | buffers | gradients


def half(folder: Path) -> None:
    mine = slice(4 * dist.get_rank(), 4 * dist.get_rank() + 4)
    torch.save(synchronised(Norms(), torch.device("cpu")).outcome(mine), folder / f"{dist.get_rank()}.pt")


def test_two_ranks_normalise_as_one_with_both_halves(tmp_path: Path) -> None:
    on_ranks(2, tmp_path, half, tmp_path)
    whole = Norms().outcome(slice(8))
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert whole.keys() == halves[0].keys()
    for name, expected in whole.items():
        a, b = (each[name] for each in halves)
        if name in ("x", "y", "evaluated"):
            seen = torch.cat([a, b])
        else:
            seen = a + b if name.startswith("gradient") else a
        torch.testing.assert_close(seen, expected, msg=lambda m, name=name: f"{name}: {m}")
