"""The calibration error: none where a confidence is as often right as it says, its gap where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import calibration


def test_the_error_is_the_gap_of_confidence_and_accuracy_in_each_bin() -> None:
    sure, torn = np.tile([0.9, 0.1], (10, 1)), np.tile([0.55, 0.45], (10, 1))
    y = np.array([0] * 9 + [1] + [0] * 8 + [1] * 2)  # .9 right at .9, .8 right at .55
    assert calibration.calibration_error(sure, y[:10]) == pytest.approx(0, abs=1e-9)
    assert calibration.calibration_error(np.concatenate([sure, torn]), y) == pytest.approx(0.125)


def test_by_chance_falls_with_the_number_of_images() -> None:
    few, many = (calibration.by_chance(np.tile([0.7, 0.3], (n, 1))) for n in (50, 5000))
    assert many < 0.01 < few


def test_each_classifier_has_a_row_for_each_number_of_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "LABELS", (1, 2))
    monkeypatch.setattr(calibration, "SEEDS", (0, 1))
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    rows = calibration.measure((rng.normal(size=(3, 8))[y] * 3 + rng.normal(size=(60, 8))).astype(np.float32), y)
    assert len(rows) == 2 * len(calibration.CLASSIFIERS)
    assert {row["labels_per_class"] for row in rows} == {1, 2}
    assert all(0 <= row["calibration_error"] <= 1 and len(row["of_each_draw"]) == 2 for row in rows)
