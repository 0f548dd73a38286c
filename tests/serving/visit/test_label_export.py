"""The files that a visitor takes home, and the CSV that one brings."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from cpchub.errors import LabelError, OutputError
from cpchub.fewlabels.given_labels import read_labels
from cpchub.fewlabels.heads.head import load_classifier
from cpchub_serving.visit.label_export import head_of, labels_csv, predictions_csv, save_head, zip_head
from cpchub_serving.visit.label_import import import_labels
from cpchub_serving.visit.label_set import UNSURE, LabelSet
from cpchub_serving.visit.learned import Learned
from cpchub_serving.visit.session import Session
from tests.serving.visit.clouds import COUNT, PATHS, Features, labelled


def test_exported_labels_are_what_cpchub_classify_reads(labels: LabelSet, session: Session, tmp_path: Path) -> None:
    paths = [f"cats, and dogs/{row}.png" for row in range(COUNT)]
    session.take(labels, {4: "cat", 8: "dog", 9: UNSURE})
    file = tmp_path / "labels.csv"
    file.write_text(labels_csv(labels.now, paths), encoding="utf-8")
    assert read_labels(file) == {paths[4]: "cat", paths[8]: "dog"}


def test_exported_predictions_cover_every_image_and_keep_the_labels(
    labels: LabelSet, session: Session, features: Features
) -> None:
    labelled(labels, session, features, 2)
    session.say(labels, [9], "bird")  # against its cloud: what the visitor says counts
    found = Learned().predictions(features, labels.now)
    assert found is not None
    rows = list(csv.DictReader(io.StringIO(predictions_csv(labels.now, found, PATHS))))
    assert len(rows) == COUNT
    assert rows[9] == {"path": "9.png", "predicted": "bird", "confidence": "1.0000"}
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)
    least = float(np.median(found.confidence))
    said = list(csv.DictReader(io.StringIO(predictions_csv(labels.now, found, PATHS, least))))
    unsaid = [row for row in said if not row["predicted"]]
    assert 0 < len(unsaid) < COUNT
    assert all(float(row["confidence"]) <= least + 1e-3 for row in unsaid)


def test_there_is_nothing_to_export_before_there_are_labels(labels: LabelSet) -> None:
    for export in (lambda: labels_csv(labels.now, []), lambda: predictions_csv(labels.now, None, [])):
        with pytest.raises(LabelError):
            export()


def test_a_saved_classifier_says_what_the_page_says(
    labels: LabelSet, session: Session, features: Features, tmp_path: Path
) -> None:
    collection = SimpleNamespace(
        folder=tmp_path,
        stored=None,
        paths=PATHS,
        mapped_items=pa.table({"path": PATHS}),
        manifest={"encoder": {"name": "tiny", "fingerprint": "0123"}},
    )
    with pytest.raises(LabelError, match="no classifier yet"):
        head_of(labels.now, None, collection)
    labelled(labels, session, features, 2)
    judged = Learned().judge(features, labels.now)
    assert judged is not None
    head = head_of(labels.now, judged, collection)
    assert save_head(head, collection, "mine") == "heads/mine"
    loaded = load_classifier(tmp_path / "heads" / "mine")
    assert loaded.estimate == judged.estimate
    assert (loaded.predict_proba(features).argmax(axis=1) == judged.predictions.chosen).all()
    assert b"mine/head.json" in zip_head(head, "mine")

    (tmp_path / "heads" / "notes").mkdir()
    (tmp_path / "heads" / "notes" / "todo.txt").write_text("mine")
    with pytest.raises(OutputError) as refused:
        save_head(head, collection, "notes")
    assert str(tmp_path) not in str(refused.value)
    assert (tmp_path / "heads" / "notes" / "todo.txt").read_text() == "mine"


# -- import


def test_an_import_takes_what_fits_says_what_does_not_and_is_one_step(
    labels: LabelSet, session: Session, tmp_path: Path
) -> None:
    session.say(labels, [1], "dog")
    file = tmp_path / "theirs.csv"
    file.write_text("label;path\ncat;1.png\nfish;2.png\ncat;gone.png\n;3.png\n")
    found = import_labels(session, labels, file)
    assert (found.labels, found.missing) == (2, ("gone.png",))
    assert found.sentence == (
        "2 labels imported. 1 path fits no image of this collection: gone.png. 1 line without a label left aside."
    )
    assert labels.now.labels == {1: "cat", 2: "fish"}
    session.undo(labels)
    assert labels.now.labels == {1: "dog"}
    assert labels.now.classes == ("cat", "dog", "bird")


@pytest.mark.parametrize(
    "content", ["", "path,label\n", "a,b\n1,2\n", "path,label\ngone.png,cat\n", "path,label\n1.png,a;b\n", "\0\1\2"]
)
def test_a_file_that_brings_no_labels_is_refused_by_its_name_alone(
    labels: LabelSet, session: Session, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "theirs.csv"
    file.write_text(content)
    with pytest.raises(LabelError, match=r"theirs\.csv") as refused:
        import_labels(session, labels, file)
    assert str(tmp_path) not in str(refused.value)
    assert labels.now.labels == {}
    assert not session.can_undo
