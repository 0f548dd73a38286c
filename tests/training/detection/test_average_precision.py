"""Average precision: cases worked out by hand, and torchmetrics for COCO's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cpchub_training.detection.average_precision import Boxes, coco_ap, overlaps, voc_ap


def objects(*corners: tuple[float, ...], labels: list[int] | None = None, difficult: list[bool] | None = None) -> Boxes:
    return Boxes(
        np.array(corners, float).reshape(-1, 4),
        np.array(labels or [0] * len(corners)),
        difficult=None if difficult is None else np.array(difficult),
    )


def detections(*found: tuple[float, ...], labels: list[int] | None = None) -> Boxes:
    """Each x1, y1, x2, y2, score."""
    table = np.array(found, float).reshape(-1, 5)
    return Boxes(table[:, :4], np.array(labels or [0] * len(found)), scores=table[:, 4])


FAR = (500, 500, 510, 510)


def test_overlap_is_intersection_over_union() -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 0, 0]], float)
    b = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]], float)
    assert overlaps(a, b)[0].tolist() == pytest.approx([1 / 7, 1, 0])
    assert overlaps(a, b)[1].tolist() == [0, 0, 0]


def test_one_right_one_wrong_one_missed() -> None:
    """Hits in the order of the scores: right, wrong, right, of four objects. Recall 1/4, 1/4, 1/2."""
    truth = [objects((0, 0, 10, 10), (20, 0, 30, 10)), objects((0, 0, 10, 10), (50, 50, 60, 60))]
    found = [detections((0, 0, 10, 10, 0.9), (*FAR, 0.8)), detections((0, 0, 10, 9, 0.7))]
    # precision 1 up to recall 1/4, then 2/3 up to recall 1/2: areas 1/4 and 2/3 * 1/4
    assert voc_ap(found, truth, 1)[0] == pytest.approx(0.25 + 0.25 * 2 / 3)
    # of the points 0, 0.1, 0.2 three have precision 1; 0.3, 0.4, 0.5 have 2/3; the other five 0
    assert voc_ap(found, truth, 1, eleven_points=True)[0] == pytest.approx((3 + 3 * 2 / 3) / 11)


def test_perfect_and_empty_detections() -> None:
    truth = [objects((0, 0, 10, 10)), objects((5, 5, 9, 9))]
    perfect = [detections((0, 0, 10, 10, 0.3)), detections((5, 5, 9, 9, 0.9))]
    nothing = [detections(), detections()]
    for points in (True, False):
        assert voc_ap(perfect, truth, 1, eleven_points=points)[0] == 1
        assert voc_ap(nothing, truth, 1, eleven_points=points)[0] == 0
    assert coco_ap(perfect, truth, 1).mean() == pytest.approx(1)
    assert coco_ap(nothing, truth, 1).mean() == 0


def test_a_second_detection_of_an_object_is_wrong() -> None:
    truth = [objects((0, 0, 10, 10), (20, 0, 30, 10))]
    found = [detections((0, 0, 10, 10, 0.9), (0, 0, 10, 9, 0.8), (20, 0, 30, 10, 0.7))]
    assert voc_ap(found, truth, 1)[0] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_difficult_objects_count_neither_as_found_nor_as_missed() -> None:
    truth = [objects((0, 0, 10, 10), (20, 0, 30, 10), difficult=[False, True])]
    found = [detections((20, 0, 30, 10, 0.9), (0, 0, 10, 10, 0.8))]
    assert voc_ap(found, truth, 1)[0] == 1
    assert coco_ap(found, truth, 1, ious=(0.5,))[0, 0] == pytest.approx(1)


def test_overlap_of_exactly_a_half_is_a_hit() -> None:
    truth = [objects((0, 0, 10, 10))]
    assert voc_ap([detections((0, 0, 10, 5, 0.5))], truth, 1)[0] == 1
    assert voc_ap([detections((0, 0, 10, 4.9, 0.5))], truth, 1)[0] == 0


def test_classes_are_judged_apart_and_one_without_objects_is_nan() -> None:
    truth = [objects((0, 0, 10, 10), (20, 0, 30, 10), labels=[0, 1])]
    found = [detections((0, 0, 10, 10, 0.9), (20, 0, 30, 10, 0.9), labels=[0, 2])]
    ap = voc_ap(found, truth, 3)
    assert ap[0] == 1
    assert ap[1] == 0
    assert np.isnan(ap[2])
    assert np.isnan(coco_ap(found, truth, 3)[:, 2]).all()


def test_voc_and_coco_differ_where_two_detections_share_a_best_object() -> None:
    """Both overlap the left object most. VOC calls the second one wrong, COCO gives it the right object."""
    truth = [objects((0, 0, 10, 10), (4, 0, 14, 10))]
    found = [detections((0, 0, 10, 10, 0.9), (1.9, 0, 11.9, 10, 0.8))]
    assert voc_ap(found, truth, 1)[0] == pytest.approx(0.5)
    assert coco_ap(found, truth, 1, ious=(0.5,))[0, 0] == pytest.approx(1)


def random_images(seed: int, n: int = 12, n_classes: int = 3) -> tuple[list[Boxes], list[Boxes]]:
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(n):
        k = int(rng.integers(0, 6))
        corner = rng.uniform(0, 80, (k, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(8, 40, (k, 2))], 1)
        labels = rng.integers(0, n_classes, k)
        truth.append(Boxes(boxes, labels))
        near = np.concatenate([boxes + rng.normal(0, 3, boxes.shape), boxes + rng.normal(0, 9, boxes.shape)])
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        said = np.where(rng.random(2 * k) < 0.8, np.tile(labels, 2), rng.integers(0, n_classes, 2 * k))
        found.append(Boxes(near, said, scores=rng.permutation(2 * k) / 100 + rng.random(2 * k) / 1000))
    return found, truth


@pytest.mark.parametrize("seed", range(4))
def test_coco_ap_is_torchmetrics(seed: int) -> None:
    pytest.importorskip("pycocotools")
    detection = pytest.importorskip("torchmetrics.detection")
    found, truth = random_images(seed)
    points = np.linspace(0, 1, 101).tolist()  # its own default is in float32, a little above 0.3 and the like
    metric = detection.MeanAveragePrecision(class_metrics=True, rec_thresholds=points)
    metric.update(
        [
            {"boxes": torch.tensor(b.corners), "scores": torch.tensor(b.scores), "labels": torch.tensor(b.labels)}
            for b in found
        ],
        [{"boxes": torch.tensor(b.corners), "labels": torch.tensor(b.labels)} for b in truth],
    )
    theirs = metric.compute()
    ours = coco_ap(found, truth, 3)
    assert np.nanmean(ours) == pytest.approx(float(theirs["map"]), abs=1e-6)
    assert np.nanmean(ours[0]) == pytest.approx(float(theirs["map_50"]), abs=1e-6)
    assert np.nanmean(ours[5]) == pytest.approx(float(theirs["map_75"]), abs=1e-6)
    assert np.nanmean(ours, 0) == pytest.approx(theirs["map_per_class"].numpy(), abs=1e-6)
