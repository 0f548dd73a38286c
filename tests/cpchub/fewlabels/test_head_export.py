"""A head with its encoder in one file: the probabilities that Python gives, for every kind of classifier."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import cpchub
from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.encoders.load import load
from cpchub.errors import EncoderMismatchError, ExportError
from cpchub.fewlabels import LogisticProbe
from cpchub.fewlabels.base import Array, FeatureClassifier
from cpchub.fewlabels.classify import METHODS, learn
from cpchub.fewlabels.heads.export import with_head
from cpchub.fewlabels.heads.head import Head
from cpchub.fewlabels.heads.network import HeadNetwork, Typical
from cpchub.fewlabels.heads.state import KINDS
from cpchub.fewlabels.none_of_these import NoneOfThese
from tests.cpchub.fewlabels.test_head import LABELS, made


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng, y = np.random.default_rng(0), np.arange(90) % 3
    return (rng.normal(size=(3, 12))[y] + 0.7 * rng.normal(size=(90, 12))).astype(np.float32), y


@pytest.mark.parametrize("method", METHODS)
def test_the_network_of_a_classifier_gives_its_probabilities(method: str, drawn: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = drawn
    classifier = METHODS[method]().fit(x[:30], y[:30])
    with torch.no_grad():
        found = HeadNetwork(classifier)(torch.from_numpy(x)).numpy()
    assert np.abs(found - classifier.predict_proba(x)).max() <= 1e-5


def test_every_kind_of_classifier_that_is_saved_has_a_network(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = drawn
    for name, kind in KINDS.items():
        inner = (KINDS["ClassMeans"](),) if name in ("Calibrated", "OneVsRest") else ()
        classifier = kind(*inner).fit(x[:30], np.eye(3)[y[:30]] if name == "OneVsRest" else y[:30])
        with torch.no_grad():
            found = HeadNetwork(classifier)(torch.from_numpy(x)).numpy()
        assert np.abs(found - classifier.predict_proba(x)).max() <= 1e-5, name


def test_a_classifier_without_a_network_is_named() -> None:
    class Guess(FeatureClassifier):
        def _probabilities(self, unit: Array) -> Array:
            return np.full((len(unit), 2), 0.5)

    with pytest.raises(ExportError, match="a Guess has no network"):
        HeadNetwork(Guess())


@pytest.fixture(scope="module")
def indexed(tiny_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of two colours, embedded, with a head learned from six of them."""
    home = tmp_path_factory.mktemp("exported")
    (home / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(0, 120, (32, 32, 3)) + np.array([120, 0, 0] if i % 2 else [0, 0, 120])
        Image.fromarray(pixels.astype(np.uint8)).save(home / "images" / f"{i}.png")
    lines = "".join(f"{i}.png,{('blue', 'red')[i % 2]}\n" for i in range(6))
    (home / "labels.csv").write_text(f"path,label\n{lines}")
    encoder = ("--encoder", str(tiny_encoder_folder))
    assert main(["index", str(home / "images"), "-o", str(home / "index"), *encoder, "--quiet"]) == 0
    made = ("--labels", str(home / "labels.csv"), "-o", str(home / "out.csv"), "--save", str(home / "head"))
    assert main(["classify", str(home / "index"), *made]) == 0
    return home


def test_none_of_these_is_a_second_output_with_its_threshold(
    tiny_encoder_folder: Path, tmp_path: Path, drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    encoder = load(tiny_encoder_folder, device="cpu")
    x, y = drawn
    wide = np.concatenate([x, x[:, : encoder.spec.dim - x.shape[1]]], axis=1)
    detector = NoneOfThese(0.2).fit(wide[:30], y[:30], wide)
    record = {"name": encoder.spec.name, "fingerprint": encoder.spec.fingerprint}
    head = Head(LogisticProbe().fit(wide[:30], y[:30].astype(str)), record, {}, "", none_of_these=detector)
    what = with_head(encoder, head)
    assert what.outputs == ["probabilities", "typical"]
    with torch.no_grad():
        typical = Typical(detector)(torch.from_numpy(wide)).numpy()
        probabilities, scores = what.network(torch.zeros(2, 3, 32, 32))
    assert (probabilities.shape, scores.shape) == ((2, 3), (2,))
    assert np.abs(typical - detector.score_samples(wide)).max() <= 1e-5
    accepted = typical >= what.facts["none_of_these_below"] - 1e-6
    assert np.array_equal(accepted, detector.predict(wide) == 1)
    assert not accepted.all()


class TestCommand:
    def test_onnx_gives_the_probabilities_of_the_saved_head(self, indexed: Path, tmp_path: Path) -> None:
        out = tmp_path / "scenes.onnx"
        assert main(["export", "--head", str(indexed / "head"), "-o", str(out)]) == 0
        session = onnxruntime.InferenceSession(out)
        facts = json.loads(session.get_modelmeta().custom_metadata_map["cpchub"])
        assert facts["classes"] == ["blue", "red"]
        head = cpchub.load_classifier(indexed / "head")
        encoder = load(head.encoder_to_load, device="cpu")
        collection = Collection.open(indexed / "index")
        x = torch.stack([encoder.transform(Image.open(indexed / "images" / path)) for path in collection.paths])
        (found,) = session.run(["probabilities"], {"images": x.numpy()})
        assert np.abs(found - head.predict_proba(collection.vectors())).max() <= 1e-5

    def test_a_program_of_torch_too(self, indexed: Path, tmp_path: Path) -> None:
        out = tmp_path / "scenes.pt2"
        assert main(["export", "--head", str(indexed / "head"), "-o", str(out)]) == 0
        (p,) = [torch.export.load(out).module()(torch.zeros(5, 3, 32, 32))]
        assert p.shape == (5, 2)
        assert p.sum(dim=1).tolist() == pytest.approx([1] * 5)

    def test_another_encoder_is_refused_by_name(self, tiny_encoder_folder: Path, tmp_path: Path) -> None:
        head = learn(made(tmp_path / "index"), LABELS)
        with pytest.raises(EncoderMismatchError, match=r"'elsewhere'.*'tiny-simclr'"):
            with_head(load(tiny_encoder_folder, device="cpu"), head)

    def test_neither_an_encoder_nor_a_head_is_a_sentence(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["export", "-o", "x.onnx"]) != 0
        assert "needs an encoder, a collection or --head HEAD" in capsys.readouterr().err
