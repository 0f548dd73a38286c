"""Each method on two ranks with B images each is the method on one rank with all 2B: loss, gradient and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from cpchub.architectures.colour_paths import ColourPaths
from cpchub_training.methods import Method
from cpchub_training.methods.cmc import CMC
from cpchub_training.methods.instdisc import InstDisc
from cpchub_training.methods.inva_spread import InvaSpread
from cpchub_training.methods.moco import MoCo
from cpchub_training.methods.simclr import SimCLR
from cpchub_training.methods.sup_con import SupCon
from tests.training.several_ranks import on_ranks

N_IMAGES = 20
Outcome = dict[str, Tensor]


class Linear(nn.Module):
    """No batch norm: on a CPU each rank has its own statistics, which is not what is asked here."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def paths() -> ColourPaths:
    tiny = {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 8]}
    return ColourPaths("resnet18_cifar", tiny, channels=((0,), (1,), (2,)), num_classes=0)


METHODS: dict[str, tuple[int, Callable[[], Method]]] = {  # views, and how it is made
    "simclr": (2, lambda: SimCLR(Linear(), 8, 8, 4, 0.2)),
    "simclr with three views": (3, lambda: SimCLR(Linear(), 8, 8, 4, 0.2)),
    "simclr v2": (2, lambda: SimCLR(Linear(), 8, 8, 4, 0.2, projector_layers=3)),
    "moco_v2": (2, lambda: MoCo(Linear(), 8, 8, 4, K=10)),
    "moco_v2 symmetric": (2, lambda: MoCo(Linear(), 8, 8, 4, K=20, symmetric=True)),
    "instdisc": (1, lambda: InstDisc(Linear(), 8, 4, N_IMAGES, m=0, proximal=2.0)),
    "inva_spread": (2, lambda: InvaSpread(Linear(), 8, 4)),
    "cmc": (1, lambda: CMC(paths(), 4, N_IMAGES, m=0)),
    "cmc in batch": (1, lambda: CMC(paths(), 4, N_IMAGES, negatives="batch")),
    "instdisc from visits": (1, lambda: InstDisc(Linear(), 8, 4, N_IMAGES, m=0, start="visited")),
    "sup_con": (2, lambda: SupCon(Linear(), 8, 8, 4)),
}


def one_step(name: str, mine: slice) -> Outcome:
    """Loss, gradients, and buffers after a step with the images `mine` of a batch of 8."""
    torch.manual_seed(0)
    n_views, make = METHODS[name]
    method = make().eval()  # batch norms of heads and paths at fixed statistics
    views = [torch.rand(8, 3, 4, 4)[mine] for _ in range(n_views)]
    views = [view.contiguous(memory_format=torch.channels_last) for view in views]  # as the loop hands them over
    indices, labels = torch.randperm(N_IMAGES)[:8][mine], (torch.arange(8) % 3)[mine]
    loss, _ = method(views, indices=indices, labels=labels)
    loss.backward()
    gradients = {f"gradient of {n}": p.grad for n, p in method.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **gradients, **{n: b.clone() for n, b in method.named_buffers()}}


def half_of_each(folder: Path) -> None:
    mine = slice(4 * dist.get_rank(), 4 * dist.get_rank() + 4)
    torch.save({name: one_step(name, mine) for name in METHODS}, folder / f"{dist.get_rank()}.pt")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Outcome]]:
    folder = tmp_path_factory.mktemp("ranks")
    on_ranks(2, folder, half_of_each, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", METHODS)
def test_two_ranks_with_half_the_batch_each_equal_one_rank_with_all_of_it(
    name: str, two_ranks: list[dict[str, Outcome]]
) -> None:
    whole, (first, second) = one_step(name, slice(8)), (rank[name] for rank in two_ranks)
    assert first.keys() == second.keys() == whole.keys()
    for key, expected in whole.items():
        if key == "loss" or key.startswith("gradient"):
            seen = (first[key] + second[key]) / 2  # as DDP averages
        else:
            assert torch.equal(first[key], second[key]), f"the ranks have different {key}"
            seen = first[key]
        torch.testing.assert_close(seen, expected, atol=1e-6, rtol=1e-4, msg=lambda m, key=key: f"{key}: {m}")
