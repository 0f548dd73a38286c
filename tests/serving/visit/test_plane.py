"""The map that visitors see: a first view, then the layout, which is kept; and what its points are coloured by."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import QueryError
from cpchub.index import Index
from cpchub_serving.visit import plane as planes
from cpchub_serving.visit.colouring import COLOURS, NOTHING, STEPS, by_class, by_column
from cpchub_serving.visit.colourings import Colourings
from cpchub_serving.visit.label_sets import LabelSets
from cpchub_serving.visit.plane import FINE, Plane, in_steps
from tests.processes import PATIENCE
from tests.serving.conftest import Served


@pytest.fixture(scope="module")
def index(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """The collection of the other tests, in a folder that may be written to."""
    folder = tmp_path_factory.mktemp("plane") / "collection"
    shutil.copytree(served.index.collection.folder, folder)
    return Index.open(folder)


def made(plane: Plane) -> Plane:
    plane.open()
    plane.job.wait(PATIENCE)
    return plane


def test_a_first_view_is_there_before_the_map_which_the_next_start_finds(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = Plane(index)
    views = []
    real = planes.layout_of
    monkeypatch.setattr(planes, "layout_of", lambda *args: views.append(plane.drawn.version) or real(*args))
    made(plane)
    assert views == ["pca"]
    assert plane.job.progress.state == "done"
    assert plane.drawn is not None
    assert plane.drawn.version == "tsne"
    assert plane.drawn.places.shape == (len(index), 2)
    again = made(Plane(index))
    assert len(views) == 1
    assert again.drawn is not None
    assert np.array_equal(again.drawn.places, plane.drawn.places)


def test_without_the_package_the_first_view_stays_and_says_what_is_missing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "kept_layout", lambda index: None)
    monkeypatch.setattr(planes, "is_installed", lambda name: False)
    plane = made(Plane(served.index))
    assert plane.drawn is not None
    assert plane.drawn.version == "pca"
    assert "pip install openTSNE" in plane.drawn.note
    assert plane.job.progress.state == "done"


def test_too_few_images_are_said_so(tmp_path: Path) -> None:
    two = Index.build(import_vectors(tmp_path, np.eye(4)[:2], ["a", "b"]))
    assert "3 or more" in made(Plane(two)).job.progress.error


def test_places_keep_their_proportions_within_the_square() -> None:
    steps = in_steps(np.array([[-2, 0], [2, 0], [0, 1]], dtype=np.float32))
    assert steps[:, 0].tolist() == [0, FINE, round(FINE / 2)]
    assert int(steps[2, 1]) - int(steps[0, 1]) == pytest.approx(FINE / 4, abs=1)
    assert in_steps(np.zeros((3, 2), np.float32)).max() < FINE


def test_the_most_frequent_values_have_colours_and_the_rest_is_grey() -> None:
    values = [f"{i % 12:02}" for i in range(120)] + ["00", "11", None, ""]
    found = by_column(pa.chunked_array([values]))
    assert [entry["name"] for entry in found.entries] == ["00", *(f"{i:02}" for i in range(1, 9)), "11", "2 others"]
    assert [entry["colour"] for entry in found.entries] == [*range(COLOURS), None]
    assert found.entries[0]["count"] == 11
    assert found.codes[[0, 11, 9, 10]].tolist() == [0, 9, 10, 10]
    assert found.codes[-2:].tolist() == [NOTHING, NOTHING]
    assert found.legend()["nothing"] == 2


def test_numbers_and_dates_lie_on_a_ramp_that_one_far_value_does_not_stretch() -> None:
    found = by_column(pa.chunked_array([[*range(1000), 10**9, None]]))
    assert found.codes[0] == 0
    assert found.codes[999] > 0.95 * STEPS
    assert found.codes[1000:].tolist() == [STEPS, NOTHING]
    days = by_column(pa.chunked_array([[datetime(2024, 1, 1 + i % 20) for i in range(100)]]))
    assert (days.low, days.high) == ("2024-01-01", "2024-01-20")
    assert days.codes[0] == 0


def test_a_class_keeps_its_colour_where_another_has_no_image() -> None:
    found = by_class(np.array([0, -1, 2, 2]), ["cat", "dog", "cow"])
    assert [(entry["name"], entry["colour"], entry["count"]) for entry in found.entries] == [
        ("cat", 0, 1),
        ("dog", 1, 0),
        ("cow", 2, 2),
    ]
    assert found.codes.tolist() == [0, NOTHING, 2, 2]


def test_a_collection_is_coloured_by_its_label_first_by_clusters_and_by_columns_that_differ(served: Served) -> None:
    colourings = Colourings(served.index, LabelSets(served.index.collection))
    keys = [key for key, _ in colourings.choices]
    assert keys[:2] == ["column:label", "cluster"]
    assert "column:path" not in keys
    assert "column:width" not in keys  # the same for all
    labels = colourings.of("column:label")
    assert [(entry["name"], entry["count"]) for entry in labels.entries] == [("blue", 20), ("green", 20), ("red", 20)]
    clusters = colourings.of("cluster")
    assert sum(entry["count"] for entry in clusters.entries) == len(served.index)
    counts = [entry["count"] for entry in clusters.entries]
    assert counts == sorted(counts, reverse=True)
    assert np.array_equal(Colourings(served.index, colourings.sets).of("cluster").codes, clusters.codes)
    with pytest.raises(QueryError, match="reload"):
        colourings.of("column:path")


def test_labels_and_predictions_have_the_colours_of_their_classes(index: Index) -> None:
    colourings = Colourings(index, LabelSets(index.collection))
    nothing = colourings.of("labels", "mine")
    assert (nothing.entries, nothing.legend()["nothing"]) == ([], len(index))
    labels = colourings.sets.open("mine")
    labels.change("me", {0: "blue", 1: "blue", 59: "red", 40: "red"}, add=["green", "blue", "red"])
    given = colourings.of("labels", "mine")
    assert [(each["name"], each["colour"], each["count"]) for each in given.entries] == [
        ("green", 0, 0),
        ("blue", 1, 2),
        ("red", 2, 2),
    ]
    predicted = colourings.of("predictions", "mine")
    assert predicted.legend()["nothing"] == 0
    assert predicted.codes[[0, 1, 59, 40]].tolist() == [1, 1, 2, 2]
    assert sum(each["count"] for each in predicted.entries) == len(index)
    assert colourings.of("labels").entries == []  # another set
