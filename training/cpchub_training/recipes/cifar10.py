"""CIFAR-10 with ResNet-18 on one GPU, one recipe per method.

Settings that are taken from official code differ from it in two points: momentum is Nesterov's, and norms and biases
have no weight decay.
"""

from __future__ import annotations

from dataclasses import replace

from cpchub_training.recipes.method_settings import MoCoSettings
from cpchub_training.recipes.recipe import Recipe
from cpchub_training.recipes.registry import recipe
from cpchub_training.views.settings import Views


@recipe
def simclr_resnet18_cifar10_200e() -> Recipe:
    """SimCLR on CIFAR-10 for one GPU: github.com/dkobak/simclr-cifar10's settings, grey p 0.1 as in W-MSE.

    The head is SimCLR's, with a batch norm, 512 wide.
    """
    return Recipe("simclr_resnet18_cifar10_200e", views=Views(grey_p=0.1), precision="bf16", compile=True)


@recipe
def simclr_resnet18_cifar10_500e() -> Recipe:
    return replace(simclr_resnet18_cifar10_200e(), name="simclr_resnet18_cifar10_500e", epochs=500, lr=0.06)


@recipe
def moco_v2_resnet18_cifar10_200e() -> Recipe:
    """MoCo v2 on CIFAR-10 for one GPU: settings of the authors' colab demo (symmetric, split batch norm).

    With version 2's head and crops, where the demo has a linear head and torchvision's crops.
    """
    return replace(
        simclr_resnet18_cifar10_200e(),
        name="moco_v2_resnet18_cifar10_200e",
        method="moco_v2",
        views=Views(),
        temperature=0.1,
        moco=MoCoSettings(symmetric=True),
        warmup_epochs=0,
    )


@recipe
def instdisc_resnet18_cifar10_200e() -> Recipe:
    """InstDisc on CIFAR-10: settings of the official code (full softmax, no flip, jitter always)."""
    return Recipe(
        "instdisc_resnet18_cifar10_200e",
        method="instdisc",
        views=Views(flip=0.0, hue=0.4, jitter_p=1.0),
        n_views=1,
        batch_size=128,
        lr=0.03,
        warmup_epochs=0,
        schedule="steps",
        temperature=0.1,
        precision="bf16",
        compile=True,
    )


@recipe
def inva_spread_resnet18_cifar10_200e() -> Recipe:
    """InvaSpread on CIFAR-10: settings of the official code, without its last 101 epochs, which run at lr / 100."""
    return replace(
        instdisc_resnet18_cifar10_200e(),
        name="inva_spread_resnet18_cifar10_200e",
        method="inva_spread",
        views=Views(hue=0.4, jitter_p=1.0),
        n_views=2,
        steps=((0.6, 0.1), (0.8, 0.05)),
    )


@recipe
def cmc_resnet18_cifar10_200e() -> Recipe:
    """CMC on CIFAR-10, L against ab: the optimiser, bank and softmax of InstDisc there, CMC's views (crop and flip).

    The authors give no settings for CIFAR; theirs for ImageNet are T 0.07 and 16,384 negatives.
    """
    return replace(
        instdisc_resnet18_cifar10_200e(),
        name="cmc_resnet18_cifar10_200e",
        method="cmc",
        backbone="colour_paths",
        backbone_args={"path": "resnet18_cifar", "space": "lab"},
        views=Views(jitter_p=0.0, grey_p=0.0),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


@recipe
def supcon_resnet18_cifar10_200e() -> Recipe:
    """SupCon on CIFAR-10: settings of the official code, whose loss is 0.1 / 0.07 times ours, hence lr 0.71 for 0.5."""
    return replace(
        simclr_resnet18_cifar10_200e(),
        name="supcon_resnet18_cifar10_200e",
        method="sup_con",
        views=Views(),
        batch_size=1024,
        lr=0.71,
        weight_decay=1e-4,
        temperature=0.1,
    )
