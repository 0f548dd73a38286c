"""SimCLR's checkpoints: TensorFlow's own files and features, and the PyTorch conversions against a restatement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

import cpchub
from cpchub.errors import ImportFormatError
from cpchub.importers.convert import import_checkpoint
from cpchub.importers.format import Checkpoint, Claims, Conversion, Format
from cpchub.importers.formats.google_simclr import GoogleSimclr
from cpchub.importers.formats.separius import Separius
from cpchub.importers.formats.tonylins import Tonylins
from cpchub.importers.formats.vissl import Vissl
from cpchub.importers.networks.resnet import recognise
from cpchub.importers.readers.tensorflow import read

DATA = Path(__file__).parents[2] / "data"
WRITTEN_BY_TENSORFLOW = ("tf_simclr_v1", "tf_simclr_v2_sk", "tf_simclr_basic")
BLOCKS, STEM = (2, 1, 1, 1), 8  # of the PyTorch files that are made here
OBJECT = "/.ATTRIBUTES/VARIABLE_VALUE"
SLOT = "/.OPTIMIZER_SLOT/optimizer/momentum/.ATTRIBUTES/VARIABLE_VALUE"


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


class TestTonylins:
    def test_the_features_are_those_of_the_network_that_the_weights_were_trained_in(self) -> None:
        state = torchvision_state()
        x = torch.rand(2, 3, 37, 48)
        expected = torchvision_forward(state, x)
        assert torch.equal(features(planned(Tonylins(), as_tonylins(state)), x), expected)

    def test_the_classifier_is_dropped_and_its_random_bias_said(self) -> None:
        tensors = as_tonylins(torchvision_state())
        plan = planned(Tonylins(), tensors)
        assert_all_accounted_for(plan, tensors)
        assert set(plan.dropped) == {"state_dict/fc.weight", "state_dict/fc.bias"}
        assert "random" in plan.dropped["state_dict/fc.bias"]

    def test_it_is_told_from_torchvisions_files_by_the_order_of_the_converters_layers(self) -> None:
        tensors = as_tonylins(torchvision_state())
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
        state = separius_state(selective)
        x = torch.rand(2, 3, 37, 48)
        expected = separius_forward(state, x, selective)
        plan = planned(Separius(), as_separius(state))
        assert plan.architecture == ("simclr_resnet50_1x_sk" if selective else "simclr_resnet50_1x")
        if selective:
            # Separius takes the softmax over the first dimension, we over the second. torch computes some values of a
            # row in vectors and the rest one by one; which ones depends on the dimension and on the number of threads.
            torch.testing.assert_close(features(plan, x), expected, rtol=1e-6, atol=1e-5)
        else:
            assert torch.equal(features(plan, x), expected)

    def test_every_tensor_is_used_or_dropped_with_a_reason(self) -> None:
        tensors = as_separius(separius_state(True))
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
        assert Separius().detect(checkpoint(as_separius(separius_state(False)))) == 1
        assert Separius().detect(checkpoint(as_tonylins(torchvision_state()))) == 0

    def test_a_file_of_another_kind_is_refused(self) -> None:
        with pytest.raises(ImportFormatError, match=r"no tensor resnet/net\.0\.0\.weight"):
            planned(Separius(), {"resnet/weight": torch.zeros(1)})


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

    @pytest.mark.parametrize("name", ["tonylins", "separius"])
    def test_the_conversions_are_recognised_in_files_of_torch_save(self, name: str, tmp_path: Path) -> None:
        tensors = as_tonylins(torchvision_state()) if name == "tonylins" else as_separius(separius_state(True))
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


def google(folder: str) -> Conversion:
    return GoogleSimclr().plan(read(DATA / folder), Claims())


def planned(importer: Format, tensors: Mapping[str, Tensor]) -> Conversion:
    return importer.plan(checkpoint(tensors), Claims())


def checkpoint(tensors: Mapping[str, Tensor], container: str = "pickle") -> Checkpoint:
    return Checkpoint(Path("some.pth"), tensors, container=container)


def features(plan: Conversion, x: Tensor) -> Tensor:
    network = timm.create_model(plan.architecture, num_classes=0, **plan.model_args).eval()
    network.load_state_dict(plan.weights)
    with torch.inference_mode():
        return network(x)


def assert_all_accounted_for(plan: Conversion, tensors: Mapping[str, Tensor]) -> None:
    assert set(plan.used) | set(plan.dropped) == set(tensors)
    assert not set(plan.used) & set(plan.dropped)
    invented = {name for name in plan.weights if name.endswith("num_batches_tracked")}
    assert set(plan.weights) - invented <= set(plan.used.values()) <= set(plan.weights)


# TensorFlow's two ways of naming the layers of our network, in the order in which google's code creates them.


def in_order(network: Any) -> list[str]:
    blocks = [f"layer{stage}.{i}" for stage in (1, 2, 3, 4) for i in range(len(getattr(network, f"layer{stage}")))]
    inner = ("downsample.0", "downsample.1", "downsample.2", "conv1", "bn1", "conv2.conv", "conv2.bn", "conv2.squeeze",
             "conv2.squeeze_bn", "conv2.select", "conv2", "bn2", "conv3", "bn3")  # fmt: skip
    stem = ["conv1", "conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6", "bn1"]
    kinds = {name: module for name, module in network.named_modules() if hasattr(module, "weight")}
    return [name for name in (*stem, *(f"{block}.{each}" for block in blocks for each in inner)) if name in kinds]


def google_tensors(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    if state[f"{name}.weight"].ndim == 4:
        return {"kernel": state[f"{name}.weight"].permute(2, 3, 1, 0)}
    parts = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    return {part: state[f"{name}.{ours}"] for part, ours in parts.items()}


def numbered(network: Any) -> dict[str, Tensor]:
    counts = {"conv2d": 0, "batch_normalization": 0}
    tensors = {}
    state = network.state_dict()
    for name in in_order(network):
        values = google_tensors(state, name)
        kind = "conv2d" if "kernel" in values else "batch_normalization"
        suffix = f"_{counts[kind]}" if counts[kind] else ""
        counts[kind] += 1
        tensors |= {f"base_model/{kind}{suffix}/{part}": value for part, value in values.items()}
    return tensors


def as_objects(network: Any) -> dict[str, Tensor]:
    """By the way through the objects of tf2/resnet.py: lists with a DropBlock after each layer of a bottleneck."""
    state = network.state_dict()
    basic, selective = "layer1.0.conv3.weight" not in state, "layer1.0.conv2.select.weight" in state
    main = "conv2d_bn_layers" if basic else "conv_relu_dropblock_layers"
    shortcut = "shortcut_layers" if basic else "projection_layers"
    norm_after_3 = "4/bn"
    ways = {
        "conv1": f"{main}/0/conv2d", "bn1": f"{main}/1/bn", "conv2": f"{main}/{2 if basic else 3}/conv2d",
        "bn2": f"{main}/{'3/bn' if basic else norm_after_3}", "conv2.conv": f"{main}/3/conv2d_fixed_padding/conv2d",
        "conv2.bn": f"{main}/3/batch_norm_relu/bn", "conv2.squeeze": f"{main}/3/conv2d_0",
        "conv2.squeeze_bn": f"{main}/3/batch_norm_relu_1/bn", "conv2.select": f"{main}/3/conv2d_1",
    }  # fmt: skip
    tensors: dict[str, Tensor] = {}
    last = 5 if selective else 6
    for name in in_order(network):
        match = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", name)
        if match is None:
            item = {"bn1": 6 if selective else 2, "conv1": 0}.get(name, int(name[-1]) - int(name[-1]) // 3)
            way = f"initial_conv_relu_max_pool/{item}/{'bn' if name in ('bn1', 'conv1.1', 'conv1.4') else 'conv2d'}"
        else:
            stage, block, layer = int(match[1]) - 1, int(match[2]), match[3]
            if layer.startswith("downsample"):
                pads = int(selective) + int(selective and stage > 0)  # an average, and what pads for it
                conv = layer == "downsample.0" or (selective and layer == "downsample.1")
                inside = f"{shortcut}/{pads + (not conv)}/{'conv2d' if conv else 'bn'}"
            elif layer in ("conv3", "bn3"):
                inside = f"{main}/{last if layer == 'conv3' else last + 1}/{'conv2d' if layer == 'conv3' else 'bn'}"
            else:
                inside = ways[layer]
            way = f"block_groups/{stage}/layers/{block}/{inside}"
        tensors |= {
            f"model/resnet_model/{way}/{part}{OBJECT}": value for part, value in google_tensors(state, name).items()
        }
    return tensors


# A ResNet with TensorFlow's pooling, in plain functions: what the conversions to PyTorch have to give.

State = dict[str, Tensor]


def norm(state: State, name: str, channels: int) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(channels) + 0.5, torch.randn(channels) * 0.1
    state[f"{name}.running_mean"], state[f"{name}.running_var"] = (
        torch.randn(channels) * 0.1,
        torch.rand(channels) + 0.5,
    )
    state[f"{name}.num_batches_tracked"] = torch.tensor(5)


def conv(state: State, name: str, out_chs: int, in_chs: int, kernel: int = 1) -> None:
    state[f"{name}.weight"] = torch.randn(out_chs, in_chs, kernel, kernel) * (2 / in_chs / kernel**2) ** 0.5


def apply_conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=(weight.shape[-1] - 1) // 2)


def apply_norm(state: State, name: str, x: Tensor) -> Tensor:
    parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *parts, training=False, eps=1e-5)


def same_max_pool(x: Tensor) -> Tensor:
    odd_rows, odd_columns = (side % 2 for side in x.shape[-2:])  # an even side is padded behind it only
    return F.max_pool2d(F.pad(x, (odd_columns, 1, odd_rows, 1), value=float("-inf")), 3, 2)


def torchvision_state() -> State:
    """In the order of the converter's network: in each first block the shortcut, then the rest."""
    torch.manual_seed(0)
    state: State = {}
    conv(state, "conv1", STEM, 3, 7)
    norm(state, "bn1", STEM)
    in_chs = STEM
    for stage, count in enumerate(BLOCKS):
        inner = STEM * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            if block == 0:
                conv(state, f"{name}.downsample.0", 4 * inner, in_chs)
                norm(state, f"{name}.downsample.1", 4 * inner)
            conv(state, f"{name}.conv1", inner, in_chs)
            norm(state, f"{name}.bn1", inner)
            conv(state, f"{name}.conv2", inner, inner, 3)
            norm(state, f"{name}.bn2", inner)
            conv(state, f"{name}.conv3", 4 * inner, inner)
            norm(state, f"{name}.bn3", 4 * inner)
            in_chs = 4 * inner
    return state


def as_tonylins(state: State) -> State:
    head = {"fc.weight": torch.randn(10, 32 * STEM), "fc.bias": torch.randn(10)}
    return {f"state_dict/{name}": value for name, value in (state | head).items()}


def torchvision_forward(state: State, x: Tensor) -> Tensor:
    x = same_max_pool(apply_norm(state, "bn1", apply_conv(state, "conv1", x, 2)).relu())
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage > 0 and block == 0 else 1
            shortcut = x
            if block == 0:
                shortcut = apply_norm(
                    state, f"{name}.downsample.1", apply_conv(state, f"{name}.downsample.0", x, stride)
                )
            x = apply_norm(state, f"{name}.bn1", apply_conv(state, f"{name}.conv1", x)).relu()
            x = apply_norm(state, f"{name}.bn2", apply_conv(state, f"{name}.conv2", x, stride)).relu()
            x = (apply_norm(state, f"{name}.bn3", apply_conv(state, f"{name}.conv3", x)) + shortcut).relu()
    return x.mean((2, 3))


def separius_state(selective: bool) -> State:
    torch.manual_seed(0)
    state: State = {}
    if selective:
        for position, (out_chs, in_chs) in enumerate([(STEM // 2, 3), (STEM // 2, STEM // 2), (STEM, STEM // 2)]):
            conv(state, f"net.0.{2 * position}", out_chs, in_chs, 3)
            norm(state, f"net.0.{2 * position + 1}.0", out_chs)
    else:
        conv(state, "net.0.0", STEM, 3, 7)
        norm(state, "net.0.1.0", STEM)
    in_chs = STEM
    for stage, count in enumerate(BLOCKS):
        inner = STEM * 2**stage
        for block in range(count):
            name = f"net.{stage + 1}.blocks.{block}"
            if block == 0:
                conv(state, f"{name}.projection.shortcut{'.2' if selective else ''}", 4 * inner, in_chs)
                norm(state, f"{name}.projection.bn.0", 4 * inner)
            conv(state, f"{name}.net.0", inner, in_chs)
            norm(state, f"{name}.net.1.0", inner)
            if selective:
                conv(state, f"{name}.net.2.main_conv.0", 2 * inner, inner, 3)
                norm(state, f"{name}.net.2.main_conv.1.0", 2 * inner)
                conv(state, f"{name}.net.2.mixing_conv.0", 32, inner)
                norm(state, f"{name}.net.2.mixing_conv.1.0", 32)
                conv(state, f"{name}.net.2.mixing_conv.2", 2 * inner, 32)
            else:
                conv(state, f"{name}.net.2", inner, inner, 3)
                norm(state, f"{name}.net.3.0", inner)
            last = 3 if selective else 4
            conv(state, f"{name}.net.{last}", 4 * inner, inner)
            norm(state, f"{name}.net.{last + 1}.0", 4 * inner)
            in_chs = 4 * inner
    return state


def as_separius(state: State) -> State:
    classifier = {"resnet/fc.weight": torch.zeros(10, 8), "resnet/fc.bias": torch.zeros(10)}
    head = {"head/layers.0.weight": torch.zeros(8, 8), "head/layers.1.bias": torch.zeros(8)}
    return {f"resnet/{name}": value for name, value in state.items()} | classifier | head


def separius_forward(state: State, x: Tensor, selective: bool) -> Tensor:
    for position in range(3 if selective else 1):
        x = apply_conv(state, f"net.0.{2 * position}", x, 2 if position == 0 else 1)
        x = apply_norm(state, f"net.0.{2 * position + 1}.0", x).relu()
    x = same_max_pool(x)
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            name, stride = f"net.{stage + 1}.blocks.{block}", 2 if stage > 0 and block == 0 else 1
            shortcut = x
            if block == 0 and selective:
                padded = F.pad(x, (0, 1, 0, 1), mode="constant" if stride == 2 else "replicate")
                shortcut = apply_conv(state, f"{name}.projection.shortcut.2", F.avg_pool2d(padded, 2, stride))
            elif block == 0:
                shortcut = apply_conv(state, f"{name}.projection.shortcut", x, stride)
            if block == 0:
                shortcut = apply_norm(state, f"{name}.projection.bn.0", shortcut)
            x = apply_norm(state, f"{name}.net.1.0", apply_conv(state, f"{name}.net.0", x)).relu()
            if selective:
                x = apply_selection(state, f"{name}.net.2", x, stride)
            else:
                x = apply_norm(state, f"{name}.net.3.0", apply_conv(state, f"{name}.net.2", x, stride)).relu()
            last = 3 if selective else 4
            x = apply_norm(state, f"{name}.net.{last + 1}.0", apply_conv(state, f"{name}.net.{last}", x))
            x = (x + shortcut).relu()
    return x.mean((2, 3))


def apply_selection(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    streams = apply_norm(state, f"{name}.main_conv.1.0", apply_conv(state, f"{name}.main_conv.0", x, stride)).relu()
    first, second = streams.chunk(2, dim=1)
    pooled = (first + second).mean((2, 3), keepdim=True)
    hidden = apply_norm(state, f"{name}.mixing_conv.1.0", apply_conv(state, f"{name}.mixing_conv.0", pooled)).relu()
    scores = apply_conv(state, f"{name}.mixing_conv.2", hidden)
    weights = torch.stack(scores.chunk(2, dim=1)).softmax(0)
    return first * weights[0] + second * weights[1]
