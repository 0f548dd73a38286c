"""Encoders of sound: one vector a sound whatever its length, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cpchub
from cpchub.cli.main import main
from cpchub.collection.import_vectors import import_vectors
from cpchub.embedding.encoder_of import encoder_of
from cpchub.encoders import model_folder
from cpchub.encoders.audio_encoder import AudioEncoder
from cpchub.encoders.base import BaseEncoder
from cpchub.encoders.onnx_export import export_program
from cpchub.errors import ArgumentError, SourceError
from tests.cpchub.images import TinyEncoder
from tests.cpchub.tiny_audio import TINY, network, waveform

soundfile: Any = pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    facts = {
        "name": "tiny-cpc-audio", "method": "cpc_audio", "data": "noise", "license": "apache-2.0",
        "architecture": "cpc_audio", "model_args": TINY, "input_size": (1, 1, 200), "mean": (0.0,), "std": (1.0,),
        "interpolation": "bilinear", "crop_pct": 1.0, "summary": "A network that hears.", "sample_rate": 8000,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    model_folder.write(network(), folder, facts=facts, recipe={"name": "tiny"}, evaluation=None)
    return cpchub.load(folder, device="cpu")


class TestEncode:
    def test_load_gives_an_encoder_that_knows_its_sample_rate(self, encoder: Any) -> None:
        assert isinstance(encoder, AudioEncoder)
        assert (encoder.sample_rate, encoder.dim) == (8000, 5)

    def test_its_card_speaks_of_sound(self, encoder: Any) -> None:
        card = (encoder.spec.folder / "README.md").read_text()
        assert "8,000 samples a second" in card
        assert 'encode(["sound.wav"])' in card
        assert "image" not in card.split("---")[1]

    def test_one_vector_a_sound_in_the_order_given_whatever_the_lengths(self, encoder: Any) -> None:
        sounds = [waveform(n, seed) for seed, n in enumerate((300, 200, 300, 1000))]
        vectors = encoder.encode(sounds, batch_size=2)
        assert vectors.shape == (4, 5)
        assert vectors.dtype == np.float32
        for sound, vector in zip(sounds, vectors, strict=True):
            np.testing.assert_allclose(encoder.encode(sound)[0], vector, atol=1e-6)
            expected = encoder.model(torch.from_numpy(sound)[None]).detach()[0]
            np.testing.assert_allclose(vector, expected.numpy(), atol=1e-6)

    def test_sounds_are_read_some_at_a_time(self, encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(0)
        sounds = [rng.normal(size=2000 + 100 * (n % 2)).astype(np.float32) for n in range(7)]
        whole = encoder.encode(sounds)
        events: list[str] = []
        read, hear = encoder._waveform, encoder.model.forward_features
        monkeypatch.setattr("cpchub.encoders.audio_encoder.AT_ONCE", 3)
        monkeypatch.setattr(encoder, "_waveform", lambda *args: events.append("read") or read(*args))
        monkeypatch.setattr(encoder.model, "forward_features", lambda x: events.append("heard") or hear(x))
        assert np.allclose(encoder.encode(sounds), whole, atol=1e-6)
        assert events == [*["read"] * 3, *["heard"] * 2] * 2 + ["read", "heard"]

    def test_the_sequence_has_a_vector_for_each_step(self, encoder: Any) -> None:
        sequences = encoder.encode([waveform(300), waveform(200)], output="sequence")
        assert [s.shape for s in sequences] == [(14, 5), (9, 5)]
        np.testing.assert_allclose(sequences[0].mean(0), encoder.encode(waveform(300))[0], atol=1e-6)

    def test_files_bytes_and_arrays_of_one_sound_give_one_vector(self, encoder: Any, tmp_path: Path) -> None:
        sound = (waveform(300) * 32768).round().clip(-32768, 32767).astype(np.int16)
        stereo = np.stack([sound, sound], axis=1)
        soundfile.write(tmp_path / "a.wav", sound, 8000)
        soundfile.write(tmp_path / "a.flac", stereo, 8000)
        given = [tmp_path / "a.wav", str(tmp_path / "a.flac"), (tmp_path / "a.wav").read_bytes(), sound]
        vectors = encoder.encode(given)
        for vector in vectors[1:]:
            np.testing.assert_allclose(vector, vectors[0], atol=1e-6)
        assert np.linalg.norm(encoder.encode(given, normalize=True), axis=1) == pytest.approx(np.ones(4))
        assert encoder.encode([]).shape == (0, 5)

    def test_another_sample_rate_is_refused_with_the_ratio(self, encoder: Any, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "fast.wav", waveform(), 16_000)
        with pytest.raises(ArgumentError, match=r"fast.wav has 16,000 .* takes 8,000 \(2 times as many\)"):
            encoder.encode(tmp_path / "fast.wav")
        with pytest.raises(ArgumentError, match=r"sound 0 has 22,050"):
            encoder.encode(waveform(), sample_rate=22_050)

    def test_sound_that_is_too_short_is_refused_with_the_lengths(self, encoder: Any) -> None:
        with pytest.raises(ArgumentError, match=r"sound 1 has 40 samples \(0.005 s\), fewer than .* 45 .* 5 zeros"):
            encoder.encode([waveform(), waveform(40)])

    @pytest.mark.parametrize(
        ("sound", "message"),
        [
            (np.zeros((2, 3, 300), np.float32), "shape"),
            (np.zeros(300, np.int64), "int64"),
            (np.full(300, np.nan, np.float32), "finite"),
            (3, "int"),
        ],
    )
    def test_what_is_no_sound_is_refused(self, encoder: Any, sound: Any, message: str) -> None:
        with pytest.raises(ArgumentError, match=message):
            encoder.encode(sound)

    def test_a_file_that_is_no_sound_is_named(self, encoder: Any, tmp_path: Path) -> None:
        (tmp_path / "broken.wav").write_bytes(b"RIFF")
        with pytest.raises(SourceError, match=r"broken\.wav"):
            encoder.encode(tmp_path / "broken.wav")


class TestWhatNeedsImages:
    """An encoder of sounds given where images are needed: one sentence that says so, and nothing is written."""

    TAKES_SOUNDS = "^tiny-cpc-audio takes sounds, but .* needs an encoder of images; .*$"

    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        for n, colour in enumerate(("red", "red", "blue", "blue")):
            folder = tmp_path / "photos" / colour
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), colour).save(folder / f"{n}.png")
        return tmp_path / "photos"

    @pytest.fixture
    def index(self, photos: Path) -> Any:
        pytest.importorskip("faiss")
        images = TinyEncoder()
        collection = cpchub.embed_folder(photos, photos.parent / "index", images, progress=False)
        return cpchub.Index.build(collection)

    def test_it_is_no_encoder_of_images(self, encoder: Any) -> None:
        assert not isinstance(encoder, cpchub.Encoder)
        assert isinstance(encoder, BaseEncoder)
        assert not hasattr(encoder, "transform")
        assert not hasattr(encoder, "embedder")

    def test_embed_folder(self, encoder: Any, photos: Path) -> None:
        with pytest.raises(ArgumentError, match=self.TAKES_SOUNDS):
            cpchub.embed_folder(photos, photos.parent / "out", encoder, progress=False)
        assert not (photos.parent / "out").exists()

    def test_an_index(self, encoder: Any, index: Any, photos: Path) -> None:
        folder, image = index.collection.folder, photos / "red" / "0.png"
        calls = [
            lambda: index.search(image, k=1, encoder=encoder),
            lambda: index.search_each([image], k=1, encoder=encoder),
            lambda: cpchub.Index.open(folder, encoder),
            lambda: cpchub.Index.build(index.collection, encoder),
            lambda: cpchub.Index.update(index.collection, encoder),
            lambda: encoder_of(index.collection, str(encoder.spec.folder)),
        ]
        for call in calls:
            with pytest.raises(ArgumentError, match=self.TAKES_SOUNDS):
                call()

    def test_fine_tuning_with_few_labels(self, encoder: Any) -> None:
        X, y = np.zeros((4, 8, 8, 3), np.uint8), [0, 0, 1, 1]
        for given in (encoder, encoder.spec.folder):
            for pretrained in (True, False):
                with pytest.raises(ArgumentError, match=self.TAKES_SOUNDS):
                    cpchub.fewlabels.FineTunedEncoder(given, pretrained=pretrained, steps=1).fit(X, y)

    @pytest.mark.parametrize("suffix", ["onnx", "pt2"])
    def test_export(self, encoder: Any, tmp_path: Path, suffix: str) -> None:
        export = cpchub.export_onnx if suffix == "onnx" else export_program
        if suffix == "onnx":
            pytest.importorskip("onnxscript")
        with pytest.raises(ArgumentError, match=self.TAKES_SOUNDS):
            export(encoder, tmp_path / f"tiny.{suffix}")
        assert not any(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "command",
        [
            "embed PHOTOS -o OUT --encoder NAME",
            "index PHOTOS -o OUT --encoder NAME",
            "eval NAME --images PHOTOS --out OUT --cache CACHE",
            "compare NAME NAME --images PHOTOS --out OUT.csv --cache CACHE",
            "report NAME --images PHOTOS --out OUT --cache CACHE",
            "export NAME -o OUT.pt2",
            "search INDEX IMAGE --encoder NAME",
            "demo INDEX --encoder NAME",
            "detect NAME --images PHOTOS --out OUT",
        ],
    )
    def test_commands(self, encoder: Any, index: Any, photos: Path, command: str, capsys: Any) -> None:
        pytest.importorskip("lightning_fabric")
        out = photos.parent / "out"
        places = {
            "PHOTOS": photos,
            "INDEX": index.collection.folder,
            "NAME": encoder.spec.folder,
            "OUT": out,
            "CACHE": photos.parent / "cache",
        }
        places |= {"OUT.csv": f"{out}.csv", "OUT.pt2": f"{out}.pt2", "IMAGE": photos / "red" / "0.png"}
        assert main([str(places.get(word, word)) for word in command.split()]) == 2
        message = capsys.readouterr().err
        assert "tiny-cpc-audio takes sounds, but " in message
        assert "Traceback" not in message
        assert not any(photos.parent.glob("out*"))

    def test_features_of_sounds_can_be_classified_imported_and_searched(self, encoder: Any, tmp_path: Path) -> None:
        pytest.importorskip("faiss")
        sounds = [waveform(200 + 10 * n, n) for n in range(6)]
        vectors = encoder.encode(sounds, normalize=True)
        labels = ["a", "a", "a", "b", "b", "b"]
        assert cpchub.fewlabels.KNNClassifier(k=1).fit(vectors, labels).predict(vectors).tolist() == labels
        collection = import_vectors(tmp_path / "sounds", vectors, [f"{n}.wav" for n in range(6)])
        assert cpchub.Index.build(collection).search(vectors[4], k=1)[0].path == "4.wav"

    def test_images_given_to_it_are_refused(self, encoder: Any, photos: Path) -> None:
        with pytest.raises(SourceError):
            encoder.encode(photos / "red" / "0.png")
        with pytest.raises(ArgumentError, match="cannot encode Image; give paths, bytes, arrays or tensors"):
            encoder.encode(Image.new("RGB", (8, 8)))
        with pytest.raises(ArgumentError, match=r"a waveform is \[samples\]"):
            encoder.encode(np.zeros((8, 8, 3), np.uint8))
