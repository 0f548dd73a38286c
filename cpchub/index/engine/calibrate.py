"""Choose the search depth and effort that reach the promised recall, and measure the recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cpchub.index.engine.ground_truth import GroundTruth
from cpchub.index.engine.kinds import depths
from cpchub.index.engine.two_stages import TwoStages
from cpchub.index.setting import K


@dataclass(frozen=True)
class Calibrated:
    """A search setting, its recall@K, the number of queries it was measured on, and whether the target is reached."""

    depth: int
    effort: int | None
    recall: float
    queries: int
    reached: bool


def calibrate(engine: TwoStages, truth: GroundTruth, target: float) -> Calibrated:
    """The cheapest setting whose recall is above the target by two standard errors, set on the engine.

    One half of the queries chooses it. The other half measures the recall that is reported, which must exceed the
    target by the same margin; otherwise the next deeper setting is tried. `reached` is False if no setting is enough.
    """
    chooses, checks = np.arange(0, len(truth.own), 2), np.arange(1, len(truth.own), 2)
    if not len(checks):
        checks = chooses
    deep = [depth for depth in depths(engine.kind) if depth <= max(engine.count(), K)] or [engine.count()]
    tried = engine.efforts()
    for effort in tried:
        choosing = recall_by_depth(engine, truth, chooses, deep[-1], effort)
        if _safe(choosing)[deep[-1] - 1] < target and effort != tried[-1]:
            continue
        checking = recall_by_depth(engine, truth, checks, deep[-1], effort)
        good = (_safe(choosing) >= target) & (_safe(checking) >= target)
        depth = next((depth for depth in deep if good[depth - 1]), deep[-1])
        engine.depth, engine.effort = depth, effort
        if good[depth - 1]:
            break
    return Calibrated(depth, effort, float(checking[:, depth - 1].mean()), len(checks), bool(good[depth - 1]))


def recall_by_depth(
    engine: TwoStages, truth: GroundTruth, which: npt.NDArray[np.int64], depth: int, effort: int | None
) -> npt.NDArray[np.float64]:
    """Recall@K of some queries `[q]` if only the first 1, 2, ... `depth` candidates are compared: `[q, depth]`."""
    found = engine.candidates(truth.queries[which], depth + 1, effort)
    recalls = np.zeros((len(which), depth))
    for line, query, rows in zip(recalls, which, found, strict=True):
        rows = rows[engine.ids[rows] != truth.own[query]][:depth]
        if not len(rows):
            continue
        hits = truth.hits(query, engine.scores(truth.queries[query], rows))
        line[: len(rows)] = hits / max(1, min(K, int(truth.known[query])))
        line[len(rows) :] = line[len(rows) - 1]
    return recalls


def _safe(recalls: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean over the queries, two standard errors down, so that other queries of the kind are likely above it."""
    return np.asarray(recalls.mean(axis=0) - 2 * recalls.std(axis=0) / np.sqrt(len(recalls)))
