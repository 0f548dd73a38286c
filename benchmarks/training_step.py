"""Images/s of a whole SimCLR training step on a CPU, beside lightly's, in one run and as a ratio.

    CPCHUB_DATA=FOLDER python benchmarks/training_step.py [--steps 8] [--batch 128] [--network resnet18_cifar]

Both train the same network on CIFAR-10 with a batch of 128, end to end: pictures in, views made, forward, backward,
SGD. lightly runs as its documentation shows it: SimCLRTransform in a DataLoader with two workers, NTXentLoss. The two
take turns, so that a change in the machine's load meets both; medians over the turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import cpchub.architectures  # noqa: F401  (registers resnet18_cifar)
from training import data
from training.methods.simclr import SimCLR
from training.views import Views


def ours(network: str, pictures: Tensor, batch: int) -> Callable[[], None]:
    """One step of our loop's work, on the data set in memory."""
    backbone = timm.create_model(network, num_classes=0)
    method = SimCLR(backbone, int(backbone.num_features), 512, 128, 0.5).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    views = Views()

    def step() -> None:
        x = pictures[torch.randint(len(pictures), (batch,))]
        two = [((views(x) - 0.5) / 0.25).contiguous(memory_format=torch.channels_last) for _ in range(2)]
        loss, _ = method(two)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def lightlys(network: str, pictures: Tensor, batch: int) -> Callable[[], None]:
    """One step of lightly's SimCLR example."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    class Cifar(Dataset[list[Tensor]]):
        transform = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0)

        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, i: int) -> list[Tensor]:
            return self.transform(Image.fromarray(pictures[i].permute(1, 2, 0).numpy()))

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each, in turns")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--network", default="resnet18_cifar")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "training_step.json")
    options = parser.parse_args()
    pictures = data.load("cifar10").images
    steps = {
        "cpchub": ours(options.network, pictures, options.batch),
        "lightly": lightlys(options.network, pictures, options.batch),
    }
    for step in steps.values():
        step()  # allocations, workers, first use of every kernel
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.steps):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    rates = {name: options.batch / statistics.median(seconds) for name, seconds in times.items()}
    for name, rate in rates.items():
        print(f"{name:<10}{rate:8.1f} images/s")
    ratio = rates["cpchub"] / rates["lightly"]
    print(f"ratio     {ratio:8.2f}")
    report = {
        "network": options.network,
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "images_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": round(ratio, 3),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
