"""The images without a label among which the next ones are chosen, compared with each other and with the labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cpchub.fewlabels.choice.cover import Space
from cpchub.fewlabels.choice.doubt import Doubt, doubt_of

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
MOST = 5000  # images that are looked at
AT_ONCE = 1000  # labelled images


def looked_at(count: int, labelled: Collection[int], seed: int) -> Rows:
    """The rows of `count` images that have no label; of more than MOST, as many are drawn.

    The order in which they are drawn does not depend on the labels, so one label more changes little.
    """
    free = np.ones(count, np.bool_)
    free[list(labelled)] = False
    drawn = np.random.default_rng(seed).permutation(count)
    return np.sort(drawn[free[drawn]][:MOST])


@dataclass(frozen=True, eq=False)
class Pool:
    """rows `[R]`, vectors `[R, D]`: the images that are looked at, of `without` that have no label.

    labelled `[L]`, labelled_vectors `[L, D]`, names: the rows that have a label, and their classes. All vectors are of
    unit length.
    """

    rows: Rows
    vectors: Vectors
    labelled: Rows
    labelled_vectors: Vectors
    names: Sequence[str]
    without: int
    seed: int

    @cached_property
    def _space(self) -> Space:
        return Space(self.vectors)

    @cached_property
    def similarity(self) -> Vectors:
        """`[R, R]`, of each image to each other."""
        return self._space.similarity(self._space.points)

    @cached_property
    def covered(self) -> Vectors:
        """`[R]`, the similarity to the nearest labelled image; zero without labels."""
        covered = np.zeros(len(self.rows), np.float32)
        for at in range(0, len(self.labelled), AT_ONCE):
            some = self._space.others(self.labelled_vectors[at : at + AT_ONCE])
            covered = np.maximum(covered, self._space.similarity(some).max(axis=0))
        return covered

    @cached_property
    def doubt(self) -> Doubt | None:
        """What classifiers say of the images; None while there are no two classes."""
        return doubt_of(self.labelled_vectors, self.names, self.vectors, self.seed)

    def stand_for(self, places: Sequence[int]) -> list[int]:
        """For each place, how many images without a label are nearer to it than to a label and the other places.

        Where not all were looked at, the number is estimated, and rounded to two digits.
        """
        to_each = self.similarity[list(places)]
        nearest = np.where(to_each.max(axis=0) > self.covered, to_each.argmax(axis=0), len(places))
        counts = np.bincount(nearest, minlength=len(places) + 1)[: len(places)]
        if self.without == len(self.rows):
            return [int(count) for count in counts]
        return [int(float(f"{count * self.without / len(self.rows):.2g}")) for count in counts]
