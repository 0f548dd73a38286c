"""CPC: the papers' settings for ImageNet, small images on one GPU, a part of CIFAR-10 on a CPU, and sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
from cpchub_training.recipes.cpc_settings import AudioSettings, CPCSettings
from cpchub_training.recipes.recipe import Recipe
from cpchub_training.recipes.registry import recipe
from cpchub_training.views.settings import NO_PATCH_VIEWS, PatchViews, Views

_CROP_AND_FLIP: dict[str, Any] = {"jitter_p": 0.0, "grey_p": 0.0}  # colours are changed patch by patch
_IMAGENET: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


@recipe
def cpc_resnet161_imagenet() -> Recipe:
    """CPC v2 as in its later versions: 6 x 6 patches of 80 pixels in four directions, 71.5 % linear in the paper.

    Optimiser of the paper: Adam(0.8, 0.999), 4e-4, gradients no longer than 0.01, Polyak average 0.9999, batch 512 of
    32 workers with 16 images each. The paper states no weight decay and no schedule; 200 epochs are likely.
    """
    return Recipe(
        "cpc_resnet161_imagenet",
        method="cpc_v2",
        backbone="cpc_resnet161",
        backbone_args={"patch_size": 80, "patch_stride": 36},
        data="",  # the folder of ImageNet's training images, given with --images
        stored_size=300,
        views=Views(size=260, crop_scale=(0.75, 0.75), crop_ratio=(1.0, 1.0), **_CROP_AND_FLIP),
        n_views=1,
        input_size=260,
        **_IMAGENET,
        epochs=200,
        batch_size=512,
        accumulate=16,
        optimizer="adam",
        lr=4e-4,
        momentum=0.8,
        weight_decay=0.0,
        clip_norm=0.01,
        ema_decay=0.9999,
        warmup_epochs=0,
        schedule="constant",
        cpc=CPCSettings(checkpoint_activations=True),
        precision="bf16",
        knn_every=0,
    )


@recipe
def cpc_resnet170_imagenet() -> Recipe:
    """CPC v2 as in its first version: 7 x 7 patches of 64 pixels, from above to below, 61.0 % linear in the paper.

    350,000 steps at batch 512 are 140 epochs. That version does not state its patches; they are CPC v1's.
    """
    return replace(
        cpc_resnet161_imagenet(),
        name="cpc_resnet170_imagenet",
        backbone="cpc_resnet170",
        backbone_args={"patch_size": 64, "patch_stride": 32},
        views=Views(size=256, crop_scale=(0.73, 0.73), crop_ratio=(1.0, 1.0), **_CROP_AND_FLIP),
        input_size=256,
        epochs=140,
        cpc=CPCSettings(directions=1, patches=replace(NO_PATCH_VIEWS, drop_colours_p=1.0), checkpoint_activations=True),
    )


@recipe
def cpc_resnet50_imagenet() -> Recipe:
    """The smaller encoder of the later versions, 63.8 % linear in the paper."""
    return replace(cpc_resnet161_imagenet(), name="cpc_resnet50_imagenet", backbone="cpc_resnet50", accumulate=4)


@recipe
def cpc_v1_resnet101_imagenet() -> Recipe:
    """CPC v1: grey images, no norm, a PixelCNN, up to five rows ahead, 48.7 % linear in the paper."""
    return replace(
        cpc_resnet170_imagenet(),
        name="cpc_v1_resnet101_imagenet",
        method="cpc_v1",
        backbone="cpc_resnet101",
        backbone_args={"patch_size": 64, "patch_stride": 32, "norm_layer": "none"},
        views=Views(size=256, crop_scale=(0.73, 0.73), crop_ratio=(1.0, 1.0), jitter_p=0.0, grey_p=1.0),
        lr=2e-4,
        momentum=0.9,
        clip_norm=0.0,
        ema_decay=0.0,
        accumulate=8,
        cpc=CPCSettings(
            directions=1, offsets=5, target_dim=0, emb_scale=1.0, patches=replace(NO_PATCH_VIEWS, jitter=4)
        ),
    )


@recipe
def cpc_resnet18_cifar10() -> Recipe:
    """CPC v2 on CIFAR-10 for one GPU: 7 x 7 patches of 8 pixels, four directions."""
    return Recipe(
        "cpc_resnet18_cifar10",
        method="cpc_v2",
        backbone="cpc_resnet18_small",
        backbone_args={"patch_size": 8, "patch_stride": 4},
        views=Views(crop_scale=(0.6, 1.0), **_CROP_AND_FLIP),
        n_views=1,
        epochs=200,
        batch_size=256,
        optimizer="adam",
        lr=4e-4,
        momentum=0.8,
        weight_decay=0.0,
        clip_norm=0.1,
        ema_decay=0.999,
        warmup_epochs=5,
        cpc=CPCSettings(group=64),
        precision="bf16",
        compile=True,
    )


@recipe
def cpc_resnet18_folder64() -> Recipe:
    """CPC v2 for folders of images of some 96 pixels (STL-10's size): 7 x 7 patches of 16 pixels in crops of 64."""
    return replace(
        cpc_resnet18_cifar10(),
        name="cpc_resnet18_folder64",
        backbone_args={"patch_size": 16, "patch_stride": 8},
        data="",  # given with --images
        stored_size=96,
        views=Views(size=64, crop_scale=(0.3, 1.0), **_CROP_AND_FLIP),
        input_size=64,
        **_IMAGENET,
        epochs=100,
        batch_size=128,
    )


@recipe
def cpc_cifar10_cpu() -> Recipe:
    """CPC v2 on a slice of CIFAR-10 in minutes on two CPU cores: 3 x 3 patches of 16 pixels, a network of 4 blocks.

    What so few steps can learn: only the cheap half of the patch augmentations, and predictions at full scale.
    """
    return replace(
        cpc_resnet18_cifar10(),
        name="cpc_cifar10_cpu",
        backbone_args={
            "patch_size": 16,
            "patch_stride": 8,
            "layers": [1, 1, 1, 1],
            "channels": [16, 32, 64, 128],
            "stem_chs": 16,
        },
        epochs=20,
        batch_size=32,
        lr=3e-3,
        ema_decay=0.99,
        warmup_epochs=0.3,
        cpc=CPCSettings(
            group=0,
            emb_scale=1.0,
            context_blocks=2,
            context_width=64,
            patches=PatchViews(operations=0, elastic_p=0.0, histogram_p=0.0),
        ),
        precision="fp32",
        compile=False,
        knn_every=1,
    )


@recipe
def cpc_small_cifar10_cpu() -> Recipe:
    """CPC v2 on CIFAR-10 in some hours on a CPU: `cpc_cifar10_cpu` with 256 features, all images, and batch norm.

    Batch norm because it measured better there (`benchmarks/cpc_ablation.py`). Nothing before the cooldown depends on
    the length, so that it may be chosen while it runs.
    """
    small = cpc_cifar10_cpu()
    return replace(
        small,
        name="cpc_small_cifar10_cpu",
        backbone_args={**small.backbone_args, "channels": [16, 32, 96, 256], "norm_layer": "batchnorm2d"},
        epochs=12,
        batch_size=64,
        schedule="trapezoid",
        checkpoint_minutes=3,
    )


@recipe
def cpc_cifar10_short() -> Recipe:
    """CPC v2 on CIFAR-10 in ten minutes on two CPU cores: `cpc_small_cifar10_cpu`, two epochs."""
    return replace(cpc_small_cifar10_cpu(), name="cpc_cifar10_short", epochs=2)


@recipe
def cpc_audio_librispeech() -> Recipe:
    """CPC on the 100 hours of LibriSpeech: speaker 97.4 %, phones 64.6 % linear in the paper; some 300,000 steps.

    `--recordings` is the folder `train-clean-100`. The paper's batch is 8 windows on each of 8 GPUs. In float32, since
    mixed precision would run cuDNN's GRU in float16, where gradients this small are rounded away.
    """
    return Recipe(
        "cpc_audio_librispeech",
        method="cpc_audio",
        backbone="cpc_audio",
        data="",
        n_views=1,
        epochs=675,
        batch_size=64,
        optimizer="adam",
        lr=2e-4,
        momentum=0.9,
        weight_decay=0.0,
        warmup_epochs=0,
        schedule="constant",
        knn_every=0,
    )


@recipe
def cpc_audio_fsdd() -> Recipe:
    """CPC on spoken digits (8 kHz) on two CPU cores: steps of 10 ms as in the paper, a quarter of its width."""
    return replace(
        cpc_audio_librispeech(),
        name="cpc_audio_fsdd",
        backbone_args={
            "channels": 128,
            "context": 256,
            "strides": [5, 4, 2, 2, 1],
            "kernels": [10, 8, 4, 4, 3],
            "paddings": [2, 2, 2, 2, 1],
        },
        data="fsdd",
        epochs=30,
        batch_size=16,
        lr=2e-3,
        clip_norm=1.0,
        schedule="cosine",
        warmup_epochs=1,
        audio=AudioSettings(sample_rate=8000, window=2560),
    )
