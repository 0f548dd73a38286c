"""Average precision of detections: PASCAL VOC's of 2007 and of 2010 on, and COCO's.

Everingham et al., "The PASCAL Visual Object Classes Challenge" (IJCV 2010); Lin et al., arXiv 1405.0312, as the devkit
and pycocotools compute them. numpy alone, so that the numbers do not depend on what is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
COCO_IOUS = tuple(np.linspace(0.5, 0.95, 10).round(2))
COCO_MOST = 100  # detections an image


@dataclass(frozen=True)
class Boxes:
    """Objects of one image: corners `[n, 4]` as x1, y1, x2, y2, class numbers `[n]`, and where they apply, scores
    `[n]` of detections and marks `[n]` of objects too difficult to count."""

    corners: Array
    labels: npt.NDArray[np.int64]
    scores: Array | None = None
    difficult: npt.NDArray[np.bool_] | None = None

    def of_class(self, number: int) -> Boxes:
        """The objects of one class."""
        mine = self.labels == number
        scores, difficult = (None if each is None else each[mine] for each in (self.scores, self.difficult))
        return Boxes(self.corners[mine], self.labels[mine], scores, difficult)


def voc_ap(
    found: Sequence[Boxes], truth: Sequence[Boxes], n_classes: int, *, iou: float = 0.5, eleven_points: bool = False
) -> Array:
    """AP of each class `[n_classes]`, nan for one the truth does not have; `found[i]` and `truth[i]` are image i.

    A detection is right if it overlaps an object not yet found by `iou` or more; difficult objects count neither way.
    `eleven_points`: the mean of the precision at recall 0, 0.1, ... 1 (VOC 2007), else the area under the curve.
    """
    result = np.full(n_classes, np.nan)
    for number in range(n_classes):
        hits, total = _voc_hits([b.of_class(number) for b in found], [b.of_class(number) for b in truth], iou)
        if total:
            recall, precision = _curve(hits, total)
            result[number] = _eleven_points(recall, precision) if eleven_points else _area(recall, precision)
    return result


def coco_ap(found: Sequence[Boxes], truth: Sequence[Boxes], n_classes: int, ious: Sequence[float] = COCO_IOUS) -> Array:
    """AP at each threshold and of each class `[len(ious), n_classes]`, nan for a class that the truth does not have.

    COCO's number is the mean over both. The precision is read at 101 recalls, of at most 100 detections an image.
    """
    result = np.full((len(ious), n_classes), np.nan)
    for number in range(n_classes):
        here = [_best(b.of_class(number)) for b in found], [b.of_class(number) for b in truth]
        for i, iou in enumerate(ious):
            hits, total = _coco_hits(*here, iou)
            if total:
                result[i, number] = _hundred_and_one_points(*_curve(hits, total))
    return result


def overlaps(a: Array, b: Array) -> Array:
    """Intersection over union of boxes `[n, 4]` and `[m, 4]`: `[n, m]`."""
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    opposite = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(opposite - corner, 0, None).prod(-1)
    areas = [(x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _voc_hits(found: Sequence[Boxes], truth: Sequence[Boxes], iou: float) -> tuple[npt.NDArray[np.bool_], int]:
    """Right or wrong for each detection that counts, best score first, over all images; and how many objects count.

    A detection is compared with the object that it overlaps most, taken or not: a second one there is wrong.
    """
    marks: list[tuple[float, bool]] = []
    for detections, objects in zip(found, truth, strict=True):
        taken = np.zeros(len(objects.corners), bool)
        each = overlaps(detections.corners, objects.corners)
        for row in _by_score(detections):
            best = int(each[row].argmax()) if len(taken) else -1
            if best >= 0 and each[row, best] >= iou:
                if _difficult(objects)[best]:
                    continue
                marks.append((_score(detections, row), not taken[best]))
                taken[best] = True
            else:
                marks.append((_score(detections, row), False))
    return _ordered(marks), sum(int((~_difficult(objects)).sum()) for objects in truth)


def _coco_hits(found: Sequence[Boxes], truth: Sequence[Boxes], iou: float) -> tuple[npt.NDArray[np.bool_], int]:
    """As `_voc_hits`, but a detection is given the object it overlaps most among those that are not taken yet."""
    marks: list[tuple[float, bool]] = []
    for detections, objects in zip(found, truth, strict=True):
        free = np.ones(len(objects.corners), bool)
        each = overlaps(detections.corners, objects.corners)
        for row in _by_score(detections):
            easy = np.where(free & ~_difficult(objects), each[row], -1.0)
            hard = np.where(free & _difficult(objects), each[row], -1.0)
            if len(free) and easy.max() >= iou:
                free[int(easy.argmax())] = False
                marks.append((_score(detections, row), True))
            elif len(free) and hard.max() >= iou:
                free[int(hard.argmax())] = False
            else:
                marks.append((_score(detections, row), False))
    return _ordered(marks), sum(int((~_difficult(objects)).sum()) for objects in truth)


def _curve(hits: npt.NDArray[np.bool_], total: int) -> tuple[Array, Array]:
    """Recall and precision after each detection."""
    right = hits.cumsum()
    return right / total, right / np.arange(1, len(hits) + 1)


def _eleven_points(recall: Array, precision: Array) -> float:
    best = [precision[recall >= point].max(initial=0.0) for point in np.linspace(0, 1, 11)]
    return float(np.mean(best))


def _area(recall: Array, precision: Array) -> float:
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _hundred_and_one_points(recall: Array, precision: Array) -> float:
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(recall, np.linspace(0, 1, 101), side="left")].mean())


def _best(boxes: Boxes) -> Boxes:
    keep = _by_score(boxes)[:COCO_MOST]
    return Boxes(boxes.corners[keep], boxes.labels[keep], None if boxes.scores is None else boxes.scores[keep])


def _by_score(boxes: Boxes) -> npt.NDArray[np.int64]:
    scores = np.zeros(len(boxes.corners)) if boxes.scores is None else boxes.scores
    return np.argsort(-scores, kind="stable")


def _score(boxes: Boxes, row: int) -> float:
    return 0.0 if boxes.scores is None else float(boxes.scores[row])


def _difficult(boxes: Boxes) -> npt.NDArray[np.bool_]:
    return np.zeros(len(boxes.corners), bool) if boxes.difficult is None else boxes.difficult


def _ordered(marks: list[tuple[float, bool]]) -> npt.NDArray[np.bool_]:
    """The marks, best score first; ties stay in the order of the images."""
    order = np.argsort([-score for score, _ in marks], kind="stable")
    return np.array([mark for _, mark in marks], bool)[order]
