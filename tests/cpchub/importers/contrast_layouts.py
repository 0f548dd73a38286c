"""Checkpoints of SwAV's and SimSiam's authors, of PyContrast and of SupCon's ImageNet encoder; more layouts."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpchub.architectures.colour_spaces import cmc_ydbdr
from tests.cpchub.foreign_checkpoints import CmcResNet18, features, head, state, torchvision_resnet, trained
from tests.cpchub.importers.layouts import LAYOUTS, Foreign, layout

CONTRAST_LAYOUTS = LAYOUTS  # with those of this module


def swav(prototypes: nn.Module) -> Foreign:
    """src/resnet50.py: a layer pads the image by 1 and the stem by 2, where torchvision's stem pads by 3."""
    net = torchvision_resnet(bottleneck=True)
    net.conv1.padding = (2, 2)
    projection = nn.Sequential(nn.Linear(128, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
    del net.fc
    entries = {**state(net, "module."), **state(projection, "module.projection_head.")}
    net.fc = nn.Identity()
    return {**entries, **state(prototypes, "module.prototypes.")}, lambda x: net(F.pad(x, (1, 1, 1, 1)))


def several_prototypes() -> nn.Module:
    """MultiPrototypes of src/resnet50.py."""
    return nn.ModuleDict({f"prototypes{index}": nn.Linear(8, 12, bias=False) for index in range(3)})


@layout("SwAV of its authors", "swav", "resnet50")
def swav_of_its_authors() -> Foreign:
    return swav(nn.Linear(8, 12, bias=False))


@layout("DeepCluster v2", "swav", "resnet50")
def deepcluster_v2() -> Foreign:
    return swav(several_prototypes())


@layout("SwAV, as its training saves it", "swav", "resnet50")
def swav_in_training() -> Foreign:
    entries, forward = swav_of_its_authors()
    return {"epoch": 800, "state_dict": entries, "optimizer": {}, "amp": {"loss_scaler0": {"loss_scale": 1.0}}}, forward


@layout("SimSiam", "simsiam", "resnet18")
def simsiam() -> Foreign:
    """simsiam/builder.py: three layers stand in the place of fc, the last with a norm that learns nothing."""
    net = torchvision_resnet(num_classes=8)
    net.fc = nn.Sequential(
        *(nn.Linear(32, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU()),
        *(nn.Linear(32, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU()),
        *(nn.Linear(32, 8), nn.BatchNorm1d(8, affine=False)),
    )
    entries = {**state(net, "module.encoder."), **state(head(8, 4, 8), "module.predictor.")}
    return {"epoch": 100, "arch": "resnet18", "state_dict": entries, "optimizer": {}}, features(net)


class JigsawHead(nn.Module):
    """networks/util.py of PyContrast."""

    def __init__(self, mlp: bool) -> None:
        super().__init__()
        self.fc1 = head(32, 32, 8) if mlp else nn.Linear(32, 8)
        self.fc2 = nn.Linear(8 * 9, 8)


def pycontrast(mlp: bool = False, jigsaw: bool = False, **more: Any) -> Foreign:
    """networks/build_backbone.py: RGBSingleHead, or RGBMultiHeads."""
    net: Any = torchvision_resnet()
    del net.fc
    heads = head(32, 32, 8) if mlp else head(32, 8)
    entries = {**state(net, "module.encoder."), **state(heads, "module.head.")}
    net.fc = nn.Identity()
    if jigsaw:
        entries |= state(JigsawHead(mlp), "module.head_jig.")
    return {"model": entries, "epoch": 200, **more}, features(net)


@layout("PyContrast, InsDis with its memory bank", "pycontrast", "resnet18")
def pycontrast_insdis() -> Foreign:
    return pycontrast(contrast={"memory": torch.randn(9, 8)}, optimizer={"state": {}})


@layout("PyContrast, PIRL", "pycontrast", "resnet18")
def pycontrast_pirl() -> Foreign:
    return pycontrast(jigsaw=True)


@layout("PyContrast, InfoMin", "pycontrast", "resnet18")
def pycontrast_infomin() -> Foreign:
    return pycontrast(mlp=True, jigsaw=True)


@layout("SupCon of ImageNet", "pycontrast", "resnet18")
def sup_con_of_imagenet() -> Foreign:
    """SupConResNet of SupContrast on torchvision's network; its head is that of MoCo v2."""
    return pycontrast(mlp=True)


@layout("PyContrast, CMC", "pycontrast", "cmc_resnet18_v1")
def pycontrast_cmc() -> Foreign:
    """CMCSingleHead."""
    first, second = trained(CmcResNet18(1, 32)), trained(CmcResNet18(2, 32))
    del first.fc, second.fc
    entries = {**state(first, "module.encoder1."), **state(second, "module.encoder2.")}
    entries |= {**state(head(256, 8), "module.head1."), **state(head(256, 8), "module.head2.")}

    def forward(x: Tensor) -> Tensor:
        converted = cmc_ydbdr(x)
        return torch.cat([first(converted[:, :1]), second(converted[:, 1:])], 1)

    return {"model": entries, "epoch": 200}, forward
