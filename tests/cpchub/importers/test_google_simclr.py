"""Google's SimCLR checkpoints give the features that TensorFlow computed, and every tensor is accounted for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

import cpchub
from cpchub.errors import ImportFormatError
from cpchub.importers.convert import import_checkpoint
from cpchub.importers.format import Claims, Conversion
from cpchub.importers.formats.google_simclr import GoogleSimclr
from cpchub.importers.readers.tensorflow import read
from tests.cpchub.importers.google_names import OBJECT, SLOT, as_objects, numbered
from tests.cpchub.importers.planned import assert_all_accounted_for, checkpoint, features

DATA = Path(__file__).parents[2] / "data"
WRITTEN_BY_TENSORFLOW = ("tf_simclr_v1", "tf_simclr_v2_sk", "tf_simclr_basic")


class TestGoogle:
    @pytest.mark.parametrize("sides", ["even", "odd"])
    @pytest.mark.parametrize("folder", WRITTEN_BY_TENSORFLOW)
    def test_the_features_are_those_of_tensorflow(self, folder: str, sides: str) -> None:
        arrays = np.load(DATA / folder / "features.npz")
        images = torch.from_numpy(arrays[f"pictures_{sides}"]).permute(0, 3, 1, 2) / 255
        expected = torch.from_numpy(arrays[f"features_{sides}"])
        assert expected.std() > 0.3  # neither zero nor the same everywhere
        torch.testing.assert_close(features(google(folder), images), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("folder", WRITTEN_BY_TENSORFLOW)
    def test_every_tensor_is_used_or_dropped_with_a_reason(self, folder: str) -> None:
        plan = google(folder)
        assert_all_accounted_for(plan, read(DATA / folder).tensors)
        for name, reason in plan.dropped.items():
            kinds = {
                "Momentum": "optimiser",
                "ema_model": "average",
                "contrastive": "projection head",
                "step": "counter",
            }
            kind = next((kind for word, kind in kinds.items() if word in name), "classifier")
            assert kind in reason, name

    def test_kernels_are_turned_and_norms_taken_as_they_are(self) -> None:
        tensors = read(DATA / "tf_simclr_v1").tensors
        weights = google("tf_simclr_v1").weights
        assert torch.equal(weights["conv1.weight"], tensors["base_model/conv2d/kernel"].permute(3, 2, 0, 1))
        # The shortcut of the first block was created before its convolutions.
        shortcut = tensors["base_model/conv2d_1/kernel"].permute(3, 2, 0, 1)
        assert torch.equal(weights["layer1.0.downsample.0.weight"], shortcut)
        assert torch.equal(
            weights["layer1.0.bn1.running_var"], tensors["base_model/batch_normalization_2/moving_variance"]
        )

    @pytest.mark.parametrize(
        ("folder", "architecture", "width", "method", "side"),
        [
            ("tf_simclr_v1", "simclr_resnet50_1x", 1 / 16, "simclr", 224),
            ("tf_simclr_v2_sk", "simclr_resnet50_1x_sk", 1 / 32, "simclr-v2", 224),
            ("tf_simclr_basic", "simclr_resnet18_cifar", 1 / 32, "simclr-v2", 32),
        ],
    )
    def test_the_network_is_read_off_the_shapes(
        self, folder: str, architecture: str, width: float, method: str, side: int
    ) -> None:
        plan = google(folder)
        assert (plan.architecture, plan.model_args["width"]) == (architecture, width)
        assert (plan.facts.method, plan.facts.input_size) == (method, (3, side, side))
        assert (plan.facts.mean, plan.facts.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        assert plan.settings == {"global_step": 7}

    def test_a_file_with_anything_missing_or_reshaped_is_imported_or_refused(self) -> None:
        rng = np.random.default_rng(0)
        whole = dict(read(DATA / "tf_simclr_v2_sk").tensors)
        for _ in range(60):
            tensors = dict(whole)
            for name in rng.choice(sorted(tensors), rng.integers(1, 100), replace=False):
                if rng.random() < 0.7:
                    del tensors[name]
                else:
                    tensors[name] = torch.zeros(tuple(rng.integers(0, 4, rng.integers(0, 6))))
            try:
                plan = GoogleSimclr().plan(checkpoint(tensors, container="tensorflow"), Claims())
            except ImportFormatError:
                continue
            assert_all_accounted_for(plan, tensors)

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=[pytest.mark.slow] if re.search("101|152_[12]x", name) else [])
            for name in timm.list_models("simclr_*")
        ],
    )
    def test_every_size_is_told_from_the_others(self, name: str) -> None:
        with torch.device("meta"):
            network = timm.create_model(name, num_classes=0)
        found = GoogleSimclr().plan(checkpoint(numbered(network), container="tensorflow"), Claims())
        assert (found.architecture, found.model_args) == (name, {})
        assert {ours: tensor.shape for ours, tensor in found.weights.items()} == {
            ours: tensor.shape for ours, tensor in network.state_dict().items()
        }

    @pytest.mark.parametrize("name", ["simclr_resnet50_1x", "simclr_resnet50_1x_sk", "simclr_resnet18_cifar"])
    def test_the_names_of_its_second_code_mean_the_same_layers(self, name: str) -> None:
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=0, layers=[1, 2, 1, 1], width=0.125)
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value))
        tensors = as_objects(network)
        extra = {
            "model/resnet_model/initial_conv_relu_max_pool/0/conv2d/kernel" + SLOT: torch.zeros(1),
            "model/_projection_head/linear_layers/2/dense/kernel" + OBJECT: torch.zeros(1),
            "model/supervised_head/linear_layer/dense/bias" + OBJECT: torch.zeros(1),
            "optimizer/learning_rate" + OBJECT: torch.zeros(()),
            "global_step" + OBJECT: torch.tensor(9),
            "_CHECKPOINTABLE_OBJECT_GRAPH": torch.zeros(1),
        }
        plan = GoogleSimclr().plan(checkpoint({**extra, **tensors}, container="tensorflow"), Claims())
        assert set(plan.dropped) == set(extra)
        assert_all_accounted_for(plan, {**extra, **tensors})
        assert (plan.facts.method, plan.settings) == ("simclr-v2", {"global_step": 9})
        assert all(torch.equal(plan.weights[ours], value) for ours, value in network.state_dict().items())

    def test_it_is_detected_by_its_names_in_a_file_of_tensorflows(self) -> None:
        assert all(GoogleSimclr().detect(read(DATA / folder)) == 1 for folder in WRITTEN_BY_TENSORFLOW)
        assert GoogleSimclr().detect(read(DATA / "tf_tensors")) == 0
        assert GoogleSimclr().detect(checkpoint({"base_model/conv2d/kernel": torch.zeros(3, 3, 3, 3)})) == 0

    @pytest.mark.parametrize("padding", [1, 2])
    def test_a_padding_that_its_stem_does_not_have_is_refused(self, padding: int) -> None:
        folder = "tf_simclr_basic" if padding == 2 else "tf_simclr_v1"
        with pytest.raises(ImportFormatError, match=f"a padding of {padding} does not fit"):
            GoogleSimclr().plan(read(DATA / folder), Claims(stem_padding=padding))

    def test_the_padding_that_it_has_may_be_said(self) -> None:
        claims = Claims(stem_padding=1)
        assert GoogleSimclr().plan(read(DATA / "tf_simclr_basic"), claims).architecture == "simclr_resnet18_cifar"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"base_model/conv2d_3/kernel": None},
                "has 19 convolutions; simclr_resnet50_1x, which it is most like, has 17",
            ),
            ({"base_model/batch_normalization_4/beta": None}, r"has nothing for layer1\.0\.bn3\.bias"),
            ({"base_model/conv2d_3/bias": torch.zeros(4)}, "has base_model/conv2d_3/bias, of a layer that"),
            (
                {"base_model/conv2d/kernel": torch.zeros(5, 5, 3, 4)},
                r"base_model/conv2d/kernel is \(4, 3, 5, 5\), but conv1",
            ),
            ({"base_model/conv2d/kernel": torch.zeros(4)}, r"base_model/conv2d/kernel is \(4,\), which is no kernel"),
            ({"base_model/batch_normalization/gamma": torch.ones(5)}, r"batch_normalization/gamma is \(5,\)"),
        ],
    )
    def test_another_network_is_refused_by_the_name_of_what_does_not_fit(
        self, change: dict[str, Tensor | None], message: str
    ) -> None:
        tensors = {**read(DATA / "tf_simclr_v1").tensors, **change}
        kept = {name: value for name, value in tensors.items() if value is not None}
        with pytest.raises(ImportFormatError, match=message):
            GoogleSimclr().plan(checkpoint(kept, container="tensorflow"), Claims())


class TestModelFolder:
    @pytest.mark.parametrize("folder", WRITTEN_BY_TENSORFLOW)
    def test_a_checkpoint_of_tensorflows_becomes_an_encoder_with_its_features(
        self, folder: str, tmp_path: Path
    ) -> None:
        imported = import_checkpoint(DATA / folder, tmp_path / "imported")
        assert imported.format == "google-simclr"
        encoder = cpchub.load(str(imported.folder))
        arrays = np.load(DATA / folder / "features.npz")
        with torch.inference_mode():
            found = encoder(torch.from_numpy(arrays["pictures_odd"]).permute(0, 3, 1, 2) / 255)
        torch.testing.assert_close(found, torch.from_numpy(arrays["features_odd"]), rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("claims", "message"),
        [
            ({"architecture": "simclr_resnet50_2x"}, "of the network simclr_resnet50_1x, not of simclr_resnet50_2x"),
            ({"patch_size": 80}, "reads whole images, not patches of 80"),
            ({"as_": "separius"}, "cannot be imported as separius"),
        ],
    )
    def test_what_contradicts_the_file_is_refused(self, claims: dict[str, Any], message: str, tmp_path: Path) -> None:
        with pytest.raises(ImportFormatError, match=message):
            import_checkpoint(DATA / "tf_simclr_v1", tmp_path / "imported", **claims)
        assert not (tmp_path / "imported").exists()


def google(folder: str) -> Conversion:
    return GoogleSimclr().plan(read(DATA / folder), Claims())
