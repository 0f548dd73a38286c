"""What the layouts of SwAV, SimSiam and PyContrast tell of the method, and what they leave open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cpchub.architectures.colour_spaces import cmc_ydbdr
from cpchub.catalog.spec import read_json
from cpchub.importers.convert import import_checkpoint, network_of
from cpchub.importers.format import Claims, Facts
from cpchub.importers.formats.registry import format_of
from cpchub.importers.readers.checkpoint import read_checkpoint
from tests.cpchub.foreign_checkpoints import head, lightning, state, torchvision_resnet
from tests.cpchub.importers.contrast_layouts import (
    deepcluster_v2,
    pycontrast,
    pycontrast_cmc,
    simsiam,
    swav_of_its_authors,
)
from tests.cpchub.importers.layouts import sup_contrast
from tests.cpchub.importers.small_checkpoints import refusal, saved

AVERAGED = {"encoder.conv1.weight": torch.zeros(3)}


def facts_of(content: Any, folder: Path) -> Facts:
    checkpoint = read_checkpoint(saved(folder, content))
    return format_of(checkpoint).plan(checkpoint, Claims()).facts


class TestSwav:
    def test_one_head_of_prototypes_is_swavs(self, tmp_path: Path) -> None:
        facts = facts_of(swav_of_its_authors()[0], tmp_path)
        assert (facts.method, facts.method_notes) == ("swav", ())

    def test_several_heads_are_not_given_a_name(self, tmp_path: Path) -> None:
        facts = facts_of(deepcluster_v2()[0], tmp_path)
        assert facts.method == "unknown"
        assert "DeepCluster v2 and SeLa v2" in facts.method_notes[0]

    def test_its_images_are_divided_by_the_std_of_its_code(self, tmp_path: Path) -> None:
        facts = facts_of(swav_of_its_authors()[0], tmp_path)
        assert (facts.mean, facts.std) == ((0.485, 0.456, 0.406), (0.228, 0.224, 0.225))

    def test_its_licence_forbids_commercial_use(self, tmp_path: Path) -> None:
        facts = facts_of(swav_of_its_authors()[0], tmp_path)
        assert facts.license == "cc-by-nc-4.0"
        assert "not for commercial use" in facts.limits[0]

    def test_who_does_not_say_the_method_is_told_that_it_is_open(self, tmp_path: Path) -> None:
        imported = import_checkpoint(saved(tmp_path, deepcluster_v2()[0]), tmp_path / "x")
        assert "--method deepcluster-v2" in imported.notes[0]
        assert imported.notes[0] in read_json(imported.folder / "config.json")["cpchub"]["limits"]

    def test_what_is_said_of_the_method_stands(self, tmp_path: Path) -> None:
        path = saved(tmp_path, deepcluster_v2()[0])
        assert import_checkpoint(path, tmp_path / "x", method="sela-v2").notes == ()
        assert read_json(tmp_path / "x" / "config.json")["cpchub"]["method"] == "sela-v2"

    def test_the_copy_of_pl_bolts_without_a_pool_is_refused(self, tmp_path: Path) -> None:
        net = torchvision_resnet()
        entries = {**state(net, "model."), **state(head(8, 8), "model.projection_head.")}
        entries |= state(nn.Linear(8, 8, bias=False), "model.prototypes.")
        path = saved(tmp_path, lightning(entries, maxpool1=False))
        assert "its stem does not pool" in refusal(path, tmp_path / "x")

    def test_a_moco_is_not_one(self, tmp_path: Path) -> None:
        path = saved(tmp_path, {"state_dict": state(torchvision_resnet(), "module.encoder_q.")})
        assert "cannot be imported as swav: it has no *projection_head" in refusal(path, tmp_path / "x", as_="swav")


class TestSimSiam:
    def test_its_method_and_licence_are_told(self, tmp_path: Path) -> None:
        facts = facts_of(simsiam()[0], tmp_path)
        assert (facts.method, facts.license) == ("simsiam", "cc-by-nc-4.0")

    def test_a_moco_is_not_one(self, tmp_path: Path) -> None:
        path = saved(tmp_path, {"state_dict": state(torchvision_resnet(), "module.encoder_q.")})
        assert "it has no *encoder.conv1.weight" in refusal(path, tmp_path / "x", as_="simsiam")


class TestPyContrast:
    @pytest.mark.parametrize(
        ("how", "method"),
        [
            ({"jigsaw": True}, "pirl"),
            ({"jigsaw": True, "mlp": True}, "infomin"),
            ({"contrast": {"memory": torch.zeros(3)}}, "instdisc"),
            ({"contrast": {"memory": torch.zeros(3)}, "model_ema": AVERAGED}, "moco-v1"),
            ({"jigsaw": True, "model_ema": AVERAGED, "mlp": True}, "infomin"),
        ],
    )
    def test_heads_and_memory_tell_the_method(self, how: dict[str, Any], method: str, tmp_path: Path) -> None:
        facts = facts_of(pycontrast(**how)[0], tmp_path)
        assert (facts.method, facts.method_notes) == (method, ())

    @pytest.mark.parametrize(
        ("how", "said"),
        [
            ({}, "that of InsDis and MoCo"),
            ({"mlp": True}, "that of MoCo v2 and SupCon"),
            ({"mlp": True, "model_ema": AVERAGED}, "that of MoCo v2 and SupCon"),
        ],
    )
    def test_a_method_that_they_do_not_tell_is_left_open(self, how: dict[str, Any], said: str, tmp_path: Path) -> None:
        facts = facts_of(pycontrast(**how)[0], tmp_path)
        assert facts.method == "unknown"
        assert said in facts.method_notes[0]

    def test_a_cifar_resnet_with_shortcuts_is_supcontrasts(self, tmp_path: Path) -> None:
        content = sup_contrast()[0]
        content["model"] = {f"module.{name.replace('.module', '')}": value for name, value in content["model"].items()}
        assert format_of(read_checkpoint(saved(tmp_path, content))).name == "sup-contrast"

    def test_what_it_cannot_be_is_said(self, tmp_path: Path) -> None:
        path = saved(tmp_path, {"model": state(torchvision_resnet())})
        assert "cannot be imported as pycontrast: it has no" in refusal(path, tmp_path / "x", as_="pycontrast")

    def test_its_cmc_takes_rgb_and_makes_ydbdr_of_it(self, tmp_path: Path) -> None:
        checkpoint = read_checkpoint(saved(tmp_path, pycontrast_cmc()[0]))
        _, plan = network_of(checkpoint, format_of(checkpoint))
        assert (plan.facts.method, plan.model_args) == ("cmc", {"space": "cmc_ydbdr"})
        assert (plan.facts.mean, plan.facts.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def test_its_colour_space_is_that_of_scikit_image_scaled_as_its_code_does(self) -> None:
        color = pytest.importorskip("skimage.color")
        levels = torch.randint(256, (2, 16, 16, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
        converted = np.stack([color.rgb2ydbdr(each) for each in levels.numpy()])
        expected = (converted - [0.457, -0.082, -0.052]) / [0.500, 1.331, 1.333]
        seen = cmc_ydbdr(levels.permute(0, 3, 1, 2) / 255).permute(0, 2, 3, 1)
        torch.testing.assert_close(seen, torch.from_numpy(expected).float(), atol=1e-6, rtol=1e-5)
