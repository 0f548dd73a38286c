"""Every network we register keeps timm's contract: each test runs over our names, made narrow and shallow."""

from __future__ import annotations

import copy
import math
from fnmatch import fnmatch
from typing import Any

import pytest
import timm
import torch

import cpchub.architectures
from cpchub.encoders.load import create_model
from cpchub.errors import ArgumentError

SIDE = 64  # of the images, in pixels
FOUR_STAGES = {"channels": [8, 16, 16, 32], "layers": [1, 1, 1, 1]}
NARROW: dict[str, dict[str, Any]] = {  # by module: what makes its networks small enough to run in milliseconds
    "alexnet": {"width": 0.125},
    "bolts_cpc": {"channels": [8, 8, 8, 8], "layers": [1, 1, 1, 1]},
    "cifar_resnet": FOUR_STAGES,
    "colour_paths": {"path_args": FOUR_STAGES},
    "cpc_resnet": {"channels": [16, 16, 32], "layers": [1, 1, 2], "bottle_ratio": 0.5, "stem_chs": 8},
    "lab_split": {"path_args": FOUR_STAGES},
    "simclr_resnet": {"width": 0.125, "layers": [1, 1, 1, 1]},
}
NARROW_ALEXNET = {"path_args": {"width": 0.0625}}
OURS = [(name, module) for module in cpchub.architectures.__all__ for name in timm.list_models(module=module)]

TRACED_BY_FX = ("alexnet_bn", "bolts_resnet*", "cpc_resnet*", "resnet*_cifar", "simclr_resnet*_cifar")


def narrow(name: str, **kwargs: Any) -> Any:
    (module,) = (module for ours, module in OURS if ours == name)
    torch.manual_seed(0)
    return timm.create_model(name, **(NARROW_ALEXNET if name == "cmc_alexnet" else NARROW[module]), **kwargs)


def first_of_each_kind() -> list[str]:
    """Narrow and shallow, many names are one network over again: the first name of each."""
    kinds: dict[tuple[str, str], str] = {}
    for name, module in OURS:
        kinds.setdefault((module, str(narrow(name))), name)
    return list(kinds.values())


ONE_OF_EACH_KIND = first_of_each_kind()
every_name = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ONE_OF_EACH_KIND else pytest.mark.slow) for name, _ in OURS]
)


def some_images(count: int = 2, channels: int = 3, side: int = SIDE) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def kept_for_backward(model: Any) -> tuple[torch.Tensor, int]:
    """The output on `images()`, and the bytes of activations that autograd keeps until the gradients are there."""
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = model(some_images())
    return output, sum(kept.values())


def test_importing_the_package_registers_the_networks() -> None:
    names = {name for name, _ in OURS}
    assert {"resnet18_cifar", "cpc_resnet170", "simclr_resnet152_3x_sk", "cmc_resnet50_v1"} <= names


@every_name
class TestContract:
    def test_pooled_features_have_num_features_numbers(self, name: str) -> None:
        model = narrow(name, num_classes=0).eval()
        x = some_images()
        pooled = model(x)
        assert pooled.shape == (2, model.num_features) == (2, model.head_hidden_size)
        assert torch.equal(pooled, model.forward_head(model.forward_features(x), pre_logits=True))

    def test_the_head_classifies_the_pooled_features(self, name: str) -> None:
        model = narrow(name, num_classes=5).eval()
        x = some_images()
        features = model.forward_features(x)
        assert features.shape[:2] == (2, model.num_features)
        assert torch.equal(model(x), model.forward_head(features))
        assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)
        assert (model.num_classes, model(x).shape) == (5, (2, 5))

    def test_global_pool_is_a_choice(self, name: str) -> None:
        x = some_images(1)
        features = narrow(name, num_classes=0).eval().forward_features(x)
        assert torch.equal(narrow(name, num_classes=0, global_pool="max").eval()(x), features.amax((2, 3)))
        assert torch.equal(narrow(name, num_classes=0, global_pool="").eval()(x), features)
        both = narrow(name, num_classes=3, global_pool="catavgmax").eval()
        assert both.head_hidden_size == 2 * both.num_features
        assert both(x).shape == (1, 3)

    def test_the_classifier_can_be_replaced(self, name: str) -> None:
        model = narrow(name, num_classes=7).eval()
        x = some_images()
        assert sum(parameter.numel() for parameter in model.get_classifier().parameters()) == 7 * model.num_features + 7
        model.reset_classifier(4, "max")
        assert (model.num_classes, model(x).shape) == (4, (2, 4))
        model.reset_classifier(0)
        assert isinstance(model.get_classifier(), torch.nn.Identity)
        assert torch.equal(model(x), model.forward_features(x).amax((2, 3)))

    def test_feature_info_tells_the_true_channels_and_reductions(self, name: str) -> None:
        model = narrow(name, features_only=True).eval()
        side = 224 if "alexnet" in name else SIDE  # it does not pad, so only a large image shows its reductions
        maps = model(some_images(1, side=side))
        assert [each.shape[1] for each in maps] == model.feature_info.channels()
        assert [2 ** round(math.log2(side / each.shape[-1])) for each in maps] == model.feature_info.reduction()

    def test_features_only_gives_the_maps_asked_for_and_drops_the_rest(self, name: str) -> None:
        whole = narrow(name).eval()
        early = narrow(name, features_only=True, out_indices=(0, 2)).eval()
        x = some_images(1)
        _, maps = whole.forward_intermediates(x)
        assert len(early(x)) == 2
        assert all(torch.equal(got, maps[index]) for got, index in zip(early(x), (0, 2), strict=True))
        assert len(early.state_dict()) < len(whole.state_dict())

    def test_each_map_can_be_had_alone(self, name: str) -> None:
        x = some_images(1)
        maps = narrow(name).eval().forward_intermediates(x, intermediates_only=True)
        for index, expected in enumerate(maps):
            alone = narrow(name, features_only=True, out_indices=(index,)).eval()
            (found,) = alone(x)
            assert torch.equal(found, expected)
            assert alone.feature_info.channels() == [expected.shape[1]]

    def test_intermediates_end_with_the_feature_map(self, name: str) -> None:
        model = narrow(name).eval()
        x = some_images(1)
        final, maps = model.forward_intermediates(x, norm=True)
        assert len(maps) == len(model.feature_info)
        assert torch.equal(final, model.forward_features(x))
        assert torch.equal(maps[-1], final)

    def test_intermediates_can_be_chosen_and_stop_early(self, name: str) -> None:
        model = narrow(name).eval()
        x = some_images(1)
        _, maps = model.forward_intermediates(x)
        last_two = model.forward_intermediates(x, indices=2, intermediates_only=True)
        assert all(torch.equal(got, want) for got, want in zip(last_two, maps[-2:], strict=True))
        (second,) = model.forward_intermediates(x, indices=[1], intermediates_only=True, stop_early=True)
        assert torch.equal(second, maps[1])

    def test_it_takes_the_channels_it_is_told_and_it_trains(self, name: str) -> None:
        if name.startswith(("cmc", "colour_paths")):
            with pytest.raises(ArgumentError, match="in_chans"):
                narrow(name, in_chans=1)
            return
        model = narrow(name, in_chans=1, num_classes=3)
        model(some_images(2, channels=1)).sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_first_conv_and_classifier_of_the_config_are_layers(self, name: str) -> None:
        model = narrow(name, num_classes=3)
        first = model.pretrained_cfg["first_conv"]
        convolutions = [model.get_submodule(each) for each in ((first,) if isinstance(first, str) else first)]
        assert all(isinstance(each, torch.nn.Conv2d) for each in convolutions)
        assert sum(each.in_channels for each in convolutions) == 3 or name == "colour_paths"
        assert model.get_submodule(model.pretrained_cfg["classifier"]) is model.get_classifier()

    def test_checkpointing_keeps_less_and_gives_the_same_gradients(self, name: str) -> None:
        model = narrow(name, num_classes=3).train()
        frugal = copy.deepcopy(model)
        frugal.set_grad_checkpointing()
        (output, kept), (frugal_output, frugal_kept) = kept_for_backward(model), kept_for_backward(frugal)
        torch.testing.assert_close(frugal_output, output, rtol=0, atol=0)
        assert frugal_kept < 0.95 * kept  # the stem keeps its maps, and behind it the network is narrow
        for each in (output, frugal_output):
            each.square().sum().backward()
        for plain, checkpointed in zip(model.parameters(), frugal.parameters(), strict=True):
            torch.testing.assert_close(checkpointed.grad, plain.grad)

    def test_layer_groups_go_from_the_stem_to_the_head(self, name: str) -> None:
        if name == "colour_paths":
            pytest.skip("its paths can be any networks, so it has no groups of its own")
        groups = timm.models.group_parameters(narrow(name, num_classes=3), narrow(name).group_matcher())
        names = [parameter for group in groups.values() for parameter in group]
        assert sorted(names) == sorted(key for key, _ in narrow(name, num_classes=3).named_parameters())
        assert "conv" in groups[0][0]
        assert len(groups) >= 4


@pytest.mark.parametrize("name", [*(name for name, _ in OURS), "cpc_audio"])
def test_the_reference_says_what_torchscript_and_fx_can_do(name: str) -> None:
    """The lists of docs/reference/architectures.md: no network can be scripted, some can be traced."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0) if name == "cpc_audio" else narrow(name)
    with pytest.raises((RuntimeError, ValueError, torch.jit.frontend.NotSupportedError)):
        torch.jit.script(model)
    if any(fnmatch(name, traced) for traced in TRACED_BY_FX):
        torch.fx.symbolic_trace(model)
        return
    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(model)


def test_fx_traces_no_network_on_patches() -> None:
    with torch.device("meta"), pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(narrow("resnet18_cifar", patch_size=16, patch_stride=8))


@every_name
def test_it_exports_as_one_graph_for_any_batch(name: str) -> None:
    model = narrow(name, num_classes=3).eval()
    batch = torch.export.Dim("batch")
    exported = torch.export.export(model, (some_images(2),), dynamic_shapes=({0: batch},)).module()
    for count in (1, 2, 5):
        torch.testing.assert_close(exported(some_images(count)), model(some_images(count)))


@pytest.mark.parametrize(
    "backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)], ids=["graph", "compiled"]
)
@pytest.mark.parametrize("patches", [{}, {"patch_size": 32, "patch_stride": 16}], ids=["images", "patches"])
@pytest.mark.parametrize("name", ["resnet18_cifar", "cpc_resnet50", "simclr_resnet50_1x_sk", "cmc_resnet50_v1"])
def test_it_compiles_as_one_graph(name: str, patches: dict[str, int], backend: str) -> None:
    model = narrow(name, num_classes=3, **patches).eval()
    x = some_images()
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet_bn", "cmc_alexnet", "colour_paths"])
def test_the_networks_without_a_patch_mode_compile_too(name: str) -> None:
    model = narrow(name, num_classes=3).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            torch.compile(model, fullgraph=True)(some_images()), model(some_images()), rtol=1e-4, atol=1e-4
        )


class TestCifarStem:
    def test_the_plain_stem_is_one_3x3_convolution_without_pooling(self) -> None:
        model: Any = create_model("resnet18_cifar")
        assert model.conv1.kernel_size == (3, 3)
        assert model.conv1.stride == (1, 1)
        assert isinstance(model.maxpool, torch.nn.Identity)

    def test_the_deep_stem_keeps_the_resolution_too(self) -> None:
        model = narrow("resnet18_cifar", stem_type="deep", stem_width=8)
        assert model.forward_features(some_images(1)).shape[-1] == SIDE // 8

    def test_stem_padding_of_two_adds_two_pixels(self) -> None:
        model = narrow("resnet18_cifar", stem_padding=2)
        maps = model.forward_intermediates(some_images(1), intermediates_only=True)
        assert maps[0].shape[-1] == SIDE + 2

    def test_a_smaller_output_stride_dilates_instead(self) -> None:
        model = narrow("resnet18_cifar", output_stride=4)
        assert model.forward_features(some_images(1)).shape[-1] == SIDE // 4

    @pytest.mark.parametrize("arguments", [{"stem_padding": 3}, {"output_stride": 32}])
    def test_values_that_cannot_work_are_refused_by_name(self, arguments: dict[str, int]) -> None:
        with pytest.raises(ArgumentError, match=next(iter(arguments))):
            create_model("resnet18_cifar", **arguments)
