"""SimCLR's networks: the sizes in the paper's table, its selective kernels, and TensorFlow's padding."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub.architectures.selective_kernel import SelectiveKernel
from cpchub.encoders.load import create_model
from cpchub.errors import ArgumentError

TINY = {"layers": [1, 1, 1, 1], "width": 0.25}
MILLIONS = {  # Chen et al. 2020, "Big Self-Supervised Models are Strong Semi-Supervised Learners", table 1
    "simclr_resnet50_1x": 24,
    "simclr_resnet50_1x_sk": 35,
    "simclr_resnet50_2x": 94,
    "simclr_resnet50_2x_sk": 140,
    "simclr_resnet101_1x": 43,
    "simclr_resnet101_1x_sk": 65,
    "simclr_resnet101_2x": 170,
    "simclr_resnet101_2x_sk": 257,
    "simclr_resnet152_1x": 58,
    "simclr_resnet152_1x_sk": 89,
    "simclr_resnet152_2x": 233,
    "simclr_resnet152_2x_sk": 354,
    "simclr_resnet152_3x_sk": 795,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_the_size_is_that_of_the_papers_table(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert millions == pytest.approx(MILLIONS[name], abs=1)
    assert model.num_features == 2048 * int(name.split("_")[2][0])


def test_the_features_are_those_of_timms_resnet_away_from_the_padding() -> None:
    theirs = timm.create_model("resnet50", num_classes=3, layers=[1, 1, 1, 1], channels=[64, 128, 256, 512]).eval()
    ours = timm.create_model("simclr_resnet50_1x", num_classes=3, layers=[1, 1, 1, 1]).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(ours.act1(ours.bn1(ours.conv1(x))), theirs.act1(theirs.bn1(theirs.conv1(x))))
    assert not torch.equal(ours(x), theirs(x))
    ours.maxpool = theirs.maxpool
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("side", [8, 7])
def test_pooling_pads_as_tensorflow_does(side: int) -> None:
    model: Any = timm.create_model("simclr_resnet50_1x", **TINY)
    x = torch.randn(1, 2, side, side)
    before = side % 2  # SAME, kernel 3, stride 2: one pixel behind an even side, one before and one behind an odd
    padded = F.pad(x, (before, 1, before, 1), value=float("-inf"))
    assert torch.equal(model.maxpool(x), F.max_pool2d(padded, 3, 2))


def test_shortcuts_average_what_is_inside_the_image() -> None:
    model: Any = timm.create_model("simclr_resnet50_1x_sk", **TINY)
    unstrided, strided = (stage[0].downsample[0] for stage in (model.layer1, model.layer2))
    x = torch.randn(1, 2, 6, 6)
    same = unstrided(x)
    assert same.shape == x.shape
    torch.testing.assert_close(same[..., :-1, :-1], F.avg_pool2d(x, 2, 1))
    torch.testing.assert_close(same[..., -1, -1], x[..., -1, -1])
    torch.testing.assert_close(same[..., 0, -1], x[..., :2, -1].mean(-1))
    torch.testing.assert_close(strided(x), F.avg_pool2d(x, 2, 2))


class TestSelectiveKernel:
    def test_equal_scores_take_the_mean_of_the_streams(self) -> None:
        kernel = SelectiveKernel(4, 8).eval()
        torch.nn.init.zeros_(kernel.select.weight)
        x = torch.randn(2, 4, 5, 5)
        first, second = F.relu(kernel.bn(kernel.conv(x))).chunk(2, dim=1)
        torch.testing.assert_close(kernel(x), (first + second) / 2)

    def test_the_scores_choose_between_the_streams_per_channel(self) -> None:
        kernel = SelectiveKernel(4, 8).eval()
        with torch.no_grad():
            kernel.squeeze.weight.fill_(1.0)
            kernel.select.weight.zero_()
            kernel.select.weight[:4] = 1e4  # the first stream in channels 0 to 3
            kernel.select.weight[12:] = 1e4  # the second stream in channels 4 to 7
        x = torch.randn(2, 4, 5, 5)
        first, second = F.relu(kernel.bn(kernel.conv(x))).chunk(2, dim=1)
        torch.testing.assert_close(kernel(x), torch.cat([first[:, :4], second[:, 4:]], dim=1))

    @pytest.mark.parametrize(("channels", "hidden"), [(64, 32), (512, 32), (1024, 64)])
    def test_the_hidden_layer_is_a_sixteenth_and_at_least_32(self, channels: int, hidden: int) -> None:
        with torch.device("meta"):
            assert SelectiveKernel(8, channels).squeeze.out_channels == hidden


def test_every_block_begins_as_the_identity() -> None:
    model = timm.create_model("simclr_resnet50_1x_sk", layers=[1, 2, 1, 1], width=0.25)
    assert all(not block.bn3.weight.any() for block in model.layer2)


def test_images_are_read_in_0_to_1() -> None:
    cfg = timm.get_pretrained_cfg("simclr_resnet50_1x")
    assert cfg is not None
    assert (cfg.mean, cfg.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("width", [0, 0.01, 1 / 64])
def test_a_width_that_gives_no_even_number_of_channels_is_refused(width: float) -> None:
    with pytest.raises(ArgumentError, match="width"):
        create_model("simclr_resnet50_1x", width=width)


class TestBasicBlocks:
    def test_the_first_block_has_a_convolution_on_its_shortcut_that_timm_leaves_out(self) -> None:
        ours, theirs = (timm.create_model(name, num_classes=0) for name in ("simclr_resnet18_1x", "resnet18"))
        extra = set(ours.state_dict()) - set(theirs.state_dict())
        assert {name.rpartition(".")[0] for name in extra} == {"layer1.0.downsample.0", "layer1.0.downsample.1"}
        assert set(theirs.state_dict()) <= set(ours.state_dict())

    def test_without_that_the_features_are_those_of_timms_resnet(self) -> None:
        ours: Any = timm.create_model("simclr_resnet18_1x", num_classes=0, same_padding=False).eval()
        theirs = timm.create_model("resnet18", num_classes=0).eval()
        ours.layer1[0].downsample = None
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(1, 3, 64, 48)
        with torch.inference_mode():
            assert torch.equal(ours(x), theirs(x))

    def test_they_have_no_selective_kernels(self) -> None:
        with pytest.raises(ArgumentError, match="exclude each other"):
            create_model("simclr_resnet18_1x", selective_kernel=True)


def test_the_cifar_stem_keeps_the_resolution_and_the_width() -> None:
    model: Any = timm.create_model("simclr_resnet18_cifar", num_classes=0, layers=[1, 1, 1, 1], width=0.25).eval()
    assert model.conv1.weight.shape == (16, 3, 3, 3)
    assert model.forward_features(torch.rand(1, 3, 32, 32)).shape == (1, 128, 4, 4)


class TestPaddingOfPyTorch:
    def test_the_features_are_those_of_timms_resnet(self) -> None:
        ours: Any = timm.create_model(
            "simclr_resnet50_1x", num_classes=3, layers=[1, 1, 1, 1], same_padding=False
        ).eval()
        theirs = timm.create_model("resnet50", num_classes=3, layers=[1, 1, 1, 1]).eval()
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(1, 3, 64, 64)
        with torch.inference_mode():
            assert torch.equal(ours(x), theirs(x))

    def test_shortcuts_count_the_zeros_outside_of_the_image(self) -> None:
        model: Any = timm.create_model("simclr_resnet50_1x_sk", same_padding=False, **TINY)
        x = torch.ones(1, 2, 6, 6)
        averaged = model.layer1[0].downsample[0](x)
        assert averaged.shape == x.shape
        assert (averaged[0, 0, 0, 0], averaged[0, 0, 0, -1], averaged[0, 0, -1, -1]) == (1, 0.5, 0.25)
