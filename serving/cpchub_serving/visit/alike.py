"""Near-duplicates among results: the nearest stays, the others are folded under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cpchub.collection.copies import COPY, PHOTOS, cosine_at, usual_distance
from cpchub.common.vectors import unit_length

AT_ONCE = 250  # results that are compared with all before them by one product


@dataclass(frozen=True)
class Group:
    """The place of a result among all of them, and the places of those that are like it, in their order."""

    first: int
    others: list[int] = field(default_factory=list)


def copy_threshold(vectors: npt.NDArray) -> float:
    """The cosine from which two images of a collection, `[N, D]`, are taken for copies by their vectors alone.

    The one of `cpchub duplicates` where it cannot read the images: COPY times the usual distance of two images.
    """
    return cosine_at(COPY * (usual_distance(vectors, np.arange(len(vectors))) or PHOTOS))


def folded(vectors: npt.NDArray, least: float) -> list[Group]:
    """Results `[k, D]`, best first, in groups: each is put under the first one with a cosine of at least `least`.

    Only a result that is not folded itself takes others, so that no chain of similar images becomes one group. More
    results at the end change nothing for those before them.
    """
    groups: list[Group] = []
    vectors = unit_length(np.asarray(vectors, np.float32))
    for start in range(0, len(vectors), AT_ONCE):
        block = vectors[start : start + AT_ONCE]
        earlier = list(groups)
        near = block @ vectors[_firsts(earlier)].T >= least
        among = block @ block.T >= least
        own: list[Group] = []
        for place in range(len(block)):
            group = _taking(earlier, near[place]) or _taking(own, among[place, [g.first - start for g in own]])
            if group is None:
                own.append(Group(start + place))
            else:
                group.others.append(start + place)
        groups += own
    return groups


def _firsts(groups: Sequence[Group]) -> npt.NDArray[np.int64]:
    return np.array([group.first for group in groups], dtype=np.int64)


def _taking(groups: Sequence[Group], near: npt.NDArray[np.bool_]) -> Group | None:
    return groups[int(near.argmax())] if near.any() else None
