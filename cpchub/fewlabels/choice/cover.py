"""Choose images that stand for the others, one after the other.

An image covers another by their similarity, and each image counts as covered by the best of those that are labelled or
chosen. The next one is the image that adds most: typical, and unlike what there is already. So a batch is diverse, and
images near a label are left out. With weights, what is in doubt counts more.

Bae, Noh & Sutherland, "Generalized Coverage for More Robust Low-Budget Active Learning" (2024), where all weights are
one; Bae, Sutherland & Oliveira, "Uncertainty Herding" (2025), with weights. ProbCover (Yehuda et al. 2022) is the same
with a similarity of one within a radius and zero beyond.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cpchub.fewlabels.base import unit_rows

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.floating]

# Of the mean squared distance of two images, the variance of the kernel: the best of .05 to .4 with 1 to 20 labels a
# class, on training images of Tiny-ImageNet and CIFAR-10 and on the digits of scikit-learn.
WIDTH = 0.15
AT_ONCE = 512  # rows of similarities that are float64 for a moment


class Space:
    """Vectors `[N, D]` as they are compared: from their mean, at unit length, by a kernel that fits their spread."""

    def __init__(self, vectors: Vectors) -> None:
        unit = unit_rows(vectors)
        self._mean = unit.mean(axis=0)
        self.points = unit_rows(unit - self._mean)
        # the mean squared distance of two unit vectors is 2 - 2 |mean|^2
        self._scale = max(WIDTH * (1 - float(np.square(self.points.mean(axis=0)).sum())), 1e-6) * 2

    def others(self, vectors: Vectors) -> Vectors:
        """More vectors, as points of this space."""
        return np.asarray(unit_rows(unit_rows(vectors) - self._mean), dtype=np.float32)

    def similarity(self, points: Vectors) -> Vectors:
        """`[M, N]` in 0..1: of M points to those of this space, exp(-d^2 / 2 s^2)."""
        similarity = points @ self.points.T
        similarity -= 1  # -d^2 / 2
        similarity /= self._scale
        return np.asarray(np.exp(similarity, out=similarity))


class Cover:
    """The state of a greedy choice among N images.

    similarity: `[N, N]`. weights: `[N]`, how much each image counts. covered: `[N]`, how far each is covered already.
    """

    def __init__(self, similarity: Vectors, weights: Numbers, covered: Vectors | None = None) -> None:
        self.similarity = similarity
        self.weights = np.asarray(weights, dtype=np.float32)
        self.covered = np.zeros(len(similarity), np.float32) if covered is None else covered
        parts = (similarity[at : at + AT_ONCE] for at in range(0, len(similarity), AT_ONCE))
        self._gain = np.concatenate([np.maximum(part - self.covered, 0) @ self.weights for part in parts])
        self._of_step = np.zeros(len(similarity), np.int64)
        self._step = 0

    def best(self) -> int | None:
        """The image that adds most; None where each one has been taken or dropped.

        Gains only shrink as images are taken, so an old gain is an upper bound, and few have to be computed again
        (Minoux 1978).
        """
        while True:
            place = int(self._gain.argmax())
            if self._gain[place] == -np.inf:
                return None
            if self._of_step[place] == self._step:
                return place
            self._gain[place] = np.maximum(self.similarity[place] - self.covered, 0) @ self.weights
            self._of_step[place] = self._step

    def take(self, place: int) -> None:
        """Choose an image: what it covers counts less from now on."""
        self.covered = np.maximum(self.covered, self.similarity[place])
        self._step += 1
        self.drop(place)

    def drop(self, place: int) -> None:
        """Never offer this image again."""
        self._gain[place] = -np.inf
