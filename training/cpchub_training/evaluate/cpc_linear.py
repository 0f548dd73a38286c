"""CPC's linear protocol: batch norm without scale, a 1x1 convolution, and logits averaged over the grid of positions.

The head is linear in the feature maps. So the averaged logits are the logits of the averaged map, and the batch
statistics follow from each image's mean and mean square. Training on these moments `[N, 2, D]` is exactly the same as
on the maps `[N, D, h, w]`, with 18 times fewer numbers on CPC v2's grid of 6 x 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.model_selection import StratifiedShuffleSplit
from torch import Tensor

from cpchub.errors import LabelError

EPS = 1e-5  # torch's batch norm
RATES = (1e-4, 5e-4, 2e-3, 1e-2)  # the paper's is 5e-4
DECAYS = (0.0, 1e-4, 1e-2)
BATCH = 512  # the paper's
BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
HELD_OUT = 0.1

Setting = tuple[float, float]  # learning rate and weight decay


@dataclass(frozen=True)
class Heads:
    """Trained heads: weights `[K, D, C]`, biases `[K, C]`, and the mean and variance `[D]` of the training maps."""

    weights: Tensor
    biases: Tensor
    mean: Tensor
    variance: Tensor

    def logits(self, moments: npt.NDArray[np.floating]) -> Tensor:
        """Averaged logits `[K, N, C]`."""
        pooled = torch.tensor(np.asarray(moments[:, 0]))
        x = (pooled - self.mean) / (self.variance + EPS).sqrt()
        return torch.matmul(x, self.weights) + self.biases[:, None]


def cpc_linear(
    moments: npt.NDArray[np.floating],
    y: npt.NDArray[np.int64],
    test_moments: npt.NDArray[np.floating],
    *,
    epochs: int = 30,
    seed: int = 0,
) -> tuple[npt.NDArray[np.int64], dict[str, float]]:
    """Predicted class numbers of the test images, and the learning rate and weight decay that were chosen.

    All RATES x DECAYS are trained in one pass on nine tenths of the training images and compared on the tenth; the
    best is trained on all of them. Raises LabelError for a class with a single training image.
    """
    if (of_each := np.bincount(y)).min() < 2:
        raise LabelError(
            f"a class has {of_each.min()} training image(s): cpc-linear holds some of each class out to choose its "
            "rate, so it takes 2 or more; use --protocol linear"
        )
    classes, settings = int(y.max()) + 1, list(product(RATES, DECAYS))
    splitter = StratifiedShuffleSplit(1, test_size=max(classes, round(HELD_OUT * len(y))), random_state=seed)
    fitted, held_out = next(splitter.split(y, y))
    tried = train_heads(moments[fitted], y[fitted], settings, classes, epochs=epochs, seed=seed)
    hits = tried.logits(moments[held_out]).argmax(dim=2) == torch.from_numpy(y[held_out])
    lr, decay = settings[int(hits.float().mean(dim=1).argmax())]
    best = train_heads(moments, y, [(lr, decay)], classes, epochs=epochs, seed=seed)
    return best.logits(test_moments)[0].argmax(dim=1).numpy(), {"lr": lr, "weight_decay": decay}


def train_heads(
    moments: npt.NDArray[np.floating],
    y: npt.NDArray[np.int64],
    settings: Sequence[Setting],
    classes: int,
    *,
    epochs: int,
    seed: int,
) -> Heads:
    """One head for each setting, on the same batches: AdamW with a cosine schedule."""
    pooled, squares = (torch.from_numpy(np.ascontiguousarray(moments[:, i], dtype=np.float32)) for i in (0, 1))
    codes = torch.from_numpy(y)
    n, d, k = len(codes), pooled.shape[1], len(settings)
    rates, decays = (torch.tensor(column).reshape(k, 1, 1) for column in zip(*settings, strict=True))
    generator = torch.Generator().manual_seed(seed)
    weights, biases = torch.zeros(k, d, classes), torch.zeros(k, 1, classes)
    state = [(each, torch.zeros_like(each), torch.zeros_like(each)) for each in (weights, biases)]
    batch = min(BATCH, n)
    steps = epochs * (n // batch)
    for step in range(steps):
        if step % (n // batch) == 0:
            order = torch.randperm(n, generator=generator)
        rows = order[step % (n // batch) * batch :][:batch]
        mean, square = pooled[rows].mean(dim=0), squares[rows].mean(dim=0)
        x = (pooled[rows] - mean) / ((square - mean.square()).clamp(min=0) + EPS).sqrt()
        residual = (torch.matmul(x, weights) + biases).softmax(dim=2)  # [K, B, C]
        residual = (residual - F.one_hot(codes[rows], classes)) / batch
        gradients = (torch.matmul(x.T, residual), residual.sum(dim=1, keepdim=True))
        share = 0.5 * (1 + np.cos(np.pi * step / steps))
        for (value, first, second), gradient in zip(state, gradients, strict=True):
            first.lerp_(gradient, 1 - BETAS[0])
            second.lerp_(gradient.square(), 1 - BETAS[1])
            unbiased = second / (1 - BETAS[1] ** (step + 1))
            if value is weights:
                value.mul_(1 - share * rates * decays)
            value.sub_(share * rates * first / (1 - BETAS[0] ** (step + 1)) / (unbiased.sqrt() + ADAM_EPS))
    mean = pooled.mean(dim=0)
    return Heads(weights, biases.squeeze(1), mean, (squares.mean(dim=0) - mean.square()).clamp(min=0))
