"""A checkpoint of every layout is recognised, and the imported network computes what theirs does, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cpchub.importers.convert import network_of
from cpchub.importers.format import Claims
from cpchub.importers.format_names import NAMES
from cpchub.importers.formats.registry import FORMATS, format_of
from cpchub.importers.readers.checkpoint import read_checkpoint
from cpchub.media.decode import resize_side
from tests.cpchub.foreign_checkpoints import (
    features,
    head,
    lightning,
    state,
    torchvision_resnet,
    trained,
)
from tests.cpchub.importers.contrast_layouts import CONTRAST_LAYOUTS as LAYOUTS
from tests.cpchub.importers.layouts import (
    bolts_cpc,
    cmc,
    instdisc_imagenet,
    moco_v2,
    solo_network,
    sup_contrast,
)
from tests.cpchub.importers.small_checkpoints import bolts


def some_images(side: int) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(3))


def side_of(architecture: str) -> int:
    return 224 if "alexnet" in architecture else 32 if architecture.endswith(("_cifar", "_cpc_resnet50")) else 64


@pytest.mark.parametrize("name", LAYOUTS)
def test_it_is_recognised_and_its_features_are_the_same_to_the_last_bit(name: str, tmp_path: Path) -> None:
    format_name, architecture, make = LAYOUTS[name]
    saved, forward = make()
    torch.save(saved, tmp_path / "checkpoint.pth")
    checkpoint = read_checkpoint(tmp_path / "checkpoint.pth")
    found = format_of(checkpoint)
    network, plan = network_of(checkpoint, found)
    assert (found.name, plan.architecture) == (format_name, architecture)
    assert set(plan.used) | set(plan.dropped) == set(checkpoint.tensors)
    assert not set(plan.used) & set(plan.dropped)
    x = some_images(side_of(architecture))
    with torch.no_grad():
        expected = forward(x)
        seen = network(x) if expected.ndim == 2 else network.forward_features(x)
    assert float(expected.std()) > 1e-3  # a forward that dies out would equal any other
    assert torch.equal(seen, expected)


def test_every_format_for_pytorch_files_is_covered() -> None:
    covered = {format_name for format_name, _, _ in LAYOUTS.values()} | {"timm"}
    elsewhere = {"google-simclr", "tonylins", "separius"}  # test_google_simclr.py, test_importers_simclr.py
    assert {each.name for each in FORMATS} - elsewhere <= covered


def test_the_guide_names_every_format() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "import.md").read_text(encoding="utf-8")
    assert [each.name for each in FORMATS if f"`{each.name}`" not in guide] == []


def test_the_layout_before_pytorch_1_6_is_read_too(tmp_path: Path) -> None:
    saved, forward = instdisc_imagenet()
    torch.save(saved, tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    checkpoint = read_checkpoint(tmp_path / "old.pth.tar")
    network, plan = network_of(checkpoint, format_of(checkpoint))
    assert plan.dropped["lemniscate/memory"] == "the memory bank"
    assert torch.equal(network(some_images(64)), forward(some_images(64)))


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    net = torchvision_resnet()
    save_file(dict(state(net)), tmp_path / "model.safetensors")
    checkpoint = read_checkpoint(tmp_path / "model.safetensors")
    network, _ = network_of(checkpoint, format_of(checkpoint))
    assert torch.equal(network(some_images(64)), features(net)(some_images(64)))


def test_half_precision_becomes_float32_and_missing_counters_are_filled_in(tmp_path: Path) -> None:
    net = torchvision_resnet().half().float()  # values that both precisions have
    entries = {key: value.half() for key, value in state(net).items() if not key.endswith("num_batches_tracked")}
    torch.save(entries, tmp_path / "half.pth")
    checkpoint = read_checkpoint(tmp_path / "half.pth")
    network, _ = network_of(checkpoint, format_of(checkpoint))
    assert torch.equal(network(some_images(64)), features(net)(some_images(64)))


def test_the_names_that_are_known_without_torch_are_those_of_the_formats() -> None:
    assert [each.name for each in FORMATS] == list(NAMES)


def test_any_network_of_timms_is_imported_when_it_is_named(tmp_path: Path) -> None:
    import timm

    net = trained(timm.create_model("test_convnext", num_classes=7))
    save_file(dict(state(net)), tmp_path / "model.safetensors")
    checkpoint = read_checkpoint(tmp_path / "model.safetensors")
    network, plan = network_of(checkpoint, format_of(checkpoint, "timm"), Claims(architecture="test_convnext"))
    assert set(plan.dropped) == {"head.fc.weight", "head.fc.bias"}
    x = some_images(64)
    with torch.no_grad():
        assert torch.equal(network(x), net.forward_head(net.forward_features(x), pre_logits=True))


class TestFacts:
    """How an image is prepared is part of the format."""

    def facts(self, saved: Any, tmp_path: Path, **beside: Any) -> Any:
        torch.save(saved, tmp_path / "checkpoint.ckpt")
        for name, content in beside.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        checkpoint = read_checkpoint(tmp_path / "checkpoint.ckpt")
        return format_of(checkpoint).plan(checkpoint, Claims()).facts

    def test_supcontrast_says_its_data_set_and_with_it_its_normalisation(self, tmp_path: Path) -> None:
        facts = self.facts(sup_contrast()[0], tmp_path)
        assert (facts.method, facts.data) == ("sup-con", "CIFAR-100")
        assert facts.mean == (0.5071, 0.4867, 0.4408)
        assert (facts.input_size, facts.crop_pct) == ((3, 32, 32), 1.0)

    def test_solo_learns_arguments_stand_beside_the_file(self, tmp_path: Path) -> None:
        entries = {**state(solo_network(), "backbone."), **state(head(8, 8), "projector.")}
        args = {"method": "simclr", "data": {"dataset": "cifar10"}}
        facts = self.facts(lightning(entries), tmp_path, args=args)
        assert (facts.method, facts.data, facts.std) == ("simclr", "CIFAR-10", (0.247, 0.243, 0.261))

    def test_cmc_takes_rgb_in_0_to_1_and_makes_lab_of_it(self, tmp_path: Path) -> None:
        facts = self.facts(cmc(32)[0], tmp_path)
        assert (facts.mean, facts.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def test_mocos_licence_is_not_commercial(self, tmp_path: Path) -> None:
        facts = self.facts(moco_v2()[0], tmp_path)
        assert (facts.license, facts.method) == ("cc-by-nc-4.0", "moco-v2")
        assert any("not for commercial use" in limit for limit in facts.limits)

    def test_a_grid_of_7_x_7_patches_is_what_bolts_trains_on(self, tmp_path: Path) -> None:
        facts = self.facts(bolts_cpc()[0], tmp_path)
        assert (facts.input_size, facts.method, facts.data) == ((3, 32, 32), "cpc-v2", "CIFAR-10")
        assert (facts.crop_pct, facts.interpolation) == (1.0, "bilinear")

    @pytest.mark.parametrize(("patch", "side", "resized"), [(16, 64, 70), (32, 128, 146)])
    def test_larger_patches_are_of_a_crop_as_in_bolts(
        self, patch: int, side: int, resized: int, tmp_path: Path
    ) -> None:
        facts = self.facts(bolts(patch), tmp_path)
        assert (facts.input_size, facts.interpolation) == ((3, side, side), "bicubic")
        assert resize_side(facts.input_size, facts.crop_pct) == resized
