"""An encoder as ONNX and as torch's exported program: the same vectors in another runtime, or no file at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch

from cpchub.catalog.spec import ModelSpec
from cpchub.cli.main import main
from cpchub.encoders import onnx_export
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub.encoders.onnx_export import export_onnx, export_program
from cpchub.errors import ArgumentError, DependencyError, ExportError, OutputError
from tests.cpchub.architectures.test_architectures import ONE_OF_EACH_KIND, SIDE, narrow

DEFAULT = ("cpc_resnet50", "simclr_resnet50_1x_sk")  # the others take the same ways, and time
GRID = {"patch_size": 32, "patch_stride": 16}


def encoder_of(name: str, **kwargs: Any) -> Encoder:
    """A narrow network of that name, whose norms have seen images."""
    model = narrow(name, **{"num_classes": 0, **kwargs})
    with torch.no_grad():
        model.train()(torch.rand(8, 3, SIDE, SIDE))
    return Encoder(model, ModelSpec(name, name, model.num_features, (3, SIDE, SIDE), (0.5, 0.4, 0.3), (0.3, 0.2, 0.1)))


@pytest.fixture(scope="module")
def encoder(tiny_encoder_folder: Path) -> Encoder:
    return load(tiny_encoder_folder, device="cpu")


@pytest.fixture(scope="module")
def written(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(encoder, tmp_path_factory.mktemp("onnx") / "tiny.onnx").path


def in_onnxruntime(path: Path, x: torch.Tensor) -> list[Any]:
    outputs: list[Any] = onnxruntime.InferenceSession(path).run(None, {"images": x.numpy()})
    return outputs


class TestOnnx:
    @pytest.mark.parametrize(
        "name", [pytest.param(name, marks=[] if name in DEFAULT else pytest.mark.slow) for name in ONE_OF_EACH_KIND]
    )
    def test_every_kind_of_network_gives_the_same_for_any_batch(self, name: str, tmp_path: Path) -> None:
        encoder = encoder_of(name)
        result = export_onnx(encoder, tmp_path / "network.onnx")
        assert result.inputs == ("batch", 3, SIDE, SIDE)
        assert result.difference <= 1e-4
        for count in (1, 5):
            x = torch.randn(count, 3, SIDE, SIDE)
            with torch.no_grad():
                np.testing.assert_allclose(in_onnxruntime(result.path, x)[0], encoder(x).numpy(), rtol=0, atol=1e-4)

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=[] if name == "cpc_resnet50" else pytest.mark.slow)
            for name in ONE_OF_EACH_KIND
            if name not in ("alexnet_bn", "cmc_alexnet", "colour_paths")  # AlexNets need larger patches
        ],
    )
    def test_patches_and_images_of_any_size_too(self, name: str, tmp_path: Path) -> None:
        encoder = encoder_of(name, **GRID)
        result = export_onnx(encoder, tmp_path / "network.onnx", dynamic_size=True)
        assert result.inputs == ("batch", 3, "height", "width")
        x = torch.randn(2, 3, 96, 150)
        with torch.no_grad():
            np.testing.assert_allclose(in_onnxruntime(result.path, x)[0], encoder(x).numpy(), rtol=0, atol=1e-4)

    @pytest.mark.slow
    def test_the_large_encoder_of_cpc_on_its_grid_of_patches(self, tmp_path: Path) -> None:
        encoder = load("cpc-resnet170", pretrained=False, device="cpu")
        result = export_onnx(encoder, tmp_path / "cpc.onnx")
        assert result.inputs[1:] == encoder.spec.input_size
        assert result.difference <= 1e-4
        assert result.path.stat().st_size > 4 * 303e6

    @pytest.mark.slow
    def test_features_only_gives_maps(self, tmp_path: Path) -> None:
        encoder = encoder_of("cpc_resnet50")
        encoder.model = narrow("cpc_resnet50", features_only=True, out_indices=(1, 3)).eval()
        result = export_onnx(encoder, tmp_path / "maps.onnx")
        assert result.outputs == ("map_0", "map_1")
        x = torch.randn(1, 3, SIDE, SIDE)
        for found, expected in zip(in_onnxruntime(result.path, x), encoder(x), strict=True):
            np.testing.assert_allclose(found, expected.detach().numpy(), rtol=0, atol=1e-4)


class TestFile:
    def test_it_is_valid_and_names_what_goes_in_and_out(self, written: Path) -> None:
        model = onnx.load(written)
        onnx.checker.check_model(model, full_check=True)
        assert [each.name for each in model.graph.input] == ["images"]
        assert [each.name for each in model.graph.output] == ["features"]
        assert [each.version for each in model.opset_import if each.domain == ""] == [18]

    def test_how_to_transform_an_image_travels_in_it(self, written: Path, encoder: Encoder) -> None:
        metadata = onnxruntime.InferenceSession(written).get_modelmeta().custom_metadata_map
        facts = json.loads(metadata["cpchub"])
        assert facts["transform"] == json.loads(json.dumps(encoder.spec.transform))
        assert (facts["fingerprint"], facts["weights_sha256"]) == (
            encoder.spec.fingerprint,
            encoder.spec.weights_sha256,
        )

    def test_a_classifier_gives_logits_and_another_opset_is_a_choice(
        self, tiny_encoder_folder: Path, tmp_path: Path
    ) -> None:
        classifier = load(tiny_encoder_folder, device="cpu", num_classes=3)
        result = export_onnx(classifier, tmp_path / "tiny.onnx", opset=20)
        assert result.outputs == ("logits",)
        assert [each.version for each in onnx.load(result.path).opset_import if each.domain == ""] == [20]

    def test_nothing_else_is_left_beside_it(self, written: Path) -> None:
        assert [path.name for path in written.parent.iterdir()] == ["tiny.onnx"]

    def test_the_encoder_stays_in_its_mode(self, tiny_encoder_folder: Path, tmp_path: Path) -> None:
        training = load(tiny_encoder_folder, device="cpu").train()
        before = {key: value.clone() for key, value in training.state_dict().items()}
        assert export_program(training, tmp_path / "tiny.pt2").difference <= 1e-4
        assert training.model.training
        assert all(torch.equal(value, before[key]) for key, value in training.state_dict().items())


class TestProgram:
    def test_torch_loads_it_with_its_transform_and_the_same_features(self, tmp_path: Path) -> None:
        encoder = encoder_of("cpc_resnet170")
        path = export_program(encoder, tmp_path / "cpc.pt2", dynamic_size=True).path
        files = {"cpchub": ""}
        program = torch.export.load(path, extra_files=files).module()
        x = torch.randn(5, 3, 48, 80)
        torch.testing.assert_close(program(x), encoder(x))
        assert json.loads(files["cpchub"])["transform"]["input_size"] == [3, SIDE, SIDE]


class TestRefused:
    def test_without_the_extra_the_command_to_install_it_is_said(
        self, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        with pytest.raises(DependencyError, match=r"onnxscript.*pip install .*\[export\]"):
            export_onnx(encoder, tmp_path / "tiny.onnx")

    def test_a_file_that_gives_something_else_is_not_written(
        self, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "tiny.pt2").write_text("what was there")
        monkeypatch.setattr(onnx_export, "_program_runner", lambda _: lambda x: [encoder(x).numpy() + 0.01])
        with pytest.raises(ExportError, match=r"tiny-simclr differs.*0\.01"):
            export_program(encoder, tmp_path / "tiny.pt2")
        assert [path.read_text() for path in tmp_path.iterdir()] == ["what was there"]

    def test_a_network_of_one_size_is_not_exported_for_any(self, encoder: Encoder, tmp_path: Path) -> None:
        model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=0)
        fixed = Encoder(model, ModelSpec("vit", "vit", 192, (3, 32, 32), (0.5,) * 3, (0.5,) * 3))
        for write, name in ((export_onnx, "vit.onnx"), (export_program, "vit.pt2")):
            with pytest.raises(ExportError, match=r"vit.*dynamic_size"):
                write(fixed, tmp_path / name, dynamic_size=True)
        with pytest.raises(ExportError, match="dynamic_size"):  # torch takes a map of 1 x 1 for a map that stays so
            export_program(encoder, tmp_path / "tiny.pt2", dynamic_size=True)
        assert not list(tmp_path.iterdir())

    def test_half_precision_an_old_opset_and_a_folder_are_refused_by_name(
        self, encoder: Encoder, tiny_encoder_folder: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(ArgumentError, match="bfloat16"):
            export_onnx(load(tiny_encoder_folder, device="cpu", dtype="bfloat16"), tmp_path / "x.onnx")
        with pytest.raises(ArgumentError, match="opset is 11"):
            export_onnx(encoder, tmp_path / "x.onnx", opset=11)
        with pytest.raises(ArgumentError, match="folder"):
            export_onnx(encoder, tmp_path)

    def test_a_place_that_cannot_be_written_is_named(self, encoder: Encoder, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="file/tiny"):
            export_onnx(encoder, tmp_path / "file" / "tiny.onnx")


class TestCommand:
    def test_it_says_what_was_written_and_how_close_it_is(
        self, tiny_encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "tiny.onnx"
        assert main(["export", str(tiny_encoder_folder), "-o", str(out)]) == 0
        said = capsys.readouterr()
        assert said.out == f"{out}\n"
        assert "images [batch, 3, 32, 32] to features" in said.err
        assert "; onnxruntime differs from torch by at most" in said.err
        assert out.is_file()

    def test_another_suffix_is_another_format(self, tiny_encoder_folder: Path, tmp_path: Path) -> None:
        assert main(["export", str(tiny_encoder_folder), "-o", str(tmp_path / "tiny.pt2")]) == 0
        torch.export.load(tmp_path / "tiny.pt2")

    def test_a_suffix_that_is_none_of_them_is_an_error(
        self, tiny_encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["export", str(tiny_encoder_folder), "-o", str(tmp_path / "tiny.tflite")]) == 2
        assert ".onnx" in capsys.readouterr().err
