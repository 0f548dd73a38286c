"""Labels saved: how many times more labels another way of learning needs for the same accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cpchub.errors import LabelError


@dataclass(frozen=True)
class Saved:
    """At `labels` labels and this `accuracy`, the rival needs `factor` times as many.

    bound: "" where the rival's curve passes through this accuracy; ">=" where it stays below it to its end; "<=" where
    it is above it from its first point on.
    """

    labels: int
    accuracy: float
    factor: float
    bound: str = ""

    def __str__(self) -> str:
        shown = f"{self.factor:.0f}" if self.factor >= 10 else f"{self.factor:.1f}"
        return f"{self.bound} {shown}x".strip()


def labels_saved(curve: Mapping[int, float], rival: Mapping[int, float]) -> list[Saved]:
    """For each point of `curve` (labels -> accuracy): the labels that `rival` needs for as much, over its own.

    Between its points the rival is linear in the logarithm of the labels; where more labels once made it worse, it
    keeps the better accuracy that it had with fewer. Points about which its curve says nothing are left out: those of
    more labels than it was measured with, which it does not reach, and of fewer, which it surpasses.

    Raises LabelError for a curve without points.
    """
    if not curve or not rival:
        raise LabelError("labels saved needs two curves of at least one point each")
    counts = np.array(sorted(rival))
    best = np.maximum.accumulate([rival[n] for n in counts.tolist()])
    saved = []
    for labels in sorted(curve):
        accuracy = curve[labels]
        if accuracy > best[-1]:
            needed, bound = float(counts[-1]), ">="
        elif accuracy < best[0]:
            needed, bound = float(counts[0]), "<="
        else:
            needed, bound = _crossing(counts, best, accuracy), ""
        factor = needed / labels
        if not ((bound == ">=" and factor < 1) or (bound == "<=" and factor > 1)):
            saved.append(Saved(labels, accuracy, factor, bound))
    return saved


def _crossing(counts: np.ndarray, accuracies: np.ndarray, accuracy: float) -> float:
    """The fewest labels at which a rising curve reaches `accuracy`, which lies between its first and last point."""
    after = int(np.searchsorted(accuracies, accuracy))  # the first point that is as good
    if accuracies[after] == accuracy or after == 0:
        return float(counts[after])
    low, high = accuracies[after - 1], accuracies[after]
    share = (accuracy - low) / (high - low)
    return float(np.exp(np.log(counts[after - 1]) * (1 - share) + np.log(counts[after]) * share))
