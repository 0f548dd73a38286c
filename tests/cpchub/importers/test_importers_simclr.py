"""PyTorch conversions of SimCLR compute what a plain restatement of their networks does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from cpchub.errors import ImportFormatError
from cpchub.importers.convert import import_checkpoint
from cpchub.importers.formats.separius import Separius
from cpchub.importers.formats.tonylins import Tonylins
from cpchub.importers.formats.vissl import Vissl
from cpchub.importers.networks.resnet import recognise
from tests.cpchub.importers.planned import assert_all_accounted_for, checkpoint, features, planned
from tests.cpchub.importers.simclr_in_pytorch import as_separius, as_tonylins, forward, resnet_state


class TestTonylins:
    def test_the_features_are_those_of_the_network_that_the_weights_were_trained_in(self) -> None:
        state = resnet_state()
        x = torch.rand(2, 3, 37, 48)
        expected = forward(state, x)
        assert torch.equal(features(planned(Tonylins(), as_tonylins(state)), x), expected)

    def test_the_classifier_is_dropped_and_its_random_bias_said(self) -> None:
        tensors = as_tonylins(resnet_state())
        plan = planned(Tonylins(), tensors)
        assert_all_accounted_for(plan, tensors)
        assert set(plan.dropped) == {"state_dict/fc.weight", "state_dict/fc.bias"}
        assert "random" in plan.dropped["state_dict/fc.bias"]

    def test_it_is_told_from_torchvisions_files_by_the_order_of_the_converters_layers(self) -> None:
        tensors = as_tonylins(resnet_state())
        assert Tonylins().detect(checkpoint(tensors)) == 0.9
        usual = sorted(tensors, key=lambda name: "downsample" in name)
        assert Tonylins().detect(checkpoint({name: tensors[name] for name in usual})) < 0.3
        assert Tonylins().detect(checkpoint({"state_dict/conv1.weight": tensors["state_dict/conv1.weight"]})) == 0

    def test_a_file_of_another_kind_is_refused(self) -> None:
        with pytest.raises(ImportFormatError, match=r"no tensor state_dict/conv1\.weight"):
            planned(Tonylins(), {"weight": torch.zeros(1)})


class TestSeparius:
    @pytest.mark.parametrize("selective", [False, True])
    def test_the_features_are_those_of_the_network_that_the_weights_were_trained_in(self, selective: bool) -> None:
        state = resnet_state(selective)
        x = torch.rand(2, 3, 37, 48)
        expected = forward(state, x)
        plan = planned(Separius(), as_separius(state))
        assert plan.architecture == ("simclr_resnet50_1x_sk" if selective else "simclr_resnet50_1x")
        if selective:
            # Separius takes the softmax over the first dimension, we over the second. torch computes some values of a
            # row in vectors and the rest one by one; which ones depends on the dimension and on the number of threads.
            torch.testing.assert_close(features(plan, x), expected, rtol=1e-6, atol=1e-5)
        else:
            assert torch.equal(features(plan, x), expected)

    def test_every_tensor_is_used_or_dropped_with_a_reason(self) -> None:
        tensors = as_separius(resnet_state(True))
        plan = planned(Separius(), tensors)
        assert_all_accounted_for(plan, tensors)
        assert {name for name, reason in plan.dropped.items() if "projection head" in reason} == {
            "head/layers.0.weight",
            "head/layers.1.bias",
        }
        assert set(plan.dropped) - {"head/layers.0.weight", "head/layers.1.bias"} == {
            "resnet/fc.weight",
            "resnet/fc.bias",
        }

    def test_it_is_detected_by_its_names(self) -> None:
        assert Separius().detect(checkpoint(as_separius(resnet_state(False)))) == 1
        assert Separius().detect(checkpoint(as_tonylins(resnet_state()))) == 0

    def test_a_file_of_another_kind_is_refused(self) -> None:
        with pytest.raises(ImportFormatError, match=r"no tensor resnet/net\.0\.0\.weight"):
            planned(Separius(), {"resnet/weight": torch.zeros(1)})


@pytest.mark.parametrize("name", ["tonylins", "separius"])
def test_the_conversions_are_recognised_in_files_of_torch_save(name: str, tmp_path: Path) -> None:
    tensors = as_tonylins(resnet_state()) if name == "tonylins" else as_separius(resnet_state(True))
    nested: dict[str, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        top, _, key = path.partition("/")
        nested.setdefault(top, {})[key] = value
    torch.save(nested, tmp_path / "file.pth")
    imported = import_checkpoint(tmp_path / "file.pth", tmp_path / "imported")
    assert (imported.format, len(imported.used) + len(imported.dropped)) == (name, len(tensors))


class TestWideNetworksOfPyTorch:
    """VISSL's, wider from the stem on, in torchvision's names."""

    def test_the_pool_is_padded_as_in_pytorch(self) -> None:
        torch.manual_seed(0)
        wide: Any = timm.create_model("simclr_resnet50_2x", num_classes=0, layers=[1, 1, 1, 1]).eval()
        wide.maxpool = torch.nn.MaxPool2d(3, 2, padding=1)
        trunk = "classy_state_dict/base_model/model/trunk/_feature_blocks."
        plan = planned(Vissl(), {f"{trunk}{name}": value for name, value in wide.state_dict().items()})
        assert plan.architecture == "simclr_resnet50_1x"
        x = torch.rand(1, 3, 48, 64)
        with torch.inference_mode():
            assert torch.equal(features(plan, x), wide(x))

    @pytest.mark.parametrize("name", ["simclr_resnet50_2x", "simclr_resnet50_4x", "simclr_resnet152_2x"])
    def test_a_size_that_has_a_name_is_called_so(self, name: str) -> None:
        with torch.device("meta"):
            state = timm.create_model(name, num_classes=0).state_dict()
        found = recognise({key: tuple(value.shape) for key, value in state.items()})
        assert (found.architecture, found.model_args) == (name, {"same_padding": False})

    def test_a_stem_that_is_wider_than_the_stages_is_refused(self) -> None:
        state = timm.create_model("resnet50", num_classes=0, layers=[1, 1, 1, 1]).state_dict()
        shapes = {key: tuple(value.shape) for key, value in state.items()} | {"conv1.weight": (128, 3, 7, 7)}
        with pytest.raises(ImportFormatError, match=r"a stem of 128 channels before stages of \(64,"):
            recognise(shapes)
