"""What a run measures: the lines of `metrics.jsonl` (TensorBoard gets the same), and properties of its features.

They are for watching a run. Published numbers come from `cpchub_training.evaluate`, measured on the finished encoder.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from cpchub.common.files import replacing
from cpchub_training.data.batches import Batch
from cpchub_training.data.images import TrainingSet
from cpchub_training.losses import info_nce_lower_bound, nwj_lower_bound
from cpchub_training.run.collapse import alignment, effective_rank, uniformity
from cpchub_training.run.features import features

if TYPE_CHECKING:
    from cpchub_training.recipes import Recipe


class Metrics:
    """Appends to `metrics.jsonl` and TensorBoard; on resume, lines after the checkpoint are dropped first."""

    def __init__(self, run_dir: Path | None, from_step: int) -> None:
        self.path = run_dir / "metrics.jsonl" if run_dir else None
        self.board: Any = None
        if run_dir is None or self.path is None:
            return
        if self.path.exists():
            kept = [x for x in self.path.read_text().splitlines() if _step(x) <= from_step]
            with replacing(self.path) as partial:
                partial.write_text("".join(x + "\n" for x in kept))
        from torch.utils.tensorboard import SummaryWriter

        self.board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=from_step + 1)

    def write(self, line: dict[str, Any]) -> None:
        if self.path is None:
            return
        with self.path.open("a") as f:
            f.write(json.dumps(line) + "\n")
        for name, value in line.items():
            if name not in ("step", "epoch"):
                self.board.add_scalar(name, value, line["step"])

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def _step(line: str) -> float:
    """The step of a line; infinite for a line that is incomplete because the run was killed."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return math.inf


def measure_features(
    backbone: nn.Module,
    images: TrainingSet,
    recipe: Recipe,
    device: torch.device,
    bank: int = 8000,
    queries: int = 2000,
) -> dict[str, float]:
    """Measurements by name, on the features of up to `bank` + `queries` training images. No test data is used.

    knn_train: kNN accuracy (k=200, T=0.1) of the queries against the bank, where there are labels.
    effective_rank: how many dimensions the features use. negative_similarity: the mean cosine of two different images.
    alignment, uniformity: of views, on the unit sphere; lower is better for both.
    information_info_nce, information_nwj: see `information_bounds`.
    """
    queries = min(queries, len(images) // 5)
    bank = min(bank, len(images) - queries)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: bank + queries]
    x = features(backbone, images.take(order), recipe, device)
    seen: dict[str, float] = {}
    if images.labels is not None:
        y = images.labels[order].numpy()
        from cpchub.fewlabels import KNNClassifier  # here, since scikit-learn takes a second to import

        knn = KNNClassifier(k=min(200, bank), temperature=0.1).fit(x[:bank], y[:bank])
        seen["knn_train"] = float(knn.score(x[bank:], y[bank:]))
    some = torch.from_numpy(x[:2000])
    seen["effective_rank"] = effective_rank(some)
    unit = F.normalize(some, dim=1)
    n = len(unit)
    seen["negative_similarity"] = float((unit.sum(0).square().sum() - n) / (n * (n - 1))) if n > 1 else 0.0
    return seen | _of_views(backbone, images, recipe, device, order[:512])


@torch.no_grad()
def _of_views(
    backbone: nn.Module, images: TrainingSet, recipe: Recipe, device: torch.device, rows: torch.Tensor
) -> dict[str, float]:
    """Alignment, uniformity and information of two views of each of the images at `rows`."""
    twice = [Batch(step=0, epoch=0, rows=rows, seed=seed) for seed in (1, 2)]
    was_training = backbone.training
    backbone.eval()
    one_view = replace(recipe, n_views=1, plain_views=0) if recipe.n_views != 1 else recipe
    a, b = (
        F.normalize(torch.cat([backbone(part).float() for part in views[0].split(128)]), dim=1)
        for _, views in images.views(twice, one_view, device)
    )
    backbone.train(was_training)
    spread = {"alignment": alignment(a, b), "uniformity": (uniformity(a) + uniformity(b)) / 2}
    return spread | information_bounds(a, b)


def information_bounds(a: torch.Tensor, b: torch.Tensor, temperature: float = 0.1) -> dict[str, float]:
    """Lower bounds, in nats, on what the features of one view tell about those of the other; {} below four images.

    a, b: unit rows `[N, D]`; row i of both is a view of image i. The critic is their cosine over `temperature`.
    information_info_nce: InfoNCE, at most log N. information_nwj: NWJ, without that cap. NWJ needs a normalised
    critic; its normaliser is taken from the first half of the images and the bound from the second half, so that it
    stays a bound.
    """
    half = len(a) // 2
    if half < 2:
        return {}
    scores = a @ b.T / temperature
    log_normaliser = scores[half:, :half].logsumexp(1, keepdim=True) - math.log(half)
    return {
        "information_info_nce": float(info_nce_lower_bound(scores)),
        "information_nwj": float(nwj_lower_bound(1 + scores[half:, half:] - log_normaliser)),
    }
