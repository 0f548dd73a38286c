"""Which settings of a recipe a method reads: `cpchub train RECIPE --help` and an encoder's card show these alone.

A setting that no method claims here is read for all of them. A method that is not in the table has all settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cpchub_training.recipes.cpc_settings import AudioSettings, CPCSettings
from cpchub_training.recipes.method_settings import BankSettings, CMCSettings, MoCoSettings, SemiSupervisedSettings

GROUPS: Mapping[str, type] = {
    "moco": MoCoSettings,
    "bank": BankSettings,
    "cmc": CMCSettings,
    "semi": SemiSupervisedSettings,
    "cpc": CPCSettings,
    "audio": AudioSettings,
}


def _all_of(group: str) -> tuple[str, ...]:
    return tuple(f"{group}.{field.name}" for field in fields(GROUPS[group]))


_HEAD = ("projector_hidden", "projector_dim", "temperature")
_LINEAR_HEAD = ("projector_dim", "temperature")
_FEW_LABELS = ("semi.label_fraction", "semi.labelled_share", "semi.unlabelled_weight")
_BANK = ("bank.negatives", "bank.momentum", "bank.start")
_IMAGES = (
    "views",
    "early_sizes",
    "n_views",
    "plain_views",
    "stored_size",
    "stream",
    "image_cache",
    "views_on",
    "input_size",
    "mean",
    "std",
)

_OF_METHODS: Mapping[str, tuple[str, ...]] = {
    "simclr": (*_HEAD, "projector_layers", "decoupled", "colour_weight"),
    "moco_v1": (*_HEAD, *_all_of("moco")),
    "moco_v2": (*_HEAD, *_all_of("moco")),
    "instdisc": (*_LINEAR_HEAD, *_BANK, "bank.proximal"),
    "inva_spread": _LINEAR_HEAD,
    "cmc": (*_LINEAR_HEAD, *_BANK, *_all_of("cmc")),
    "sup_con": _HEAD,
    "supervised": (),
    "rotation": (),
    "exemplar": (),
    "relative_position": ("projector_hidden",),
    "pseudo_label": (*_FEW_LABELS, "semi.certainty"),
    "entropy_minimization": _FEW_LABELS,
    "vat": (*_FEW_LABELS, "semi.adversarial_length", "semi.entropy_weight"),
    "uda": (*_FEW_LABELS, "semi.certainty", "temperature"),
    "cpc_v1": _all_of("cpc"),
    "cpc_v2": _all_of("cpc"),
    "cpc_audio": _all_of("audio"),
    "fine_tune": ("teacher", "head_layers"),
    "distil": ("teacher", "temperature"),
}
METHODS = frozenset(_OF_METHODS)
CLAIMED = frozenset(name for own in _OF_METHODS.values() for name in own)


def not_of(method: str) -> frozenset[str]:
    """The settings that a method does not read, by dotted name: `moco.queue_size`."""
    if method not in _OF_METHODS:
        return frozenset()
    return CLAIMED - set(_OF_METHODS[method]) | frozenset(_IMAGES if method == "cpc_audio" else ())


def only_own(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as `Recipe.to_dict` gives it, without the settings that its method does not read."""
    hidden = not_of(str(recipe["method"]))
    own: dict[str, Any] = {}
    for name, value in recipe.items():
        if name not in GROUPS:
            own |= {name: value} if name not in hidden else {}
        elif of_group := {each: setting for each, setting in value.items() if f"{name}.{each}" not in hidden}:
            own[name] = of_group
    return own
