"""ImageNet with the settings of the papers and their official code, one recipe per method. `--images` names the folder.

Batches are those of the papers, over all ranks: start them with `torchrun --nproc-per-node N -m cpchub train NAME`.
Images are streamed, and views are made of the full images on the CPU, as official code does; `--views-on device`
is faster, from squares of `stored_size` pixels.
"""

from __future__ import annotations

import math
from dataclasses import replace

from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
from cpchub_training.recipes.method_settings import BankSettings, MoCoSettings
from cpchub_training.recipes.recipe import Recipe
from cpchub_training.recipes.registry import recipe
from cpchub_training.views.settings import Views

_JITTER_OF_2018 = Views(  # InstDisc and MoCo v1: grey, then jitter always
    size=224,
    crop_scale=(0.2, 1.0),
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.4,
    jitter_p=1.0,
    grey_first=True,
)


def _base(name: str) -> Recipe:
    return Recipe(
        name,
        data="",
        stored_size=256,
        views_on="cpu",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        input_size=224,
        backbone="resnet50",
        projector_hidden=2048,
        momentum=0.9,
        nesterov=False,
        precision="bf16",
        compile=True,
        knn_every=0,
        checkpoint_minutes=15,
    )


@recipe
def simclr_resnet50_imagenet() -> Recipe:
    """SimCLR: batch 4096, LARS 0.3 * 4096/256, weight decay 1e-6, 1,000 epochs; 69.3 % linear in the paper.

    google-research/simclr reports twice this loss, which LARS does not notice.
    """
    return replace(
        _base("simclr_resnet50_imagenet"),
        method="simclr",
        backbone="simclr_resnet50_1x",
        views=Views(
            size=224,
            crop_scale=(0.08, 1.0),
            brightness=0.8,
            contrast=0.8,
            saturation=0.8,
            hue=0.2,
            blur_p=0.5,
            interpolation="bicubic",
        ),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        optimizer="lars",
        epochs=1000,
        batch_size=4096,
        lr=0.3 * 4096 / 256,
        weight_decay=1e-6,
        warmup_epochs=10,
        temperature=0.1,
    )


@recipe
def simclr_v2_resnet50_imagenet() -> Recipe:
    """SimCLR v2: a head of three layers, 0.1 sqrt(4096), weight decay 1e-4, 800 epochs; 71.7 % linear."""
    return replace(
        simclr_resnet50_imagenet(),
        name="simclr_v2_resnet50_imagenet",
        projector_layers=3,
        lr=0.1 * math.sqrt(4096),
        weight_decay=1e-4,
        epochs=800,
    )


@recipe
def simclr_v2_resnet152_3x_sk_imagenet() -> Recipe:
    """SimCLR v2's largest network, 795 M parameters with selective kernels; 79.8 % linear."""
    return replace(
        simclr_v2_resnet50_imagenet(),
        name="simclr_v2_resnet152_3x_sk_imagenet",
        backbone="simclr_resnet152_3x_sk",
        projector_hidden=6144,
    )


@recipe
def moco_v1_resnet50_imagenet() -> Recipe:
    """MoCo: a queue of 65,536, batch 256 on 8 GPUs, weight decay on all parameters; 60.6 % linear."""
    return replace(
        _base("moco_v1_resnet50_imagenet"),
        method="moco_v1",
        views=_JITTER_OF_2018,
        batch_size=256,
        epochs=200,
        lr=0.03,
        weight_decay=1e-4,
        decay_all=True,
        warmup_epochs=0,
        schedule="steps",
        temperature=0.07,
        moco=MoCoSettings(queue_size=65536, key_momentum=0.999),
    )


@recipe
def moco_v2_resnet50_imagenet() -> Recipe:
    """MoCo v2: a head of two layers, blur, cosine; 67.5 % linear after 200 epochs, 71.1 % after 800."""
    return replace(
        moco_v1_resnet50_imagenet(),
        name="moco_v2_resnet50_imagenet",
        method="moco_v2",
        views=Views(size=224, crop_scale=(0.2, 1.0), blur_p=0.5),
        schedule="cosine",
        temperature=0.2,
    )


@recipe
def moco_v2_resnet50_imagenet_800e() -> Recipe:
    return replace(moco_v2_resnet50_imagenet(), name="moco_v2_resnet50_imagenet_800e", epochs=800)


@recipe
def instdisc_resnet50_imagenet() -> Recipe:
    """InstDisc: 4,096 negatives of noise-contrastive estimation; kNN 46.8 % for the released network."""
    return replace(
        moco_v1_resnet50_imagenet(),
        name="instdisc_resnet50_imagenet",
        method="instdisc",
        n_views=1,
        bank=BankSettings(negatives=4096, momentum=0.5),
    )


@recipe
def inva_spread_resnet50_imagenet() -> Recipe:
    """InvaSpread, of which the authors give no settings for ImageNet: InstDisc's, with its own T and step factors."""
    return replace(
        instdisc_resnet50_imagenet(),
        name="inva_spread_resnet50_imagenet",
        method="inva_spread",
        n_views=2,
        bank=BankSettings(),
        temperature=0.1,
        steps=((0.6, 0.1), (0.8, 0.05)),
    )


@recipe
def cmc_resnet50_imagenet() -> Recipe:
    """CMC on L and ab, two ResNet-50 of full width, with crops and flips: 16,384 negatives, 240 epochs."""
    return replace(
        instdisc_resnet50_imagenet(),
        name="cmc_resnet50_imagenet",
        method="cmc",
        backbone="cmc_resnet50_v2",
        views=Views(size=224, crop_scale=(0.2, 1.0), jitter_p=0.0, grey_p=0.0),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        bank=BankSettings(negatives=16384),
        epochs=240,
        steps=((120 / 240, 0.1), (160 / 240, 0.01), (200 / 240, 0.001)),
    )


@recipe
def supcon_resnet50_imagenet() -> Recipe:
    """SupCon: batch 6144, T 0.1; 78.7 % in the paper, with AutoAugment, which is MoCo v2's jitter here.

    The rate follows SimCLR's rule, 0.3 * B/256; the paper does not state its own.
    """
    return replace(
        simclr_resnet50_imagenet(),
        name="supcon_resnet50_imagenet",
        method="sup_con",
        views=Views(size=224, crop_scale=(0.2, 1.0), blur_p=0.5),
        batch_size=6144,
        lr=0.3 * 6144 / 256,
        weight_decay=1e-4,
        epochs=700,
    )
