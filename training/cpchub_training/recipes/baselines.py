"""Baselines for CPC v2, on CIFAR-10: pretext tasks and semi-supervised learning.

The papers' settings are for other networks. These recipes use the optimiser of `simclr_resnet18_cifar10_200e` and the
loss of each method.
"""

from __future__ import annotations

from dataclasses import replace

from cpchub_training.recipes.cifar10 import simclr_resnet18_cifar10_200e
from cpchub_training.recipes.method_settings import SemiSupervisedSettings
from cpchub_training.recipes.recipe import Recipe
from cpchub_training.recipes.registry import recipe
from cpchub_training.views.settings import Views

_CROP_AND_FLIP = Views(crop_scale=(0.5, 1.0), jitter_p=0.0, grey_p=0.0)


@recipe
def supervised_resnet18_cifar10_200e() -> Recipe:
    """With all labels: crops and flips."""
    return replace(
        simclr_resnet18_cifar10_200e(),
        name="supervised_resnet18_cifar10_200e",
        method="supervised",
        views=_CROP_AND_FLIP,
        n_views=1,
        batch_size=128,
        lr=0.1,
    )


@recipe
def rotation_resnet18_cifar10_200e() -> Recipe:
    """Rotation: each image in its four rotations, crops and flips."""
    return replace(
        simclr_resnet18_cifar10_200e(),
        name="rotation_resnet18_cifar10_200e",
        method="rotation",
        views=_CROP_AND_FLIP,
        n_views=1,
        batch_size=128,
        lr=0.1,
    )


@recipe
def exemplar_resnet18_cifar10_200e() -> Recipe:
    """Exemplar: 50,000 classes of one image, SimCLR's views."""
    return replace(
        simclr_resnet18_cifar10_200e(),
        name="exemplar_resnet18_cifar10_200e",
        method="exemplar",
        views=Views(),
        n_views=1,
        batch_size=256,
        lr=0.1,
    )


@recipe
def relative_position_resnet18_cifar10_200e() -> Recipe:
    """Relative position: patches of 8 pixels out of views of 32; grey half of the time, as colours give it away."""
    return replace(
        simclr_resnet18_cifar10_200e(),
        name="relative_position_resnet18_cifar10_200e",
        method="relative_position",
        views=Views(crop_scale=(0.7, 1.0), jitter_p=0.0, grey_p=0.5),
        n_views=1,
        batch_size=256,
        lr=0.1,
    )


@recipe
def pseudo_label_resnet18_cifar10_200e() -> Recipe:
    """Pseudo-labels with 1 % of the labels; guesses count from 95 % on."""
    return replace(
        simclr_resnet18_cifar10_200e(),
        name="pseudo_label_resnet18_cifar10_200e",
        method="pseudo_label",
        views=_CROP_AND_FLIP,
        n_views=1,
        batch_size=256,
        lr=0.1,
        semi=SemiSupervisedSettings(label_fraction=0.01),
    )


@recipe
def entropy_minimization_resnet18_cifar10_200e() -> Recipe:
    """Entropy minimisation with 1 % of the labels, at a weight of 0.1."""
    return replace(
        pseudo_label_resnet18_cifar10_200e(),
        name="entropy_minimization_resnet18_cifar10_200e",
        method="entropy_minimization",
        semi=SemiSupervisedSettings(label_fraction=0.01, unlabelled_weight=0.1),
    )


@recipe
def vat_resnet18_cifar10_200e() -> Recipe:
    """VAT with 1 % of the labels and entropy minimisation beside it; images are normalised by mean and std."""
    return replace(
        pseudo_label_resnet18_cifar10_200e(),
        name="vat_resnet18_cifar10_200e",
        method="vat",
        compile=False,  # its loss computes a gradient, which torch.compile cannot trace
        semi=SemiSupervisedSettings(label_fraction=0.01, adversarial_length=6.0, entropy_weight=0.1),
    )


@recipe
def uda_resnet18_cifar10_200e() -> Recipe:
    """UDA with 1 % of the labels: certainty 0.8, T 0.4; the strong view is SimCLR's, RandAugment in the paper."""
    return replace(
        pseudo_label_resnet18_cifar10_200e(),
        name="uda_resnet18_cifar10_200e",
        method="uda",
        views=Views(crop_scale=(0.4, 1.0)),
        n_views=2,
        temperature=0.4,
        semi=SemiSupervisedSettings(label_fraction=0.01, certainty=0.8),
    )
