"""Checkpoints of other people's code, each synthesised in its layout, with what its encoder computes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from lightly.models import ResNetGenerator
from torch import Tensor, nn

from cpchub.architectures.colour_spaces import scaled_lab
from tests.cpchub.foreign_checkpoints import (
    BoltsCpc,
    CifarResNet,
    CmcAlexNet,
    CmcResNet18,
    MemoryBank,
    Vit,
    features,
    head,
    lightning,
    namespace,
    optimizer,
    patches_of,
    state,
    torchvision_resnet,
    trained,
)

Foreign = tuple[Any, Callable[[Tensor], Tensor]]  # what is saved; what the encoder computes, a vector or a map
LAYOUTS: dict[str, tuple[str, str, Callable[[], Foreign]]] = {}  # name: (format, architecture, how it is made)


def layout(name: str, format_name: str, architecture: str) -> Callable[[Callable[[], Foreign]], Callable[[], Foreign]]:
    def register(make: Callable[[], Foreign]) -> Callable[[], Foreign]:
        LAYOUTS[name] = (format_name, architecture, make)
        return make

    return register


@layout("MoCo v1", "moco", "resnet18")
def moco_v1() -> Foreign:
    net, other = torchvision_resnet(num_classes=128), torchvision_resnet()
    entries = {**state(net, "module.encoder_q."), **state(other, "module.encoder_k.")}
    entries |= {"module.queue": torch.randn(128, 16), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    saved = {"epoch": 200, "arch": "resnet18", "state_dict": OrderedDict(entries), "optimizer": optimizer(net)}
    return saved, features(net)


@layout("MoCo v2 without its momentum encoder", "moco", "resnet50")
def moco_v2() -> Foreign:
    net = torchvision_resnet(bottleneck=True)
    net.fc = head(32, 16, 8)
    return {"epoch": 800, "arch": "resnet50", "state_dict": state(net, "module.encoder_q.")}, features(net)


@layout("MoCo v3, ResNet", "moco-v3", "resnet18")
def moco_v3_resnet() -> Foreign:
    net = torchvision_resnet()
    net.fc = nn.Sequential(nn.Linear(32, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8, bias=False))
    entries = {**state(net, "module.base_encoder."), **state(net, "module.momentum_encoder.")}
    entries |= state(head(8, 8), "module.predictor.")
    return {"epoch": 100, "arch": "resnet18", "state_dict": entries, "scaler": {}}, features(net)


@layout("MoCo v3, ViT-Small", "moco-v3", "vit_small_patch16_224")
def moco_v3_vit() -> Foreign:
    net = trained(Vit(width=384, depth=2, heads=12, side=64))
    entries = {**state(net, "module.base_encoder."), **state(net, "module.momentum_encoder.")}
    return {"epoch": 300, "arch": "vit_small", "state_dict": entries}, net


@layout("InstDisc on ImageNet, its memory bank pickled whole", "lemniscate", "resnet18")
def instdisc_imagenet() -> Foreign:
    net = torchvision_resnet(num_classes=128)
    saved = {"epoch": 200, "arch": "resnet18", "state_dict": state(net, "module."), "lemniscate": MemoryBank()}
    return {**saved, "best_prec1": torch.tensor(41.0), "optimizer": optimizer(net)}, features(net)


@layout("InstDisc on CIFAR-10", "lemniscate", "resnet18_cifar")
def instdisc_cifar() -> Foreign:
    net = trained(CifarResNet(linear=128))
    saved = {"net": state(net, "module."), "lemniscate": MemoryBank(), "acc": 0.8, "epoch": 199}
    return saved, net.maps


@layout("InvaSpread, the network pickled whole", "lemniscate", "resnet18_cifar")
def inva_spread() -> Foreign:
    net = trained(CifarResNet(linear=128))
    return {"net": net, "acc": 0.8, "epoch": 199}, net.maps


def cmc(base: int) -> Foreign:
    lightness, colour = trained(CmcResNet18(1, base)), trained(CmcResNet18(2, base))
    entries = {**state(lightness, "encoder.module.l_to_ab."), **state(colour, "encoder.module.ab_to_l.")}
    bank = {"params": torch.zeros(6), "memory_l": torch.randn(9, 4), "memory_ab": torch.randn(9, 4)}
    saved = {"opt": namespace(model="resnet18v1"), "model": entries, "contrast": bank, "optimizer": {}, "epoch": 240}
    return saved, lambda x: _side_by_side(lightness, colour, x)


def _side_by_side(lightness: Any, colour: Any, x: Tensor) -> Tensor:
    lab = scaled_lab(x)
    return torch.cat([lightness(lab[:, :1]), colour(lab[:, 1:])], 1)


@layout("CMC, half as wide", "cmc", "cmc_resnet18_v1")
def cmc_v1() -> Foreign:
    return cmc(32)


@layout("CMC, AlexNet", "cmc", "cmc_alexnet")
def cmc_alexnet() -> Foreign:
    lightness, colour = trained(CmcAlexNet(1)), trained(CmcAlexNet(2))
    entries = {**state(lightness, "module.l_to_ab."), **state(colour, "module.ab_to_l.")}
    saved = {"opt": namespace(model="alexnet"), "model": entries, "contrast": {"params": torch.zeros(6)}, "epoch": 240}
    return saved, lambda x: _side_by_side(lightness, colour, x)


@layout("InsDis and MoCo of the CMC code", "cmc", "resnet18")
def cmc_insdis() -> Foreign:
    net = torchvision_resnet()
    entries = state(net, "encoder.module.")
    saved = {
        "opt": namespace(),
        "model": entries,
        "contrast": {"memory": torch.randn(9, 4)},
        "model_ema": entries.copy(),
    }
    return saved, features(net)


@layout("SupContrast, ResNet-18", "sup-contrast", "resnet18_cifar")
def sup_contrast() -> Foreign:
    net = trained(CifarResNet())
    entries = {**state(net, "encoder.module."), **state(head(32, 16, 8), "head.")}
    saved = {"opt": namespace(method="SupCon", dataset="cifar100"), "model": entries, "optimizer": {}, "epoch": 1000}
    return saved, lambda x: F.adaptive_avg_pool2d(net.maps(x), 1).flatten(1)


@layout("SupContrast, ResNet-50", "sup-contrast", "resnet50_cifar")
def sup_contrast_bottleneck() -> Foreign:
    net = trained(CifarResNet(bottleneck=True))
    entries = {**state(net, "encoder."), **state(head(32, 8), "head.")}
    return {
        "opt": namespace(method="SimCLR", dataset="cifar10"),
        "model": entries,
        "epoch": 1000,
    }, lambda x: F.adaptive_avg_pool2d(net.maps(x), 1).flatten(1)


def solo_network() -> Any:
    net = torchvision_resnet()
    net.conv1 = nn.Conv2d(3, 64, 3, 1, padding=2, bias=False)
    net.maxpool, net.fc = nn.Identity(), nn.Identity()
    return trained(net)


@layout("solo-learn on CIFAR", "solo-learn", "resnet18_cifar")
def solo_cifar() -> Foreign:
    net = solo_network()
    entries = {**state(net, "backbone."), **state(head(32, 16, 8), "projector."), **state(net, "momentum_backbone.")}
    entries |= {**state(head(32, 10), "classifier."), "queue": torch.randn(2, 8, 16), "queue_ptr": torch.zeros(1)}
    return lightning(entries, method="mocov2plus", dataset="cifar100", max_epochs=1000), net


@layout("solo-learn of old, on ImageNet", "solo-learn", "resnet18")
def solo_imagenet() -> Foreign:
    net = torchvision_resnet()
    net.fc = nn.Identity()
    return lightning({**state(net, "encoder."), **state(head(32, 10), "classifier.")}, dataset="imagenet"), net


@layout("lightly on ImageNet", "lightly", "resnet18")
def lightly_imagenet() -> Foreign:
    net = torchvision_resnet()
    net.fc = nn.Identity()
    entries = {**state(net, "backbone."), **state(head(8, 8), "projection_head.layers."), **state(net, "key_backbone.")}
    entries |= state(head(8, 8), "online_classifier.classification_head.")
    return lightning(entries), net


def lightly_generator(num_splits: int = 0) -> Any:
    taken_apart = list(ResNetGenerator("resnet-9", num_splits=num_splits).children())[:-1]
    return trained(nn.Sequential(*taken_apart, nn.AdaptiveAvgPool2d(1)))


@layout("lightly on CIFAR-10", "lightly", "resnet18_cifar")
def lightly_cifar() -> Foreign:
    net = lightly_generator()
    entries = {**state(net, "backbone."), **state(head(8, 8), "projection_head.layers.")}
    return lightning(entries), lambda x: net(x).flatten(1)


@layout("lightly's MoCo on CIFAR-10, split batch norm", "lightly", "resnet18_cifar")
def lightly_splits() -> Foreign:
    net = lightly_generator(num_splits=4)
    entries = {**state(net, "backbone."), **state(head(8, 8), "projection_head.layers.")}
    net.train().eval()  # what evaluation with the official code does to the statistics
    return lightning({name: value.clone() for name, value in entries.items()}), lambda x: net(x).flatten(1)


@layout("lightly's tutorials on torchvision", "lightly", "resnet18")
def lightly_sequential() -> Foreign:
    net = nn.Sequential(*list(torchvision_resnet().children())[:-1]).eval()
    return lightning({**state(net, "backbone."), **state(head(8, 8), "projection_head.")}), lambda x: net(x).flatten(1)


@layout("pl_bolts SimCLR on CIFAR-10", "bolts-simclr", "resnet18_cifar")
def bolts_simclr_cifar() -> Foreign:
    net = torchvision_resnet()
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    trained(net)
    entries = {**state(net, "encoder."), **state(head(8, 8), "projection.model.")}
    return lightning(entries, dataset="cifar10", first_conv=False, maxpool1=False, arch="resnet18"), features(net)


@layout("pl_bolts SimCLR on ImageNet", "bolts-simclr", "resnet18")
def bolts_simclr_imagenet() -> Foreign:
    net = torchvision_resnet()
    entries = {**state(net, "encoder."), **state(head(8, 8), "projection.model.")}
    return lightning(entries, dataset="imagenet"), features(net)


@layout("pl_bolts SimCLR on STL-10, whose stem does not pool", "bolts-simclr", "bolts_resnet50")
def bolts_simclr_stl() -> Foreign:
    net = torchvision_resnet(bottleneck=True)
    net.maxpool = nn.Identity()
    entries = {**state(net, "encoder."), **state(head(8, 8), "projection.model.")}
    return lightning(entries, dataset="stl10", first_conv=True, maxpool1=False), features(net)


@layout("pl_bolts CPC v2", "bolts-cpc", "bolts_cpc_resnet50")
def bolts_cpc() -> Foreign:
    net = trained(BoltsCpc(patch=8))
    entries = {**state(net, "encoder."), **state(head(8, 8), "contrastive_task.pred_cnn.")}
    saved = lightning(entries, patch_size=8, patch_overlap=4, dataset="cifar10", encoder_name="cpc_encoder")
    return saved, net


@layout("pl_bolts CPC v2, ResNet-18", "bolts-cpc", "bolts_resnet18")
def bolts_cpc_resnet18() -> Foreign:
    net = torchvision_resnet()
    entries = {**state(net, "encoder."), **state(head(8, 8), "contrastive_task.pred_cnn.")}

    def grid(x: Tensor) -> Tensor:
        return features(net)(patches_of(x, 32).flatten(0, 1)).reshape(len(x), 3, 3, -1).permute(0, 3, 1, 2)

    return lightning(entries, patch_size=32, patch_overlap=16), grid


@layout("VISSL", "vissl", "resnet18")
def vissl() -> Foreign:
    net = torchvision_resnet()
    net.fc = nn.Identity()
    heads = {"0.clf.0.weight": torch.randn(4, 4)}
    model = {"trunk": state(net, "_feature_blocks."), "heads": heads}
    momentum = state(net, "moco_encoder.trunk._feature_blocks.")
    saved = {"classy_state_dict": {"base_model": {"model": model}, "loss": momentum, "optimizer": {"optim": {}}}}
    return saved, net


@layout("VISSL, converted", "vissl", "resnet18")
def vissl_flat() -> Foreign:
    net = torchvision_resnet()
    net.fc = nn.Identity()
    return {"model_state_dict": state(net, "_feature_blocks.")}, net


@layout("mmselfsup", "mmselfsup", "resnet18")
def mmselfsup() -> Foreign:
    net = torchvision_resnet()
    net.fc = nn.Identity()
    entries = {**state(net, "backbone."), **state(head(8, 8), "neck.mlp."), **state(net, "encoder_k.0.")}
    entries |= {"queue": torch.randn(4, 4), **state(head(8, 8), "head.")}
    saved = {"meta": {"epoch": 200, "config": "style='pytorch'"}, "state_dict": entries, "optimizer": optimizer(net)}
    return saved, net


@layout("torchvision, a bare state_dict", "torchvision", "resnet18")
def torchvision_bare() -> Foreign:
    net = torchvision_resnet()
    return state(net), features(net)


@layout("torchvision, the network pickled whole", "torchvision", "resnet18")
def torchvision_whole() -> Foreign:
    net = torchvision_resnet()
    return net, features(net)


@layout("a linear classifier of MoCo's", "torchvision", "resnet18")
def moco_lincls() -> Foreign:
    net = torchvision_resnet()
    return {"epoch": 100, "arch": "resnet18", "state_dict": state(net, "module."), "best_acc1": 67.5}, features(net)
