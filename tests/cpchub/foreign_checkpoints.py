"""Networks as other people's code has them, restated for the tests, and their checkpoints in the official layouts."""

from __future__ import annotations

import argparse
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

ONE_OF_EACH = [1, 1, 1, 1]
THIN = (16, 16, 32, 32)


def trained(network: nn.Module, side: int = 32, channels: int = 3) -> Any:
    """The network with random weights, and norms that have seen images, so that every tensor matters."""
    generator = torch.Generator().manual_seed(len(list(network.parameters())))
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if value.is_floating_point():
                spread = torch.rand(value.shape, generator=generator)
                if name.endswith("running_var") or (value.ndim in (1, 3) and name.endswith("weight")):
                    value.copy_(0.5 + spread)
                elif value.ndim > 1:
                    value.copy_((spread - 0.5) * 3 / value[0].numel() ** 0.5)
                else:
                    value.copy_((spread - 0.5) / 2)
    return network.eval()


def torchvision_resnet(bottleneck: bool = False, layers: list[int] = ONE_OF_EACH, num_classes: int = 8) -> Any:
    """torchvision's own network, thinner than its ResNets are."""
    block = Bottleneck if bottleneck else BasicBlock
    with torch.device("meta"):
        network: Any = ResNet(block, layers)
    network.conv1, network.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
    network.inplanes = 64
    for number, (blocks, chs) in enumerate(zip(layers, THIN, strict=True), start=1):
        setattr(network, f"layer{number}", network._make_layer(block, chs, blocks, stride=1 if number == 1 else 2))
    network.fc = nn.Linear(network.inplanes, num_classes)
    return trained(network)


def features(network: Any) -> Callable[[Tensor], Tensor]:
    """What torchvision's network computes before its classifier."""

    def forward(x: Tensor) -> Tensor:
        classifier, network.fc = network.fc, nn.Identity()
        try:
            return network(x)
        finally:
            network.fc = classifier

    return forward


class CifarBlock(nn.Module):
    """A block as kuangliu, SupContrast and lightly write it: the shortcut is called so, empty where not needed."""

    def __init__(self, in_chs: int, chs: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        out = 4 * chs if bottleneck else chs
        if bottleneck:
            self.conv1 = nn.Conv2d(in_chs, chs, 1, bias=False)
            self.conv2 = nn.Conv2d(chs, chs, 3, stride, 1, bias=False)
            self.conv3, self.bn3 = nn.Conv2d(chs, out, 1, bias=False), nn.BatchNorm2d(out)
        else:
            self.conv1 = nn.Conv2d(in_chs, chs, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(chs, chs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(chs), nn.BatchNorm2d(chs)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_chs != out:
            self.shortcut = nn.Sequential(nn.Conv2d(in_chs, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        y += self.shortcut(x)
        return F.relu(y)


class CifarResNet(nn.Module):
    """The CIFAR ResNet of the same authors, with or without a last layer called `linear`."""

    def __init__(self, layers: list[int] = ONE_OF_EACH, bottleneck: bool = False, linear: int = 0) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        before = 64
        for number, (blocks, chs) in enumerate(zip(layers, THIN, strict=True), start=1):
            stage = nn.Sequential()
            for index in range(blocks):
                stage.append(CifarBlock(before, chs, 2 if number > 1 and index == 0 else 1, bottleneck))
                before = 4 * chs if bottleneck else chs
            setattr(self, f"layer{number}", stage)
        if linear:
            self.linear = nn.Linear(before, linear)

    def maps(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for number in (1, 2, 3, 4):
            x = getattr(self, f"layer{number}")(x)
        return x


class CmcResNet18(nn.Module):
    """A half of CMC: torchvision's names, a stem of 64 channels, stages of `base` times 1, 2, 4 and 8."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        before = 64
        for number in range(4):
            stage = nn.Sequential()
            for index in range(2):
                stride, chs = (2 if number and index == 0 else 1), base * 2**number
                shortcut = None
                if stride != 1 or before != chs:
                    shortcut = nn.Sequential(nn.Conv2d(before, chs, 1, stride, bias=False), nn.BatchNorm2d(chs))
                stage.append(BasicBlock(before, chs, stride, shortcut))
                before = chs
            setattr(self, f"layer{number + 1}", stage)
        self.fc = nn.Linear(before, 128)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in (1, 2, 3, 4):
            x = getattr(self, f"layer{number}")(x)
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class CmcAlexNet(nn.Module):
    """A half of CMC's AlexNet, up to the map of its fifth block."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def block(in_chs: int, chs: int, kernel: int, stride: int, padding: int, pool: bool) -> nn.Sequential:
            layers = [nn.Conv2d(in_chs, chs, kernel, stride, padding, bias=False), nn.BatchNorm2d(chs), nn.ReLU()]
            return nn.Sequential(*layers, *([nn.MaxPool2d(3, 2)] if pool else []))

        self.conv_block_1 = block(channels, 48, 11, 4, 2, True)
        self.conv_block_2 = block(48, 128, 5, 1, 2, True)
        self.conv_block_3 = block(128, 192, 3, 1, 1, False)
        self.conv_block_4 = block(192, 192, 3, 1, 1, False)
        self.conv_block_5 = block(192, 128, 3, 1, 1, True)
        self.fc6 = nn.Sequential(nn.Linear(128 * 36, 64), nn.BatchNorm1d(64))
        self.fc8 = nn.Sequential(nn.Linear(64, 16))

    def forward(self, x: Tensor) -> Tensor:
        for number in range(1, 6):
            x = getattr(self, f"conv_block_{number}")(x)
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class BoltsBlock(nn.Module):
    """A block of pl_bolts' CPC encoder: its norms have a weight for every channel and position."""

    def __init__(self, in_chs: int, chs: int, out: int, side: int, stride: int) -> None:
        super().__init__()
        after = -(-side // stride)
        self.conv1, self.ln1 = nn.Conv2d(in_chs, chs, 1, bias=False), nn.LayerNorm([chs, side, side])
        self.conv2, self.ln2 = nn.Conv2d(chs, chs, 3, stride, 1, bias=False), nn.LayerNorm([chs, after, after])
        self.conv3, self.ln3 = nn.Conv2d(chs, out, 1, bias=False), nn.LayerNorm([out, after, after])
        self.downsample = None
        if stride != 1 or in_chs != out:
            conv = nn.Conv2d(in_chs, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.LayerNorm([out, after, after]))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.ln1(self.conv1(x)))
        y = F.relu(self.ln2(self.conv2(y)))
        y = self.ln3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y)


class BoltsCpc(nn.Module):
    """pl_bolts' CPC encoder for patches of one size, with fewer and thinner blocks."""

    def __init__(self, patch: int, layers: tuple[int, ...] = (1, 2, 2, 1), widths: tuple[int, ...] = (8, 8, 16, 8)):
        super().__init__()
        self.patch = patch
        side = -(-patch // 2)
        self.conv1, self.ln1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.LayerNorm([64, side, side])
        side, before = -(-side // 2), 64
        for number, (blocks, chs) in enumerate(zip(layers, widths, strict=True), start=1):
            stage, out = nn.Sequential(), chs * (8 if number == 3 else 4)
            for index in range(blocks):
                stride = 2 if number > 1 and index == 0 else 1
                stage.append(BoltsBlock(before, chs, out, side, stride))
                side, before = -(-side // stride), out
            setattr(self, f"layer{number}", stage)

    def one(self, patches: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.ln1(self.conv1(patches))), 3, 2, 1)
        for number in (1, 2, 3, 4):
            x = getattr(self, f"layer{number}")(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """The grid of vectors: the patches of all images in one batch, half a patch apart."""
        patches = patches_of(x, self.patch)
        side = math.isqrt(patches.shape[1])
        return self.one(patches.flatten(0, 1)).reshape(len(x), side, side, -1).permute(0, 3, 1, 2)


def patches_of(x: Tensor, size: int) -> Tensor:
    """`[B, patches, C, size, size]`, half a patch apart, as pl_bolts' Patchify cuts them."""
    columns = F.unfold(x, size, stride=size // 2)
    return columns.transpose(1, 2).reshape(len(x), -1, x.shape[1], size, size)


class Vit(nn.Module):
    """A vision transformer with the names that timm 0.4.9 gave it, and MoCo v3's fixed positions."""

    def __init__(self, width: int, depth: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (side // 16) ** 2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, 16, 16)})
        self.blocks = nn.ModuleList(self._block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Sequential(nn.Linear(width, 32, bias=False), nn.BatchNorm1d(32))

    def _block(self, width: int) -> nn.ModuleDict:
        attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        norms = {"norm1": nn.LayerNorm(width, eps=1e-6), "norm2": nn.LayerNorm(width, eps=1e-6)}
        return nn.ModuleDict({**norms, "attn": attn, "mlp": mlp})

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            count, length, width = x.shape
            qkv = block["attn"]["qkv"](block["norm1"](x)).reshape(count, length, 3, self.heads, width // self.heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(count, length, width)
            x = x + block["attn"]["proj"](mixed)
            x = x + block["mlp"]["fc2"](F.gelu(block["mlp"]["fc1"](block["norm2"](x))))
        return self.norm(x)[:, 0]


class MemoryBank(nn.Module):
    """What lemniscate pickles whole."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.randn(10, 8))
        self.register_buffer("params", torch.tensor([10.0, 0.07, -1.0, 0.5]))


def state(network: nn.Module, prefix: str = "") -> OrderedDict[str, Tensor]:
    return OrderedDict((f"{prefix}{name}", value) for name, value in network.state_dict().items())


def optimizer(network: nn.Module) -> dict[str, Any]:
    """The state of an optimiser after a step."""
    sgd = torch.optim.SGD(list(network.parameters())[:2], lr=0.03, momentum=0.9)
    for parameter in list(network.parameters())[:2]:
        parameter.grad = torch.zeros_like(parameter)
    sgd.step()
    return sgd.state_dict()


def head(*sizes: int) -> nn.Sequential:
    """A projection head of linear layers, numbered 0, 2, ..."""
    layers: list[nn.Module] = []
    for in_features, out_features in itertools.pairwise(sizes):
        layers += [nn.Linear(in_features, out_features), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lightning(entries: dict[str, Tensor], **hyper_parameters: Any) -> dict[str, Any]:
    return {
        "epoch": 99,
        "global_step": 1000,
        "pytorch-lightning_version": "1.5.0",
        "state_dict": OrderedDict(entries),
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(3)}}}],
        "lr_schedulers": [],
        "hyper_parameters": hyper_parameters,
    }


def namespace(**options: Any) -> argparse.Namespace:
    return argparse.Namespace(**options, model_path="/home/somebody/models", print_freq=10)
