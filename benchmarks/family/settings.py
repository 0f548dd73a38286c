"""What is compared: one network, and for each method four settings, of which held-out training images choose one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from cpchub_training import recipes
from cpchub_training.recipes import CMCSettings, Recipe
from cpchub_training.recipes.cpc_settings import CPCSettings
from cpchub_training.views.settings import NO_PATCH_VIEWS, PatchViews

# A ResNet of four blocks behind a 3x3 stem. CPC shows it 3 x 3 patches of 16 pixels, relative position patches of 8,
# every other method the whole image.
ARCHITECTURE = "cpc_resnet18_small"
NETWORK: dict[str, Any] = {
    "layers": [1, 1, 1, 1],
    "channels": [16, 32, 64, 128],
    "stem_chs": 16,
    "norm_layer": "batchnorm2d",
}
PATCHES = {"patch_size": 16, "patch_stride": 8}
BATCH = 128
UNTRAINED = "untrained"

TITLES = {
    "instdisc": "InstDisc",
    "inva_spread": "InvaSpread",
    "cmc": "CMC, L and ab",
    "moco_v1": "MoCo v1",
    "moco_v2": "MoCo v2",
    "simclr": "SimCLR v1",
    "simclr_v2": "SimCLR, head of v2",
    "cpc_v1": "CPC v1",
    "cpc_v2": "CPC v2",
    "sup_con": "SupCon",
    "rotation": "rotation",
    "exemplar": "exemplar",
    "relative_position": "relative position",
    "supervised": "supervised",
    UNTRAINED: "untrained",
}
WITH_LABELS = ("sup_con", "supervised")
_RECIPES = {
    "simclr": "simclr_resnet18_cifar10_200e",
    "simclr_v2": "simclr_resnet18_cifar10_200e",
    "moco_v1": "moco_v2_resnet18_cifar10_200e",
    "moco_v2": "moco_v2_resnet18_cifar10_200e",
    "sup_con": "supcon_resnet18_cifar10_200e",
    "cpc_v1": "cpc_cifar10_cpu",
    "cpc_v2": "cpc_cifar10_cpu",
}
# Of each method two values of two fields, or four of one: four settings each.
_GRIDS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "instdisc": {"lr": (0.03, 0.1), "temperature": (0.1, 0.2)},
    "inva_spread": {"lr": (0.03, 0.1), "temperature": (0.1, 0.2)},
    "cmc": {"lr": (0.03, 0.1), "temperature": (0.1, 0.2)},
    "moco_v1": {"lr": (0.05, 0.15), "temperature": (0.1, 0.2)},
    "moco_v2": {"lr": (0.05, 0.15), "temperature": (0.1, 0.2)},
    "simclr": {"lr": (0.1, 0.3), "temperature": (0.1, 0.3)},
    "simclr_v2": {"lr": (0.1, 0.3), "temperature": (0.1, 0.3)},
    "cpc_v1": {"lr": (1e-3, 3e-3), "emb_scale": (0.1, 1.0)},
    "cpc_v2": {"lr": (1e-3, 3e-3), "emb_scale": (0.1, 1.0)},
    "sup_con": {"lr": (1e-3, 3e-3), "temperature": (0.1, 0.2)},
    "rotation": {"lr": (0.01, 0.03, 0.1, 0.3)},
    "exemplar": {"lr": (0.01, 0.03, 0.1, 0.3)},
    "relative_position": {"lr": (0.01, 0.03, 0.1, 0.3)},
    "supervised": {"lr": (0.01, 0.03, 0.1, 0.3)},
}


def settings_of(method: str) -> list[dict[str, Any]]:
    """The four settings of a method, as the fields that they change; none for the untrained network."""
    grid = _GRIDS.get(method, {})
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())] if grid else []


def recipe_of(method: str, setting: Mapping[str, Any], seed: int = 0) -> Recipe:
    """The method's CIFAR-10 recipe with the common network, a constant rate, and the average of weights at the end.

    A constant rate, because then no step depends on the length, and the same processor time is exact for each method.
    """
    source = "simclr" if method == UNTRAINED else method
    recipe = recipes.get(_RECIPES.get(source, f"{source}_resnet18_cifar10_200e"))
    common = replace(
        recipe,
        name=f"family_{method}",
        **_network(method),
        views=replace(recipe.views, size=32),
        input_size=32,
        epochs=100_000,
        batch_size=BATCH,
        warmup_epochs=0.3,
        schedule="constant",
        ema_decay=0.99,
        moco=replace(recipe.moco, queue_size=2048),
        precision="fp32",
        compile=False,
        knn_every=0,
        checkpoint_minutes=1e6,  # only where a slice ends, so that its processor time is known
        seed=seed,
    )
    own = replace(common, **_OWN.get(method, {}))
    changes = dict(setting)
    if "emb_scale" in changes:
        changes["cpc"] = replace(own.cpc, emb_scale=changes.pop("emb_scale"))
    return replace(own, **changes)


def _network(method: str) -> dict[str, Any]:
    if method == "cmc":
        paths = {"path": ARCHITECTURE, "path_args": NETWORK, "space": "lab"}
        return {"backbone": "colour_paths", "backbone_args": paths}
    patches = PATCHES if method.startswith("cpc") else {}
    return {"backbone": ARCHITECTURE, "backbone_args": {**NETWORK, **patches}}


# What differs from the method's own recipe beside its network: version 1 of MoCo and CPC, the head of SimCLR v2, CMC's
# negatives in the batch (a bank is renewed once an epoch, too seldom for so few), and SupCon's optimiser (its head has
# no batch norm).
_OWN: Mapping[str, Mapping[str, Any]] = {
    "moco_v1": {"method": "moco_v1"},
    "simclr_v2": {"projector_layers": 3},
    "cmc": {"cmc": CMCSettings(negatives="batch")},
    "sup_con": {"optimizer": "adamw"},
    "cpc_v1": {
        "method": "cpc_v1",
        "cpc": CPCSettings(
            directions=1,
            target_dim=0,
            group=0,
            context_blocks=2,
            context_width=64,
            patches=replace(NO_PATCH_VIEWS, jitter=2),
        ),
    },
    "cpc_v2": {
        "cpc": CPCSettings(
            group=0,
            context_blocks=2,
            context_width=64,
            patches=PatchViews(operations=0, elastic_p=0.0, histogram_p=0.0),
        )
    },
}
