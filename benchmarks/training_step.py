"""Images/s of a whole SimCLR training step on a CPU, beside lightly's, in one run and as a ratio.

    CPCHUB_DATA=FOLDER python -m benchmarks.training_step [--networks resnet18 resnet18_cifar] [--steps 8] [--batch 128]

Both train the same network on CIFAR-10 with a batch of 128, end to end: images in, views made, forward, backward,
SGD. lightly runs as its documentation shows it: SimCLRTransform in a DataLoader with two workers, NTXentLoss.
`resnet18` on images of 32 pixels is the network of lightly's own example (examples/pytorch/simclr.py);
`resnet18_cifar` is the one of the literature on CIFAR-10, whose stem keeps all 32 x 32 places, some 15 times the work.
The two take turns, so that a change in the machine's load meets both; the first steps of a turn are not timed, because
lightly's workers have filled their queue in the other's turn. Medians over the turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import cpchub.architectures  # noqa: F401  (registers resnet18_cifar)
from benchmarks.in_one_line import in_one_line
from cpchub.encoders.fast.quick_conv import use_fast_weight_gradients
from cpchub_training import data
from cpchub_training.methods.simclr import SimCLR
from cpchub_training.views.settings import Views

WARM = 5  # steps: more batches than lightly's two workers keep ready


def ours(network: str, images: Tensor, batch: int) -> Callable[[], None]:
    """One step of our loop's work, on the data set in memory."""
    backbone = timm.create_model(network, num_classes=0)
    method = SimCLR(backbone, int(backbone.num_features), 512, 128, 0.5).to(memory_format=torch.channels_last)
    use_fast_weight_gradients(method)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    views = Views()

    def step() -> None:
        x = images[torch.randint(len(images), (batch,))]
        two = [((views(x) - 0.5) / 0.25).contiguous(memory_format=torch.channels_last) for _ in range(2)]
        loss, _ = method(two)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def lightlys(network: str, images: Tensor, batch: int) -> Callable[[], None]:
    """One step of lightly's SimCLR example."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    class Cifar(Dataset[list[Tensor]]):
        transform = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0)

        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, i: int) -> list[Tensor]:
            return self.transform(Image.fromarray(images[i].permute(1, 2, 0).numpy()))

    backbone = timm.create_model(network, num_classes=0)
    head = SimCLRProjectionHead(int(backbone.num_features), 512, 128)
    model = nn.Sequential(backbone, head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    criterion = NTXentLoss(temperature=0.5)
    loader = DataLoader(Cifar(), batch_size=batch, shuffle=True, drop_last=True, num_workers=2)

    def endless() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    batches = endless()

    def step() -> None:
        a, b = next(batches)
        loss = criterion(model(a), model(b))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def compare(network: str, images: Tensor, options: argparse.Namespace) -> dict[str, Any]:
    """Images/s of both with this network, and their ratio."""
    steps = {"cpchub": ours(network, images, options.batch), "lightly": lightlys(network, images, options.batch)}
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.turns):
        for name, step in steps.items():
            for _ in range(WARM):
                step()
            started = time.perf_counter()
            for _ in range(options.steps):
                step()
            rates[name].append(options.steps * options.batch / (time.perf_counter() - started))
    median = {name: statistics.median(found) for name, found in rates.items()}
    ratio = median["cpchub"] / median["lightly"]
    print(f"{network:<16} cpchub {median['cpchub']:.1f}, lightly {median['lightly']:.1f} images/s: {ratio:.2f} times")
    return {
        "network": network,
        "images_per_second": {name: round(rate, 1) for name, rate in median.items()},
        "each_turn": {name: [round(rate, 1) for rate in found] for name, found in rates.items()},
        "ratio": round(ratio, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet18_cifar"])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="timed steps of a turn")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "training_step.json")
    options = parser.parse_args()
    images = data.load("cifar10").images
    report = {
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "networks": [compare(network, images, options) for network in options.networks],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    in_one_line(main)
