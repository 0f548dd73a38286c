"""Labels spread over the graph of neighbours: as the closed form says, used where they gain, and left where not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import cpchub
from cpchub.cli.main import main
from cpchub.collection.import_vectors import import_vectors
from cpchub.fewlabels import LogisticProbe, estimate_accuracy
from cpchub.fewlabels.propagation import SPREAD, neighbour_graph, propagate, solve
from cpchub.fewlabels.unlabelled import WithUnlabelled, with_unlabelled


def corners(of_each: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Four clusters at the corners of a square; the two of a class are opposite, so no plane parts the classes."""
    corner = np.arange(4 * of_each) % 4
    around = np.random.default_rng(0).normal(size=(len(corner), 2))
    places = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[corner] + 0.15 * around
    vectors = np.column_stack([places, np.full(len(corner), 2.0)]).astype(np.float32)
    return vectors, np.array([0, 1, 1, 0])[corner]


def drawn(codes: np.ndarray, of_each: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(codes == c))[:of_each] for c in np.unique(codes)])


def outcome(vectors: np.ndarray, codes: np.ndarray, rows: np.ndarray) -> WithUnlabelled:
    names = [str(code) for code in codes[rows]]
    return with_unlabelled(vectors, rows, names, LogisticProbe().fit(vectors[rows], names))


def test_the_solution_is_that_of_the_closed_form() -> None:
    vectors, _ = corners(20)
    graph = neighbour_graph(vectors)
    assert abs(graph - graph.T).max() < 1e-6
    assert graph.diagonal().max() == 0
    labels = np.eye(80, 3, dtype=np.float32)
    exact = np.linalg.solve(np.eye(80) - SPREAD * graph.toarray(), labels)
    assert np.abs(solve(graph, labels) - exact).max() < 1e-3
    assert solve(graph, np.zeros((80, 2), np.float32)).max() == 0


def test_a_class_with_more_labels_spreads_no_more_and_what_nothing_reaches_is_open() -> None:
    graph = csr_array(np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], np.float32))
    rows, codes = np.array([0, 2, 3]), np.array([0, 1, 1])
    p = propagate(graph, rows, codes, 3)
    assert p[1].argmax() == 0
    assert p[2].argmax() == p[3].argmax() == 1
    assert propagate(graph, np.array([0]), np.array([0]), 2)[2].tolist() == [0.5, 0.5]


def test_unlabelled_images_help_where_the_classes_are_no_planes_apart() -> None:
    vectors, codes = corners()
    rows = drawn(codes, 6)
    found = outcome(vectors, codes, rows)
    alone = LogisticProbe().fit(vectors[rows], codes[rows]).predict_proba(vectors).argmax(axis=1)
    assert found.used
    assert found.probabilities is not None
    assert np.allclose(found.probabilities.sum(axis=1), 1)
    assert (found.probabilities.argmax(axis=1) == codes).mean() > (alone == codes).mean() + 0.3
    assert found.sentence().startswith("Unlabelled images: used; ")


def test_unlabelled_images_that_gain_nothing_are_not_used() -> None:
    rng, codes = np.random.default_rng(0), np.arange(300) % 2
    clusters = 2 * rng.normal(size=(30, 20))[rng.integers(0, 30, len(codes))]  # of both classes
    vectors = (clusters + 0.1 * rng.normal(size=clusters.shape)).astype(np.float32)
    vectors[:, 0] = 2 * codes - 1 + 0.3 * rng.normal(size=len(codes))
    found = outcome(vectors, codes, drawn(codes, 40))
    assert not found.used
    assert found.probabilities is None
    assert "not used, since they gain nothing here" in found.sentence()


def test_with_one_label_a_class_the_gain_cannot_be_measured() -> None:
    vectors, codes = corners()
    found = outcome(vectors, codes, drawn(codes, 1))
    assert found.used
    assert "cannot be measured, since no class has two labels" in found.sentence()


def test_labels_are_held_out_as_for_the_estimate_of_the_classifier() -> None:
    vectors, codes = corners()
    for rows in (drawn(codes, 6), np.concatenate([np.flatnonzero(codes == 0)[:12], np.flatnonzero(codes == 1)[:2]])):
        names = [str(code) for code in codes[rows]]
        probe = LogisticProbe().fit(vectors[rows], names)
        found = with_unlabelled(vectors, rows, names, probe).estimated({"0": 0.5, "1": 0.5})
        alone = estimate_accuracy(vectors[rows], names, probe, {"0": 0.5, "1": 0.5})
        assert alone is not None
        assert found.without is not None
        assert found.with_them is not None
        assert found.without.right.sum() == alone.accuracy.right
        assert np.array_equal(found.with_them.tested, found.without.tested)
        assert found.estimate is not None


def test_the_command_says_what_the_unlabelled_images_gain_and_saves_the_classifier_of_the_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, codes = corners()
    collection = import_vectors(tmp_path / "index", vectors, [f"{row}.png" for row in range(len(codes))])
    lines = "".join(f"{row}.png,{'ab'[codes[row]]}\n" for row in drawn(codes, 6))
    (tmp_path / "labels.csv").write_text("path,label\n" + lines)
    start = ["classify", str(collection.folder), "--labels", str(tmp_path / "labels.csv"), "--method", "logistic"]
    right = []
    for name, more in (("without", []), ("with", ["--use-unlabelled"])):
        out = ["-o", str(tmp_path / f"{name}.csv"), "--save", str(tmp_path / name)]
        assert main([*start, *more, *out]) == 0
        rows = csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines())
        right.append(sum(row["predicted"] == "ab"[code] for row, code in zip(rows, codes, strict=True)))
    said = capsys.readouterr().err
    assert right[1] > right[0]
    assert "Unlabelled images: used; " in said
    assert "It is that of the labels alone" in said
    heads = [cpchub.load_classifier(tmp_path / name) for name in ("without", "with")]
    assert np.array_equal(*(head.predict_proba(vectors) for head in heads))
    assert heads[1].estimate is not None
    assert heads[1].estimate.accuracy.right == heads[0].estimate.accuracy.right
    assert main(["classify", str(collection.folder), "--head", str(tmp_path / "with"), "--use-unlabelled"]) == 2
    assert "--use-unlabelled goes with --labels" in capsys.readouterr().err
