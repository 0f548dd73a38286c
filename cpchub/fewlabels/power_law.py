"""The power law of learning curves, error(n) = a n^-b + c, with what a few measured points leave uncertain of it.

That is how errors fall with examples (Hestness et al. 2017; Rosenfeld et al. 2020). The three numbers are not fitted to
one best value: each combination on a grid is weighted by how well it explains the points and by how usual it is. What
is usual was found on training images of Tiny-ImageNet and CIFAR-10 and on the digits of scikit-learn, with 2 to 20
classes and 50 to 800 labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
EXPONENT, FACTOR = 0.3, 0.4  # of b: its usual value, and the spread of its logarithm
OFF = 0.015  # how far a measured error is off the law, besides its sampling error
LEVELS, STEPS = 121, 17  # of the grid: errors with the labels there are; exponents, and shares that no label removes
NEVER = 0.6  # probability beyond which a target is answered with "not reachable"
TAIL = 0.05  # at either end of an interval


@dataclass(frozen=True)
class Needed:
    """Labels that a target takes in all: `labels` is None where it is not reached, `high` where it may not be."""

    labels: float | None
    low: float
    high: float | None


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """error(n) = e (f + (1 - f) (n / now)^-b), with weights over combinations of e, b and f, each `[G]`.

    e is the error with the labels there are now, f the share of it that no number of labels removes.
    """

    now: float
    e: Floats
    b: Floats
    f: Floats
    weight: Floats

    @classmethod
    def fitted(cls, now: int, sizes: npt.NDArray[np.int64], errors: Floats, covariance: Floats) -> PowerLaw:
        """The law through errors `[J]` at numbers of labels `[J]`, of which `now` are given."""
        covariance = covariance + OFF**2 * np.eye(len(sizes))
        wide = 4.5 * float(np.sqrt(covariance[-1, -1]))
        level = np.linspace(max(1e-4, errors[-1] - wide), min(1 - 1e-4, errors[-1] + wide), LEVELS)
        exponent = np.linspace(log(EXPONENT) - 2.2 * FACTOR, log(EXPONENT) + 2.2 * FACTOR, STEPS)
        floor = np.linspace(0.01, 0.97, STEPS)
        e, log_b, f = (part.ravel() for part in np.meshgrid(level, exponent, floor, indexing="ij"))
        b = np.exp(log_b)
        off = (e * f)[:, None] + (e * (1 - f))[:, None] * (sizes / now) ** -b[:, None] - errors
        misfit = (off @ np.linalg.inv(covariance) * off).sum(axis=1)
        usual = (1 - f) * np.exp(-(((log_b - log(EXPONENT)) / FACTOR) ** 2) / 2)
        weight = usual * np.exp(-(misfit - misfit.min()) / 2)
        return cls(float(now), e, b, f, weight / weight.sum())

    def accuracy(self, labels: float) -> tuple[float, float, float]:
        """The accuracy with a number of labels: its median and its interval."""
        values = 1 - self.e * (self.f + (1 - self.f) * (labels / self.now) ** -self.b)
        low, middle, high = _quantiles(values, self.weight, (TAIL, 0.5, 1 - TAIL))
        return middle, low, high

    def needed(self, target: float, most: int) -> Needed:
        """The labels for an accuracy above that of now, if `most` labels reach it.

        Where they do, their number is taken to be of any order of magnitude alike before anything was measured.
        """
        wanted = 1 - target
        gap = np.maximum(wanted / self.e - self.f, 0) / (1 - self.f)  # (n / now) ** -b
        with np.errstate(divide="ignore"):
            labels = self.now * gap ** (-1 / self.b)
        beyond = float(self.weight[labels > most].sum())
        inside = (labels >= self.now) & (labels <= most)
        if beyond > NEVER or not inside.any():
            return Needed(None, float(most), None)
        reached = self.f + (1 - self.f) * gap
        alike = self.weight * np.where(inside, reached**2 / np.maximum((1 - self.f) * self.b * gap, 1e-12), 0)
        low, middle, high = _quantiles(labels[inside], alike[inside], (TAIL, 0.5, 1 - TAIL))
        return Needed(middle, low, None if beyond > TAIL else high)


def _quantiles(values: Floats, weight: Floats, shares: tuple[float, ...]) -> list[float]:
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    places = np.searchsorted(below, np.array(shares) * below[-1])
    return [float(value) for value in values[order][np.minimum(places, len(order) - 1)]]
