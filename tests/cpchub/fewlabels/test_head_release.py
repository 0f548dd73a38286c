"""A published head: the same probabilities, its encoder pinned by commit, its card with the estimate."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cpchub
from cpchub.catalog.spec import ModelSpec
from cpchub.cli.main import main
from cpchub.errors import ClassifierError, EncoderMismatchError
from cpchub.fewlabels import LogisticProbe
from cpchub.fewlabels.estimate import estimate_accuracy
from cpchub.fewlabels.heads.head import Head
from cpchub.fewlabels.heads.release import licence_of, plan_head_release, publish_head
from cpchub.hub.publish import publish
from tests.loopback_hub import LoopbackHub
from tests.tiny_encoder import DIM, export_tiny

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (np.eye(2, DIM)[np.arange(40) % 2] + 0.3 * rng.normal(size=(40, DIM))).astype(np.float32)


@pytest.fixture
def head(exported: Path, vectors: np.ndarray, tmp_path: Path) -> Path:
    """A head on the vectors of an encoder that lies in a folder."""
    spec, labels = ModelSpec.from_folder(exported), ["hill", "sea"] * 10
    probe = LogisticProbe().fit(vectors[:20], labels)
    record = {"name": spec.name, "fingerprint": spec.fingerprint, "folder": str(exported), "repo_id": None}
    estimate = estimate_accuracy(vectors[:20], labels, probe, {"hill": 0.5, "sea": 0.5})
    return Head(probe, record, {"hill": 10, "sea": 10}, "0" * 64, estimate).save(tmp_path / "scenes")


def test_a_published_head_gives_the_same_probabilities_with_the_encoder_of_its_commit(
    hub: LoopbackHub, exported: Path, head: Path, vectors: np.ndarray
) -> None:
    commit = publish(exported, "lab/tiny", token="secret").revision
    publish_head(head, "lab/scenes", encoder="lab/tiny", token="secret")
    assert {"README.md", "head.json", "head.safetensors"} <= hub.repos["lab/scenes"].files.keys()
    loaded = cpchub.load_classifier("lab/scenes")
    expected = cpchub.load_classifier(head).predict_proba(vectors)
    assert np.abs(loaded.predict_proba(vectors) - expected).max() <= 1e-5
    assert loaded.encoder_to_load == f"lab/tiny@{commit}"
    loaded.check_encoder(cpchub.load(loaded.encoder_to_load).spec)


def test_the_card_tells_the_estimate_and_how_it_is_used(hub: LoopbackHub, exported: Path, head: Path) -> None:
    publish(exported, "lab/tiny", token="secret")
    card = publish_head(head, "lab/scenes", encoder="lab/tiny", license="mit", token="secret").card
    found = json.loads((head / "head.json").read_text())["estimate"]["accuracy"]
    assert f"{found['value']:.1%} (90% interval {found['low']:.1%} to {found['high']:.1%})" in card
    assert 'cpchub.load_classifier("lab/scenes")' in card
    assert "license: mit" in card
    assert "base_model: lab/tiny" in card
    assert "| hill | 10 |" in card


def test_what_is_the_same_is_not_uploaded_again(hub: LoopbackHub, exported: Path, head: Path) -> None:
    publish(exported, "lab/tiny", token="secret")
    first = publish_head(head, "lab/scenes", encoder="lab/tiny", token="secret")
    planned = plan_head_release(head, "lab/scenes", encoder="lab/tiny", token="secret")
    assert set(planned.changes.values()) == {"same"}
    assert publish_head(head, "lab/scenes", encoder="lab/tiny", token="secret").revision == first.revision


def test_an_encoder_that_others_do_not_have_is_to_be_published_first(hub: LoopbackHub, head: Path) -> None:
    with pytest.raises(ClassifierError, match=r"others do not have\. Publish it first .*--encoder ORG/NAME"):
        publish_head(head, "lab/scenes", token="secret")
    assert hub.repos == {}


def test_an_encoder_that_is_not_that_of_the_head_is_refused_by_name(
    hub: LoopbackHub, head: Path, tmp_path: Path
) -> None:
    other = export_tiny(tmp_path / "other", seed=1)
    publish(other, "lab/other", token="secret")
    with pytest.raises(EncoderMismatchError, match=r"lab/other has the fingerprint .*'tiny-simclr'"):
        publish_head(head, "lab/scenes", encoder="lab/other", token="secret")


def test_a_repository_of_an_encoder_is_no_classifier(hub: LoopbackHub, exported: Path) -> None:
    publish(exported, "lab/tiny", token="secret")
    with pytest.raises(ClassifierError, match=r"lab/tiny is no classifier: it has no head\.json"):
        cpchub.load_classifier("lab/tiny")


def test_the_licence_is_not_freer_than_that_of_the_encoder(exported: Path) -> None:
    spec = ModelSpec.from_folder(exported)
    assert licence_of(spec, "mit") == "mit"
    assert licence_of(spec, None) == "unknown"
    strict = replace(spec, license="cc-by-nc-4.0")
    assert licence_of(strict, None) == "cc-by-nc-4.0"
    with pytest.raises(ClassifierError, match="cannot be mit"):
        licence_of(strict, "mit")


def test_the_commands_publish_it_and_apply_it_by_its_repository(
    hub: LoopbackHub, exported: Path, head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", "secret")
    publish(exported, "lab/tiny", token="secret")
    assert main(["publish", str(head), "lab/scenes", "--encoder", "lab/tiny"]) == 0
    assert 'cpchub.load_classifier("lab/scenes")' in capsys.readouterr().err
    assert main(["publish", str(exported), "lab/tiny", "--encoder", "lab/tiny"]) != 0
    assert "--encoder is for a classifier" in capsys.readouterr().err


def test_a_folder_stands_in_for_the_hub(head: Path, vectors: np.ndarray, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match="others do not have"):
        publish_head(head, str(tmp_path / "shared"))
    assert not (tmp_path / "shared").exists()
    copied = cpchub.load_classifier(shutil.copytree(head, tmp_path / "copied"))
    assert np.array_equal(copied.predict_proba(vectors), cpchub.load_classifier(head).predict_proba(vectors))
