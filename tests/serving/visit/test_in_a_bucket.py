"""What visitors say of a collection that lies in a bucket is refused in words, and never kept where nobody looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import OutputError
from cpchub_serving.visit.label_export import save_head
from cpchub_serving.visit.label_sets import LabelSets
from cpchub_serving.visit.marks import KEEP, Mark, Marks
from tests.cpchub.buckets import another_machine


@pytest.fixture
def collection(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    another_machine(monkeypatch, tmp_path)
    return import_vectors(f"memory://{request.node.name}", np.eye(3, dtype=np.float32), ["a", "b", "c"])


def test_a_label_is_not_saved_and_the_page_says_why(collection: Collection) -> None:
    labels = LabelSets(collection).open("default")
    with pytest.raises(OutputError, match=r"default was not saved: the collection is in a bucket.*copy it to a folder"):
        labels.change("me", {0: "cat"})
    assert labels.now.labels == {}
    assert not (collection.folder / "labels").exists()


def test_a_mark_is_not_saved_and_the_page_says_why(collection: Collection) -> None:
    marks = Marks(collection.folder, saved=collection.stored is None)
    with pytest.raises(OutputError, match=r"the mark was not saved: the collection is in a bucket"):
        marks.change({"a": Mark(KEEP)})
    assert marks.now() == {}


def test_a_classifier_is_not_saved_and_the_page_names_the_zip(collection: Collection) -> None:
    with pytest.raises(OutputError, match=r"the collection is in a bucket.*download it as a zip"):
        save_head(None, collection, "cats")  # type: ignore[arg-type]
    assert not (collection.folder / "heads").exists()
