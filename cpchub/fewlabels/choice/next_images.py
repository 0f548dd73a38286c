"""Which images of a collection to label next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.choice.next_rows import Strategy, check_request, next_of
from cpchub.fewlabels.choice.pool import Pool, looked_at
from cpchub.fewlabels.given_labels import rows_of, vectors_of


@dataclass(frozen=True)
class NextLabels:
    """table: path and reason, the most helpful first. rows: their rows in the collection.

    without: images that have no label. looked_at: how many of these were compared.
    """

    table: pa.Table
    rows: tuple[int, ...]
    without: int
    looked_at: int


def find_next_labels(
    collection: Collection, labels: Mapping[str, str], n: int = 20, *, strategy: Strategy = "auto", seed: int = 0
) -> NextLabels:
    """Choose up to n images of a collection whose labels would help most; see `cpchub.fewlabels.label_next`.

    labels: path (as in the collection, or of the file itself) -> class; it may be empty. Near-duplicates are told as
    `cpchub duplicates` does, by the vectors and by the whole images where these can be read.

    Raises as `label_next` does, and LabelError for a path that is not in the collection.
    """
    check_request(n, strategy)
    given = rows_of(collection, labels)
    rows, labelled = looked_at(len(collection), given, seed), np.fromiter(given, dtype=np.int64, count=len(given))
    vectors = unit_rows(vectors_of(collection, np.concatenate([rows, labelled])))
    without = len(collection) - len(given)
    pool = Pool(rows, vectors[: len(rows)], labelled, vectors[len(rows) :], list(given.values()), without, seed)
    found = next_of(pool, n, strategy, collection)
    chosen = tuple(each.row for each in found)
    columns = {
        "path": pa.array([collection.paths[row] for row in chosen], pa.string()),
        "reason": pa.array([each.reason for each in found], pa.string()),
    }
    return NextLabels(pa.table(columns), chosen, without, len(rows))
