"""CPC on sound: the loss step by step, what a context hears, windows of recordings, and a run from files to vectors."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

import cpchub
import cpchub.architectures  # registers the networks
from cpchub.errors import RecipeError, SourceError
from cpchub_training import recipes
from cpchub_training.data import recordings as audio_data
from cpchub_training.data.batches import Batch
from cpchub_training.jobs import pretrain
from cpchub_training.methods.cpc_audio import CPCAudio
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.cpc_settings import AudioSettings
from cpchub_training.run.loop import train

soundfile: Any = pytest.importorskip("soundfile")
TINY = {"channels": 6, "context": 5, "strides": [5, 4], "kernels": [10, 8], "paddings": [2, 2]}
SETTINGS = AudioSettings(sample_rate=8000, window=200, steps=3)


def tiny(settings: AudioSettings = SETTINGS, **args: Any) -> CPCAudio:
    torch.manual_seed(0)
    return CPCAudio(timm.create_model("cpc_audio", **{**TINY, **args}), settings)


def small(**changes: Any) -> Recipe:
    recipe = replace(recipes.get("cpc_audio_fsdd"), backbone_args=TINY, audio=SETTINGS, epochs=2, batch_size=4)
    return replace(recipe, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine tones of 300 samples and one of 100, at 8 kHz, as LibriSpeech lays them out."""
    rng = np.random.default_rng(0)
    for i in range(10):
        path = tmp_path / "recordings" / f"speaker{i % 3}" / "chapter" / f"{i}.{'flac' if i % 2 else 'wav'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        length = 100 if i == 9 else 300
        soundfile.write(path, np.sin(np.arange(length) * (0.1 + i / 20)) / 2 + rng.normal(size=length) / 50, 8000)
    return tmp_path / "recordings"


class TestMethod:
    @torch.no_grad()
    @pytest.mark.parametrize("negatives", ["batch", "window"])
    def test_it_is_the_loss_of_the_paper_step_by_step(self, negatives: Any) -> None:
        method = tiny(replace(SETTINGS, negatives=negatives))
        x = torch.randn(3, 1, 1, 200)
        z, c = (each.numpy() for each in method.backbone.encode_steps(x))
        losses = []
        for k, W_k in enumerate(method.W, start=1):
            weight: Any = W_k.weight
            terms = []
            for b in range(3):
                candidates = z.reshape(-1, 6) if negatives == "batch" else z[b]
                for t in range(z.shape[1] - k):
                    z_hat = weight.numpy() @ c[b, t]
                    terms.append(math.log(np.exp(candidates @ z_hat).sum()) - z[b, t + k] @ z_hat)
            losses.append(np.mean(terms))
        assert method([x])[0].item() == pytest.approx(np.mean(losses), rel=1e-5)

    @torch.no_grad()
    def test_a_predictor_of_zeros_knows_nothing(self) -> None:
        method = tiny()
        for weight in method.W.parameters():
            weight.zero_()
        loss, _ = method([torch.randn(4, 1, 1, 200)])
        assert loss.item() == pytest.approx(math.log(4 * method.steps), abs=1e-5)
        assert method.chance(4) == pytest.approx(loss.item(), abs=1e-5)

    def test_the_encoder_of_the_paper_takes_128_steps_of_a_window(self) -> None:
        recipe = recipes.get("cpc_audio_librispeech")
        with torch.device("meta"):
            method = CPCAudio(timm.create_model("cpc_audio"), recipe.audio)
        assert (method.steps, len(method.W)) == (128, 12)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (replace(SETTINGS, window=40), r"40 samples is shorter than the receptive field of 45"),
            (replace(SETTINGS, steps=9), r"200 samples is 9 steps of 20 samples, so at most 8 steps ahead .* not 9"),
        ],
    )
    def test_a_window_in_which_nothing_can_be_predicted_is_refused(self, settings: AudioSettings, message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            tiny(settings)

    def test_another_backbone_is_refused(self) -> None:
        with pytest.raises(RecipeError, match="cpc_audio"):
            CPCAudio(timm.create_model("resnet18_cifar", num_classes=0), SETTINGS)


class TestRecordings:
    def test_those_shorter_than_a_window_are_left_out_and_listed(self, folder: Path) -> None:
        recordings = audio_data.load(str(folder), SETTINGS)
        assert len(recordings) == 9
        assert recordings.skipped == (("speaker0/chapter/9.flac", "100 samples, a window has 200"),)

    def test_a_view_is_a_window_of_its_recording_and_repeats_with_the_seed(self, folder: Path) -> None:
        recordings = audio_data.load(str(folder), SETTINGS)
        batches = [Batch(step, 0, torch.tensor([4, 1]), seed) for step, seed in enumerate((7, 7, 8))]
        drawn = [views[0] for _, views in recordings.views(batches, small(), torch.device("cpu"))]
        assert drawn[0].shape == (2, 1, 1, 200)
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[0], drawn[2])
        whole, _ = soundfile.read(folder / recordings.recordings[4].path, dtype="float32")
        assert any(np.array_equal(whole[start : start + 200], drawn[0][0, 0, 0].numpy()) for start in range(101))

    def test_recordings_at_another_rate_are_refused_with_the_ratio(self, folder: Path) -> None:
        with pytest.raises(SourceError, match=r"8,000 samples a second, the recipe takes 16,000 \(0.5 times"):
            audio_data.load(str(folder), replace(SETTINGS, sample_rate=16_000))

    def test_recordings_that_are_all_too_short_are_refused_with_the_lengths(self, folder: Path) -> None:
        with pytest.raises(SourceError, match=r"window of 2560 samples \(0.32 s\), the longest has 300 \(0.04 s\)"):
            audio_data.load(str(folder), replace(SETTINGS, window=2560))

    def test_the_test_part_of_the_spoken_digits_is_never_trained_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = tmp_path / "free_spoken_digits" / "recordings"
        place.mkdir(parents=True)
        for digit in range(2):
            for speaker in ("ada", "bob"):
                for index in (0, 4, 5, 11):
                    soundfile.write(place / f"{digit}_{speaker}_{index}.wav", np.zeros(300), 8000)
        monkeypatch.setenv("CPCHUB_DATA", str(tmp_path))
        trained = {r.path for r in audio_data.load("fsdd", SETTINGS).recordings}
        files, digits, speakers = audio_data.fsdd_part(tmp_path, test=True)
        assert len(trained) == len(files) == 8
        assert not trained & {f.name for f in files}
        assert [f.name for f in files if digits[files.index(f)] == 1] == [f.name for f in files if f.name[0] == "1"]
        assert set(speakers.tolist()) == {0, 1}

    def test_data_that_is_not_there_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CPCHUB_DATA", str(tmp_path))
        with pytest.raises(SourceError, match="free_spoken_digits"):
            audio_data.load("fsdd", SETTINGS)
        with pytest.raises(SourceError, match="--recordings"):
            audio_data.load("", SETTINGS)


def test_a_stopped_run_that_goes_on_equals_one_never_stopped(folder: Path, tmp_path: Path) -> None:
    recipe, recordings = small(), audio_data.load(str(folder), SETTINGS)
    whole = train(recipe, tmp_path / "whole", images=recordings, accelerator="cpu")
    for _ in range(2):  # 3 + 1 of 4 steps
        train(recipe, tmp_path / "parts", images=recordings, accelerator="cpu", stop_after_steps=3)
    assert whole.metrics["step"] == 4
    files = [tmp_path / run / "checkpoints" / "last.safetensors" for run in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_recipe_for_a_folder_ends_as_an_encoder_of_sound(folder: Path, tmp_path: Path) -> None:
    exported = pretrain.run(small(data=str(folder), epochs=1), tmp_path / "run")
    assert exported is not None
    encoder = cpchub.load(exported.folder, device="cpu")
    assert encoder.spec.sample_rate == 8000
    assert encoder.encode(sorted(folder.rglob("*.*"))).shape == (10, 5)
    assert "9 recordings of recordings" in encoder.spec.summary


def test_looks_at_images_are_refused_for_sound() -> None:
    with pytest.raises(RecipeError, match="--knn-every 0"):
        small(knn_every=1).check(9)
