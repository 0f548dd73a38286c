"""Recipes for two CPU cores: minutes for the quickstarts, hours for CIFAR-10."""

from __future__ import annotations

from dataclasses import replace

from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
from cpchub_training.recipes.method_settings import MoCoSettings
from cpchub_training.recipes.recipe import Recipe
from cpchub_training.recipes.registry import recipe
from cpchub_training.views.settings import Views


@recipe
def simclr_resnet18_w32_cifar10_cpu() -> Recipe:
    """SimCLR on CIFAR-10 in some hours on two CPU cores, with a network that plain timm can build.

    Half-width ResNet-18 behind timm's own stem. Images are shown to it enlarged: views of 48 pixels in training, 64
    pixels afterwards, because random crops make things look larger in training (arXiv 1906.06423).
    The trapezoid allows the length to be chosen while it runs: nothing before the cooldown depends on it.
    """
    return Recipe(
        "simclr_resnet18_w32_cifar10_cpu",
        backbone="resnet18",
        backbone_args={"channels": [32, 64, 128, 256], "stem_type": "deep", "stem_width": 16},
        views=Views(size=48, grey_p=0.1),
        input_size=64,
        epochs=20,
        batch_size=256,
        lr=0.2,
        warmup_epochs=0.5,
        schedule="trapezoid",
        temperature=0.2,
        knn_every=1,
        checkpoint_minutes=3,
    )


@recipe
def simclr_resnet18_w32_cifar10_cpu_fast() -> Recipe:
    """SimCLR on CIFAR-10 in minutes on two CPU cores: the least time to 55 % kNN, not the best encoder.

    The network of `simclr_resnet18_w32_cifar10_cpu` on views of 32 pixels, the first ones of 24, in bfloat16 where the
    CPU has it. The rate rises and falls once. `benchmarks/fast_choice.py` compares the settings on held-out training
    images; `benchmarks/minutes_to_knn.py` takes the time.
    """
    return replace(
        simclr_resnet18_w32_cifar10_cpu(),
        name="simclr_resnet18_w32_cifar10_cpu_fast",
        views=Views(size=32, grey_p=0.1),
        early_sizes=((0.4, 24),),
        input_size=40,
        epochs=8,
        lr=0.4,
        warmup_epochs=1.6,
        cooldown=0.8,
        temperature=0.1,
        precision="bf16",
        knn_every=8,
    )


@recipe
def moco_v2_resnet18_w32_cifar10_cpu() -> Recipe:
    """MoCo v2 on CIFAR-10 in some hours on a CPU: the network of SimCLR's, views of 40 pixels, images of 56.

    Temperature of the paper; the queue and the momentum of its encoder suit some thousand steps. The length may be
    chosen while it runs, as for SimCLR's.
    """
    return replace(
        simclr_resnet18_w32_cifar10_cpu(),
        name="moco_v2_resnet18_w32_cifar10_cpu",
        method="moco_v2",
        views=Views(size=40, grey_p=0.1),
        input_size=56,
        epochs=15,
        lr=0.1,
        moco=MoCoSettings(queue_size=4096, key_momentum=0.99, symmetric=True),
    )


@recipe
def simclr_cifar10_short() -> Recipe:
    """SimCLR on CIFAR-10 in ten minutes on two CPU cores: `simclr_resnet18_w32_cifar10_cpu`, three epochs."""
    return replace(simclr_resnet18_w32_cifar10_cpu(), name="simclr_cifar10_short", epochs=3, precision="bf16")


@recipe
def moco_v2_cifar10_short() -> Recipe:
    """MoCo v2 on CIFAR-10 in ten minutes on two CPU cores: `moco_v2_resnet18_w32_cifar10_cpu`, three epochs."""
    return replace(moco_v2_resnet18_w32_cifar10_cpu(), name="moco_v2_cifar10_short", epochs=3, precision="bf16")


@recipe
def simclr_digits() -> Recipe:
    """A minute on two CPU cores: scikit-learn's digits, a ten-layer ResNet with 128 features, views of handwriting.

    The temperature is high because so few images are soon told apart; flips and colours would change the digit.
    """
    return Recipe(
        "simclr_digits",
        backbone="resnet18",
        backbone_args={"layers": [1, 1, 1, 1], "channels": [32, 64, 128, 128], "stem_type": "deep", "stem_width": 16},
        data="digits",
        stored_size=8,
        views=Views(
            size=16,
            crop_scale=(0.7, 1.2),
            padding="zeros",
            flip=0.0,
            jitter_p=0.0,
            grey_p=0.0,
            gamma=0.5,
            rotation=15,
            shear=15,
            elastic=0.05,
        ),
        input_size=16,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        epochs=80,
        batch_size=128,
        optimizer="adamw",
        lr=2e-3,
        warmup_epochs=2,
        temperature=1.0,
        weight_decay=0.01,
    )


@recipe
def simclr_photos_quickstart() -> Recipe:
    """Two minutes on two CPU cores for a folder of photos: quarter-width ResNet-10, views of 48 pixels."""
    return Recipe(
        "simclr_photos_quickstart",
        backbone="resnet18",
        backbone_args={"layers": [1, 1, 1, 1], "channels": [32, 64, 96, 128], "stem_type": "deep", "stem_width": 16},
        data="",  # given with --images
        stored_size=64,
        views=Views(size=48, grey_p=0.1),
        input_size=64,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        epochs=30,
        batch_size=128,
        lr=0.2,
        warmup_epochs=1,
        temperature=0.2,
    )


@recipe
def simclr_photos() -> Recipe:
    """SimCLR on photos of 64 pixels, for days on one core of a CPU: made for Tiny-ImageNet and CIFAR-10 together.

    The widest ResNet-18 behind timm's stem that stays below 25 MB in float32: only its last stage is narrowed. Days are
    long enough for it, where minutes were not. The other settings were chosen by short runs of equal processor time on
    images held out of training (`benchmarks/photos_choice.py`): a temperature of 0.1, and the term that keeps colours
    in the features, which jitter teaches them to forget; weaker jitter cost more than it gave.
    The length may be chosen while it runs, until the trapezoid cools down; the average of the weights is what is
    exported.
    """
    return replace(
        simclr_photos_quickstart(),
        name="simclr_photos",
        backbone_args={"channels": [64, 128, 256, 256], "stem_type": "deep", "stem_width": 32},
        epochs=200,
        batch_size=256,
        ema_decay=0.999,
        warmup_epochs=0.5,
        schedule="trapezoid",
        temperature=0.1,
        colour_weight=0.3,
        precision="bf16",
        knn_every=1,
        checkpoint_minutes=4,
    )
