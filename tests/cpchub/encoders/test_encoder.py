"""Loading an encoder by folder, and images in, vectors out."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cpchub.catalog.listing import list_models
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import create_model, load
from cpchub.errors import ArgumentError, BrokenImageError, ModelFolderError, UnknownModelError
from cpchub.hub import card
from tests.fresh import FreshInterpreters
from tests.tiny_encoder import DIM, export_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load(folder, device="cpu")


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    random = np.random.default_rng(0)
    sizes = [(40, 60), (32, 32), (90, 33), (17, 20), (64, 48), (50, 50), (33, 70)]
    return [Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]


class TestEncode:
    def test_one_image_gives_one_row(self, encoder: Encoder, images: list[Image.Image]) -> None:
        vectors = encoder.encode(images[0])
        assert vectors.shape == (1, DIM) == (1, encoder.dim)
        assert vectors.dtype == np.float32

    def test_it_is_shown_in_one_line(self, encoder: Encoder) -> None:
        assert repr(encoder) == "Encoder('tiny-simclr', resnet18, 3x32x32 to 16 numbers, cpu, torch.float32)"

    def test_twice_the_same_vectors(self, encoder: Encoder, images: list[Image.Image]) -> None:
        assert np.array_equal(encoder.encode(images), encoder.encode(images))

    def test_order_and_batch_size_do_not_matter(self, encoder: Encoder, images: list[Image.Image]) -> None:
        one_by_one = np.concatenate([encoder.encode(image) for image in images])
        for batch_size in (1, 2, 3, 64):
            np.testing.assert_allclose(encoder.encode(images, batch_size=batch_size), one_by_one, atol=1e-5)

    def test_it_is_what_the_network_gives_on_the_transformed_image(
        self, encoder: Encoder, images: list[Image.Image]
    ) -> None:
        x = torch.stack([encoder.transform(image) for image in images])
        with torch.inference_mode():
            np.testing.assert_allclose(encoder.encode(images), encoder(x).numpy(), atol=1e-5)

    def test_path_bytes_array_and_tensor_are_the_same_image(
        self, encoder: Encoder, images: list[Image.Image], tmp_path: Path
    ) -> None:
        image = images[0]
        path = tmp_path / "image.png"
        image.save(path)
        array = np.asarray(image)
        tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
        forms: list[Any] = [path, str(path), path.read_bytes(), array, tensor, tensor / 255]
        expected = encoder.encode(image)[0]
        for vector in encoder.encode(forms):
            np.testing.assert_allclose(vector, expected, atol=1e-6)

    def test_stacked_arrays_and_tensors_are_many(self, encoder: Encoder) -> None:
        stack = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
        from_array = encoder.encode(stack)
        assert from_array.shape == (4, DIM)
        np.testing.assert_allclose(encoder.encode(torch.from_numpy(stack).permute(0, 3, 1, 2)), from_array, atol=1e-6)

    def test_an_image_turned_by_exif_is_the_upright_one(
        self, encoder: Encoder, images: list[Image.Image], tmp_path: Path
    ) -> None:
        turned = images[0].transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6
        turned.save(tmp_path / "turned.png", exif=exif)
        np.testing.assert_allclose(encoder.encode(tmp_path / "turned.png"), encoder.encode(images[0]), atol=1e-6)

    def test_normalized_vectors_have_length_one(self, encoder: Encoder, images: list[Image.Image]) -> None:
        plain, normalized = encoder.encode(images), encoder.encode(images, normalize=True)
        np.testing.assert_allclose(np.linalg.norm(normalized, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(normalized, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-6)

    def test_the_map_averages_to_the_pooled_vector(self, encoder: Encoder, images: list[Image.Image]) -> None:
        maps = encoder.encode(images, output="map")
        assert maps.shape == (len(images), DIM, 1, 1)
        np.testing.assert_allclose(maps.mean(axis=(2, 3)), encoder.encode(images), atol=1e-6)

    def test_no_images_give_no_rows(self, encoder: Encoder) -> None:
        assert encoder.encode([]).shape == (0, DIM)

    def test_a_generator_and_a_progress_bar_will_do(self, encoder: Encoder, images: list[Image.Image]) -> None:
        vectors = encoder.encode((image for image in images), batch_size=2, progress=True)
        assert np.array_equal(vectors, encoder.encode(images, batch_size=2))

    def test_an_encoder_in_training_mode_encodes_as_in_eval_mode_and_stays_in_training(
        self, folder: Path, encoder: Encoder, images: list[Image.Image]
    ) -> None:
        training = load(folder, device="cpu").train()
        assert np.array_equal(training.encode(images), encoder.encode(images))
        assert training.model.training
        assert np.array_equal(training.encode(images), encoder.encode(images))


class TestBadInput:
    def test_a_broken_image_is_named(self, encoder: Encoder, tmp_path: Path) -> None:
        (tmp_path / "broken.jpg").write_bytes(b"this is no jpeg")
        with pytest.raises(BrokenImageError, match=r"image 1.*broken\.jpg"):
            encoder.encode([Image.new("RGB", (8, 8)), tmp_path / "broken.jpg"])

    def test_a_missing_image_is_named(self, encoder: Encoder) -> None:
        with pytest.raises(BrokenImageError, match=r"nowhere\.jpg"):
            encoder.encode("nowhere.jpg")

    @pytest.mark.parametrize("tensor", [torch.randn(3, 8, 8), torch.zeros(5, 8, 8), torch.zeros(3, 8, 8).long()])
    def test_a_tensor_that_is_no_image_is_refused(self, encoder: Encoder, tensor: torch.Tensor) -> None:
        with pytest.raises(ArgumentError):
            encoder.encode(tensor)

    @pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"output": "logits"}])
    def test_values_it_cannot_use_are_refused_by_name(self, encoder: Encoder, arguments: dict[str, Any]) -> None:
        with pytest.raises(ArgumentError, match=next(iter(arguments))):
            encoder.encode([], **arguments)

    def test_a_number_is_no_image(self, encoder: Encoder) -> None:
        with pytest.raises(ArgumentError, match="int"):
            encoder.encode(3)  # type: ignore[arg-type]

    def test_unknown_keywords_are_refused_by_name(self, encoder: Encoder, folder: Path) -> None:
        with pytest.raises(TypeError, match="batchsize"):
            encoder.encode([], batchsize=3)  # type: ignore[call-arg]
        with pytest.raises(ArgumentError, match="colour"):
            load(folder, colour="blue")

    def test_an_unknown_dtype_is_refused(self, folder: Path) -> None:
        with pytest.raises(ArgumentError, match="float8"):
            load(folder, dtype="float8")


class TestLoad:
    def test_the_timm_contract_holds(self, folder: Path) -> None:
        encoder = load(folder, device="cpu")
        x = torch.randn(2, 3, 32, 32)
        with torch.inference_mode():
            pooled = encoder(x)
            assert torch.equal(encoder.forward_head(encoder.forward_features(x), pre_logits=True), pooled)
            assert len(encoder.forward_intermediates(x, intermediates_only=True)) == 5
        assert encoder.num_features == encoder.dim == DIM
        assert encoder.feature_info[-1]["num_chs"] == DIM
        assert encoder.default_cfg["input_size"] == [3, 32, 32]
        encoder.reset_classifier(4)
        assert encoder(x).shape == (2, 4)
        assert encoder.get_classifier().out_features == 4
        assert encoder.encode(np.zeros((8, 8, 3), np.uint8)).shape == (1, DIM)  # still the vector, not the logits

    def test_timm_arguments_pass_through(self, folder: Path) -> None:
        grey = load(folder, device="cpu", in_chans=1)
        assert grey.encode(Image.new("RGB", (40, 40), "red")).shape == (1, DIM)
        assert load(folder, num_classes=3, device="cpu")(torch.randn(2, 3, 32, 32)).shape == (2, 3)
        pyramid = load(folder, features_only=True, device="cpu")
        assert [each.shape[1] for each in pyramid(torch.randn(1, 3, 32, 32))] == [8, 8, 8, 16, 16]
        assert pyramid.encode(Image.new("RGB", (40, 40)), output="map").shape == (1, DIM, 1, 1)
        with pytest.raises(ArgumentError, match="features_only"):
            pyramid.encode(Image.new("RGB", (40, 40)))

    def test_half_precision_stays_close(self, folder: Path, encoder: Encoder, images: list[Image.Image]) -> None:
        half = load(folder, device="cpu", dtype="bfloat16")
        assert half.dtype == torch.bfloat16
        a, b = half.encode(images, normalize=True), encoder.encode(images, normalize=True)
        assert a.dtype == np.float32
        assert (a * b).sum(axis=1).min() > 0.999

    def test_local_dir_and_a_relative_path_are_the_folder(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder.parent)
        fingerprints = {load(name).spec.fingerprint for name in (f"local-dir:{folder}", "./tiny", "tiny", folder)}
        assert len(fingerprints) == 1

    def test_the_fingerprint_follows_weights_and_arguments_but_not_the_name(self, folder: Path, tmp_path: Path) -> None:
        fingerprint = load(folder).spec.fingerprint
        assert load(export_tiny(tmp_path / "renamed", name="other")).spec.fingerprint == fingerprint
        assert load(folder, num_classes=3).spec.fingerprint == fingerprint
        others = [
            load(export_tiny(tmp_path / "b", seed=1)),
            load(export_tiny(tmp_path / "c", crop_pct=1.0)),
            load(folder, pretrained=False),
            load(folder, in_chans=1),
        ]
        assert len({fingerprint, *(other.spec.fingerprint for other in others)}) == 5

    def test_any_timm_network_loads_with_its_own_transform(self) -> None:
        encoder = load("timm/test_resnet.r160_in1k", pretrained=False, device="cpu")
        assert encoder.spec.input_size == (3, 160, 160)
        assert encoder.encode(Image.new("RGB", (200, 200))).shape == (1, encoder.dim)

    def test_an_unknown_timm_network_offers_near_ones(self) -> None:
        with pytest.raises(UnknownModelError, match="timm/resnet18"):
            load("timm/resnet181")

    @pytest.mark.parametrize(
        ("given", "way_out"), [({"revision": "abc"}, "hf-hub:timm/resnet18@abc"), ({"token": "secret"}, "HF_TOKEN")]
    )
    def test_what_timm_cannot_be_asked_for_is_refused(self, given: dict[str, str], way_out: str) -> None:
        with pytest.raises(ArgumentError, match=way_out) as refused:
            load("timm/resnet18", pretrained=False, **given)  # type: ignore[arg-type]
        assert "secret" not in str(refused.value)

    def test_weights_of_another_network_are_refused(self, tmp_path: Path) -> None:
        folder = export_tiny(tmp_path / "x")
        config = json.loads((folder / "config.json").read_text())
        del config["cpchub"]["weights"]
        (folder / "config.json").write_text(json.dumps(config))
        weights = load_file(folder / "model.safetensors")
        del weights["layer1.0.conv1.weight"]
        save_file(weights, folder / "model.safetensors")
        for arguments in ({}, {"num_classes": 3}):  # timm alone is silent in the second case
            with pytest.raises(ModelFolderError, match=r"layer1\.0\.conv1"):
                load(folder, **arguments)

    def test_create_model_knows_folders_and_our_networks(self, folder: Path) -> None:
        assert create_model(f"local-dir:{folder}", pretrained=True).num_features == DIM
        assert create_model("resnet18_cifar", num_classes=10).num_classes == 10


@pytest.mark.parametrize("name", list_models(bundled=True))
def test_every_bundled_encoder_is_as_its_record_card_and_evaluation_say(name: str) -> None:
    encoder = load(name, device="cpu")
    assert encoder.encode(Image.new("RGB", (50, 40), "teal")).shape == (1, encoder.spec.dim)
    folder = encoder.spec.folder
    assert folder is not None
    config, recipe, evaluation = (
        json.loads((folder / file).read_text()) for file in ("config.json", "recipe.json", "eval.json")
    )
    assert evaluation["weights_sha256"] == encoder.spec.weights_sha256
    written = (folder / "README.md").read_text()
    assert card.merge(written, card.render(config, recipe, evaluation, by_name=True)) == written


OFFLINE = """
import socket
def refuse(*_, **__):
    raise OSError("the network is off")
socket.socket.connect = refuse
socket.create_connection = refuse
import sys, pathlib, cpchub, cpchub.catalog.listing
cpchub.catalog.listing.catalog_folder = lambda: pathlib.Path(sys.argv[1])
e = cpchub.load(cpchub.list_models(bundled=True)[0])
a, b = e.encode("photo.jpg"), e.encode("photo.jpg")
assert (a == b).all()
print(a.shape)
"""


def test_with_the_network_off_a_bundled_encoder_gives_the_same_vectors_twice(
    fresh_interpreters: FreshInterpreters, folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "photo.jpg")
    environment = {**os.environ, "HF_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    done = fresh_interpreters.run(OFFLINE, folder.parent, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"(1, {DIM})"


def test_large_jpegs_give_nearly_the_vector_of_a_full_decode(encoder: Encoder) -> None:
    rows, columns = np.mgrid[0:600, 0:800]
    pixels = np.stack([128 + 100 * np.sin(rows / 60), 128 + 90 * np.cos(columns / 45), (rows + columns) / 6], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    reduced = encoder.encode(buffer.getvalue(), normalize=True)
    full = encoder.encode(np.asarray(Image.open(buffer).convert("RGB")), normalize=True)
    assert float((reduced * full).sum()) > 0.999


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_read(device: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=f"device '{device}' cannot be used: .*give 'cpu'"):
        load(tmp_path / "nothing", device=device)
