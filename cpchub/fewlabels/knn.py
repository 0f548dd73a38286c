"""Weighted k-nearest-neighbour classification, the label-free training monitor of the field.

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (arXiv 1805.01978), section 3.4:
each of the k nearest neighbours votes with weight exp(s / T), where s is the cosine similarity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from cpchub.common.top_k import top_k_of_blocks
from cpchub.errors import ArgumentError
from cpchub.fewlabels.base import Array, FeatureClassifier, unit_rows

QUERIES_AT_ONCE = 500
BANK_AT_ONCE = 20_000  # bounds the similarities to 500 x 20,000


class KNNClassifier(FeatureClassifier):
    """Weighted kNN by cosine similarity. The paper has k = 200 and T = 0.07; later reports use T = 0.1.

    k: neighbours that vote; all of them where fewer are labelled.
    temperature: T.
    class_weight: class -> what its votes count, or "balanced"; by default every vote counts alike.
    """

    FITTED: ClassVar = ("_features", "_codes", "_weights")

    def __init__(self, k: int = 200, temperature: float = 0.1, class_weight: Any = None) -> None:
        self.k = k
        self.temperature = temperature
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> KNNClassifier:
        """Remember features `[N, D]` and labels `[N]`, whose votes are weighted by `[N]`.

        Raises LabelError on a single class.
        """
        if self.k < 1 or self.temperature <= 0:
            raise ArgumentError(f"k={self.k}, temperature={self.temperature}: both must be positive")
        self._features, self._codes, self._weights = self._weighted_data(X, y, sample_weight, self.class_weight)
        return self

    def _probabilities(self, unit: Array) -> Array:
        bank, ks = (self._features, self._codes), (self.k,)
        batches = _votes(*bank, len(self.classes_), unit, ks, self.temperature, self._weights)
        shares = [(votes / votes.sum(axis=1, keepdims=True)).astype(unit.dtype) for (votes,) in batches]
        return np.concatenate(shares)


def knn(
    x: npt.NDArray[np.floating],
    y: npt.NDArray[np.int64],
    queries: npt.NDArray[np.floating],
    ks: Sequence[int],
    temperature: float = 0.1,
) -> dict[int, npt.NDArray[np.int64]]:
    """Predicted class numbers `[Q]` of queries `[Q, D]` for each k, from features `[N, D]` and class numbers `[N]`.

    The neighbours are searched once for all k. A k above N uses all N features.
    """
    codes = np.asarray(y, dtype=np.int64)
    batches = _votes(unit_rows(x), codes, int(codes.max()) + 1, unit_rows(queries), ks, temperature)
    winners = [[votes.argmax(axis=1) for votes in of_each_k] for of_each_k in batches]
    return {k: np.concatenate(of_k) for k, of_k in zip(ks, zip(*winners, strict=True), strict=True)}


def _votes(
    bank: npt.NDArray[np.float32],
    codes: npt.NDArray[np.int64],
    classes: int,
    queries: npt.NDArray[np.float32],
    ks: Sequence[int],
    temperature: float,
    of_rows: npt.NDArray[np.float64] | None = None,
) -> Iterator[list[npt.NDArray[np.float64]]]:
    """The votes `[B, classes]` of each batch of queries, one array for each k; the nearest neighbour's vote counts 1.

    bank: unit features `[N, D]`. codes: their class numbers `[N]`. queries: unit features `[Q, D]`. of_rows: what the
    vote of each counts, `[N]`.
    """
    import torch

    # torch warns about memory that it may not write to, for example memory that joblib has mapped.
    blocks = torch.from_numpy(np.require(bank, requirements="W")).split(BANK_AT_ONCE)
    labels = torch.from_numpy(np.require(codes, requirements="W"))
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        with torch.inference_mode():
            q = torch.from_numpy(np.require(queries[start : start + QUERIES_AT_ONCE], requirements="W"))
            similarity, rows = top_k_of_blocks(q, blocks, min(max(ks), len(bank)))
            weights = ((similarity - similarity[:, :1]).double() / temperature).exp()
            if of_rows is not None:
                weights = weights * torch.from_numpy(np.require(of_rows, requirements="W"))[rows]
            voted = labels[rows]
            none = weights.new_zeros(len(q), classes)
            votes = [none.scatter_add(1, voted[:, :k], weights[:, :k]).numpy() for k in ks]
        yield votes
