"""A saved classifier: the same probabilities, for the same encoder only, and never a folder that is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import cpchub
from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import ClassifierError, EncoderMismatchError, IntegrityError, OutputError
from cpchub.fewlabels.classify import METHODS, classify, classify_and_estimate, learn
from cpchub.fewlabels.heads.head import sha256_of_labels
from tests.cpchub.images import TinyEncoder

LABELS = {f"{row}.jpg": ("cat", "dog", "ant")[row % 3] for row in range(9)}


def made(folder: Path, dim: int = 6, encoder: str = "elsewhere") -> Collection:
    """A collection of sixty vectors around three centres."""
    rng = np.random.default_rng(0)
    vectors = np.eye(3, dim)[np.arange(60) % 3] + 0.1 * rng.normal(size=(60, dim))
    return import_vectors(folder, vectors, [f"{row}.jpg" for row in range(60)], encoder=encoder)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return made(tmp_path_factory.mktemp("head") / "index")


@pytest.mark.parametrize("method", METHODS)
def test_a_head_gives_the_same_probabilities_after_it_was_saved(
    collection: Collection, method: str, tmp_path: Path
) -> None:
    _, head = classify_and_estimate(collection, LABELS, method)
    loaded = cpchub.load_classifier(head.save(tmp_path / "head"))
    assert loaded.classes == ["ant", "cat", "dog"]
    assert loaded.estimate == head.estimate is not None
    assert loaded.labels == {"ant": 3, "cat": 3, "dog": 3}
    expected = head.predict_proba(collection.vectors())
    assert np.abs(loaded.predict_proba(collection.vectors()) - expected).max() <= 1e-5
    assert classify(collection, {}, head=loaded)["predicted"].equals(classify(collection, LABELS, method)["predicted"])


def test_a_head_says_what_it_was_learned_from(collection: Collection, tmp_path: Path) -> None:
    folder = learn(collection, LABELS, "logistic").save(tmp_path / "head")
    facts = json.loads((folder / "head.json").read_text())
    assert facts["encoder"]["name"] == "elsewhere"
    assert facts["classifier"]["classes"] == ["ant", "cat", "dog"]
    assert facts["classifier"]["numbers"]["temperature_"] > 0
    assert facts["labels"]["sha256"] == sha256_of_labels(dict(reversed(LABELS.items())))
    assert sorted(path.name for path in folder.iterdir()) == ["head.json", "head.safetensors"]
    assert load_file(folder / "head.safetensors")["_weights"].shape == (3, 6)


def test_vectors_of_another_encoder_are_refused_by_name(collection: Collection, tmp_path: Path) -> None:
    head = cpchub.load_classifier(learn(collection, LABELS).save(tmp_path / "head"))
    for other in (made(tmp_path / "b", encoder="another"), made(tmp_path / "c", dim=7)):
        with pytest.raises(EncoderMismatchError, match=f"of 'elsewhere' .* is of '{other.encoder_name}'"):
            head.classify(other)
    with pytest.raises(EncoderMismatchError, match=r"of 'elsewhere' .* of 'tiny'"):
        head.check_encoder(TinyEncoder().spec)


def test_a_head_is_replaced_by_a_head_and_nothing_else_is(collection: Collection, tmp_path: Path) -> None:
    head = learn(collection, LABELS)
    head.save(tmp_path / "head")
    again = learn(collection, {path: label for path, label in LABELS.items() if label != "ant"})
    assert cpchub.load_classifier(again.save(tmp_path / "head")).classes == ["cat", "dog"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match=r"other content \(letter\.txt\)"):
        head.save(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_folder_that_is_no_head_or_is_damaged_is_refused(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match="there is no folder"):
        cpchub.load_classifier(tmp_path / "nowhere")
    with pytest.raises(ClassifierError, match=r"has no head\.json"):
        cpchub.load_classifier(tmp_path)
    folder = learn(collection, LABELS, "logistic").save(tmp_path / "head")
    facts = json.loads((folder / "head.json").read_text())
    damaged = {
        "reads up to 2; upgrade": {**facts, "format": 3},
        "does not describe a classifier": [],
        "is damaged": {**facts, "classifier": {**facts["classifier"], "kind": "Forest"}},
        "4 classes, but": {**facts, "classifier": {**facts["classifier"], "classes": list("abcd")}},
        "is damaged .*encoder": {key: value for key, value in facts.items() if key != "encoder"},
    }
    for message, content in damaged.items():
        (folder / "head.json").write_text(json.dumps(content))
        with pytest.raises(ClassifierError, match=message):
            cpchub.load_classifier(folder)
    (folder / "head.json").write_text(json.dumps(facts))
    (folder / "head.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(IntegrityError, match=r"head\.safetensors has the sha256"):
        cpchub.load_classifier(folder)
