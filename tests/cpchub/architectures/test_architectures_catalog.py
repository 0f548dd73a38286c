"""The catalog's entries for CPC's encoders, which have no weights: what they state is what the network is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub.catalog.listing import catalog_folder, get_spec, list_models
from cpchub.catalog.spec import CARD, read_json
from cpchub.encoders.load import load
from cpchub.errors import WeightsUnavailableError
from cpchub.hub import card

ENTRIES = ["cpc-resnet50", "cpc-resnet101", "cpc-resnet161", "cpc-resnet170"]
TINY: dict[str, Any] = {"layers": [1, 1, 1], "channels": [8, 16, 32], "bottle_ratio": 0.5, "stem_chs": 8}


@pytest.fixture(autouse=True)
def _only_our_own_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CPCHUB_HUB", raising=False)


def an_image(side: int = 96) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_the_encoders_of_cpc_are_recipes_as_long_as_nobody_has_trained_them() -> None:
    assert set(ENTRIES) <= set(list_models("cpc-resnet*", method="cpc_v2", status="recipe"))


@pytest.mark.parametrize("name", ENTRIES)
class TestEntry:
    def test_its_numbers_are_those_of_the_network(self, name: str) -> None:
        spec = get_spec(name)
        config = read_json(catalog_folder() / name / "config.json")
        with torch.device("meta"):
            model = timm.create_model(spec.architecture, **spec.model_args)
        assert spec.dim == model.num_features
        assert config["cpchub"]["parameters"] == sum(parameter.numel() for parameter in model.parameters())
        patches = {"patch_size": model.patch_size, "patch_stride": model.patch_stride}
        assert patches == {key: spec.model_args[key] for key in patches}
        assert int(spec.input_size[1] / spec.crop_pct) == 300

    def test_its_card_says_that_there_are_no_weights_and_how_to_load_it(self, name: str) -> None:
        text = (catalog_folder() / name / CARD).read_text(encoding="utf-8")
        spec = get_spec(name)
        assert card.front_matter(text)["library_name"] == "timm"
        assert "There are no weights" in text
        assert f'cpchub.load("{name}", pretrained=False)' in text
        assert f"(1, {spec.dim})" in text

    def test_asking_for_its_weights_names_the_two_ways_out(self, name: str) -> None:
        with pytest.raises(WeightsUnavailableError, match=r"(?s)cpchub train.*pretrained=False"):
            load(name)

    def test_it_loads_untrained_and_reads_a_grid_of_patches(self, name: str) -> None:
        encoder = load(name.replace("-", "_"), pretrained=False, device="cpu", **TINY)
        size, stride = (encoder.spec.model_args[key] for key in ("patch_size", "patch_stride"))
        cells = (encoder.spec.input_size[1] - size) // stride + 1
        assert encoder.encode(an_image()).shape == (1, 32)
        assert encoder.encode(an_image(), output="map").shape == (1, 32, cells, cells)

    def test_a_patch_size_of_0_reads_whole_images(self, name: str) -> None:
        encoder = load(name, pretrained=False, device="cpu", patch_size=0, **TINY)
        side = -(-encoder.spec.input_size[1] // 16)
        assert encoder.encode(an_image(), output="map").shape == (1, 32, side, side)


@pytest.mark.slow
def test_the_whole_encoder_gives_4096_numbers_for_an_image() -> None:
    assert load("cpc-resnet170", pretrained=False).encode(an_image()).shape == (1, 4096)
