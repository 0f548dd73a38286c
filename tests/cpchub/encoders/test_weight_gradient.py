"""Convolutions with a weight gradient of our own, against torch's in value, gradient and behaviour."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from cpchub.encoders.fast import quick_conv
from cpchub.encoders.fast.folding import folded
from cpchub.encoders.fast.quick_conv import QuickConv2d, pays, use_fast_weight_gradients

# channels in and out, side or sides of the map, and what nn.Conv2d takes
SHAPES: list[tuple[int, int, Any, dict[str, Any]]] = [
    (3, 8, 9, {"kernel_size": 3, "padding": 1}),
    (16, 8, 2, {"kernel_size": 3, "padding": 1}),
    (16, 8, 1, {"kernel_size": 3, "padding": 1}),
    (64, 32, 8, {"kernel_size": 3, "padding": 1}),
    (64, 32, (7, 9), {"kernel_size": 3, "padding": 1, "stride": 2}),
    (64, 32, 11, {"kernel_size": 1, "bias": True}),
    (64, 32, 8, {"kernel_size": 1, "stride": 2}),
    (256, 16, (3, 20), {"kernel_size": (1, 3), "padding": (0, 1), "bias": True}),
    (256, 16, (5, 4), {"kernel_size": (2, 1), "stride": (2, 1), "padding": (1, 0)}),
    (8, 8, 4, {"kernel_size": 5, "padding": 2}),
]


def both(channels: int, outputs: int, options: dict[str, Any]) -> tuple[nn.Conv2d, nn.Conv2d]:
    theirs = nn.Conv2d(channels, outputs, **{"bias": False} | options)
    ours = copy.deepcopy(theirs)
    use_fast_weight_gradients(ours)
    assert type(ours) is QuickConv2d
    return ours, theirs


def gradients(convolution: nn.Conv2d, x: Tensor, weights: Tensor | None = None) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = convolution(x)
    (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in convolution.parameters())]  # type: ignore[list-item]


@pytest.mark.parametrize(("channels", "outputs", "side", "options"), SHAPES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gathered", [1, 2**14, 2**24])
def test_values_and_gradients_are_torchs(
    monkeypatch: pytest.MonkeyPatch,
    channels: int,
    outputs: int,
    side: Any,
    options: dict[str, Any],
    layout: torch.memory_format,
    gathered: int,
) -> None:
    monkeypatch.setattr(quick_conv, "GATHERED", gathered)  # one at a time, some and a rest, all
    monkeypatch.setattr(quick_conv, "pays", lambda *shape: True)
    torch.manual_seed(0)
    ours, theirs = both(channels, outputs, options)
    height, width = (side, side) if isinstance(side, int) else side
    x = torch.randn(7, channels, height, width).contiguous(memory_format=layout)
    for a, b in zip(gradients(ours, x), gradients(theirs, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


def test_the_weight_gradient_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    gradient = torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]])
    found = quick_conv.weight_gradient(x, gradient, (3, 3), (1, 1), (1, 1))
    # the middle: each place with itself; its right: each place with its right neighbour, 1 * 2 + 100 * 4
    assert found[0, 0, 1, 1] == 1 + 20 + 300 + 4000
    assert found[0, 0, 1, 2] == 2 + 400
    assert found[0, 0, 0, 0] == 1000


def test_it_is_its_own_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    own = quick_conv.weight_gradient
    monkeypatch.setattr(quick_conv, "weight_gradient", lambda *a: asked.append(a) or own(*a))
    small, _ = both(64, 8, {"kernel_size": 3, "padding": 1})
    gradients(small, torch.randn(2, 64, 3, 3))
    assert len(asked) == 1
    gradients(small, torch.randn(2, 64, 2, 5))
    assert len(asked) == 1
    assert pays(9)
    assert not pays(10)
    assert pays(16, torch.bfloat16)
    assert not pays(17, torch.bfloat16)


def test_nothing_else_about_a_network_changes() -> None:
    network = timm.create_model("resnet18", num_classes=0, channels=[8, 8, 16, 16])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.randn(2, 3, 32, 32)
    expected = network.eval()(x)
    use_fast_weight_gradients(network)
    assert not [name for name, module in network.named_modules() if type(module) is nn.Conv2d]
    assert list(before) == list(network.state_dict())
    torch.testing.assert_close(network(x), expected, rtol=0, atol=0)
    copied = copy.deepcopy(network)
    copied.load_state_dict(before)
    folds = folded(copied, x)
    assert not [name for name, module in folds.named_modules() if isinstance(module, nn.BatchNorm2d)]
    torch.testing.assert_close(folds(x), expected, rtol=1e-3, atol=1e-5)


def test_other_convolutions_are_left_alone() -> None:
    class Own(nn.Conv2d):
        pass

    others = nn.ModuleList(
        [
            Own(8, 8, 3),
            nn.Conv2d(8, 8, 3, groups=2),
            nn.Conv2d(8, 8, 3, dilation=2),
            nn.Conv2d(8, 8, 3, padding="same"),
            nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
            nn.Conv1d(8, 8, 3),
        ]
    )
    kinds = [type(module) for module in others]
    use_fast_weight_gradients(others)
    assert [type(module) for module in others] == kinds


def test_in_bfloat16_too_it_gives_torchs_values_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.dtype] = []
    own = quick_conv.weight_gradient
    monkeypatch.setattr(quick_conv, "weight_gradient", lambda x, *a: asked.append(x.dtype) or own(x, *a))
    for channels, outputs, options in (
        (64, 32, {"kernel_size": 3, "padding": 1, "bias": True}),
        (64, 32, {"kernel_size": 1, "stride": 2}),
        (3, 8, {"kernel_size": 3, "padding": 1, "stride": 2}),
    ):
        torch.manual_seed(0)
        ours, theirs = both(channels, outputs, options)
        x = torch.randn(16, channels, 3, 3)
        with torch.autocast("cpu", torch.bfloat16):
            found = gradients(ours, x)
        for a, b in zip(found, gradients(theirs, x), strict=True):
            torch.testing.assert_close(a.float(), b, rtol=0.02, atol=0.02 * float(b.abs().max()))
        assert found[0].dtype == torch.bfloat16
        assert ours.weight.grad is not None
        assert ours.weight.grad.dtype == torch.float32
    assert asked == [torch.bfloat16] * 3


def test_a_sum_over_many_images_is_not_lost_in_the_rounding_of_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_conv, "GATHERED", 1)  # a part an image, 2,000 sums in a row
    x = torch.ones(2000, 1, 1, 1, dtype=torch.bfloat16)
    found = quick_conv.weight_gradient(x, torch.ones_like(x), (1, 1), (1, 1), (0, 0))
    assert float(found) == 2000


def test_in_half_precision_and_without_gradients_it_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> Tensor:
        raise AssertionError("our convolution was asked")

    monkeypatch.setattr(quick_conv._Convolution, "apply", forbidden)
    ours, theirs = both(64, 8, {"kernel_size": 1})
    x = torch.randn(2, 64, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
    with torch.autocast("cpu", torch.float16):
        assert ours(x).dtype == torch.float16
    ours.requires_grad_(False)
    torch.testing.assert_close(ours(x), theirs(x).detach())
    ours.requires_grad_(True)
    with pytest.raises(AssertionError, match="was asked"):
        ours(x)


def test_a_single_image_without_a_batch_and_one_that_needs_no_gradient() -> None:
    ours, theirs = both(8, 8, {"kernel_size": 3, "padding": 1})
    for x in (torch.randn(8, 3, 3), torch.randn(1, 8, 3, 3)):
        for convolution in (ours, theirs):
            convolution.zero_grad()
            convolution(x).square().sum().backward()
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_gradients_of_gradients() -> None:
    torch.manual_seed(0)

    def penalty(convolution: nn.Conv2d, x: Tensor) -> tuple[Tensor, ...]:
        x = x.clone().requires_grad_()
        inner = torch.autograd.grad(convolution(x).square().sum(), [x, convolution.weight], create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in inner), [x, convolution.weight])  # type: ignore[arg-type]

    ours, theirs = both(64, 8, {"kernel_size": 3, "padding": 1, "stride": 2})
    x = torch.randn(3, 64, 4, 4)
    for a, b in zip(penalty(ours, x), penalty(theirs, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))
