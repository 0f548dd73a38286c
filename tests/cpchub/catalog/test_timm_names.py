"""DINO and DINOv2 by short names: timm's own files are loaded, and nothing is converted."""

from __future__ import annotations

from typing import Any

import pytest
import timm

import cpchub
from cpchub.catalog.listing import get_spec, list_specs
from cpchub.catalog.timm_names import TIMM_NAMES, timm_name
from cpchub.encoders import network
from cpchub.errors import UnknownModelError


def test_timm_has_each_of_them_with_weights() -> None:
    assert set(TIMM_NAMES.values()) <= set(timm.list_pretrained("*dino*"))


def test_they_stand_in_no_ones_way() -> None:
    entries = {name for spec in list_specs() for name in (spec.name, *spec.aliases)}
    assert not entries & set(TIMM_NAMES)
    assert not [name for name in TIMM_NAMES if timm.is_model(name)]


@pytest.mark.parametrize("name", ["dinov2-vits14", "DINOv2_ViTs14", "dinov2-vit-small"])
def test_hyphens_underscores_and_capitals_are_alike(name: str) -> None:
    assert timm_name(name) == "vit_small_patch14_dinov2.lvd142m"


def test_load_hands_the_name_to_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def tiny(name: str, pretrained: bool, *_: Any) -> Any:
        asked.append((name, pretrained))
        return whole("resnet18", False, None, {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]})

    whole = network.build_timm
    monkeypatch.setattr(network, "build_timm", tiny)
    cpchub.load("dino-vitb8")
    assert asked == [("vit_base_patch8_224.dino", True)]


def test_where_an_entry_of_our_own_is_needed_it_is_said_whose_it_is() -> None:
    with pytest.raises(UnknownModelError, match=r"dino-vits16 is timm's vit_small_patch16_224\.dino"):
        get_spec("dino-vits16")
    with pytest.raises(UnknownModelError, match="did you mean 'dinov2-vits14"):
        get_spec("dinov2-vits12")
