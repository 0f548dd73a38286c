"""What does not fit is refused by name, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import cpchub
from cpchub.catalog.spec import read_json
from cpchub.errors import ImportFormatError, OutputError
from cpchub.importers.convert import import_checkpoint
from cpchub.importers.networks import resnet, vit
from tests.cpchub.foreign_checkpoints import features, head, lightning, state, torchvision_resnet
from tests.cpchub.importers.small_checkpoints import bolts, moco, refusal, saved, small_stem, solo


class TestNetwork:
    def test_another_architecture_than_was_said(self, tmp_path: Path) -> None:
        said = refusal(saved(tmp_path, moco()), tmp_path / "x", architecture="resnet50")
        assert "is of the network resnet18, not of resnet50" in said

    def test_a_tensor_that_the_network_does_not_have(self, tmp_path: Path) -> None:
        content = moco()
        content["state_dict"]["module.encoder_q.layer1.0.se.weight"] = torch.zeros(3)
        said = refusal(saved(tmp_path, content), tmp_path / "x")
        assert "has no layer1.0.se.weight (in the file: state_dict/module.encoder_q.layer1.0.se.weight)" in said

    def test_a_tensor_that_is_missing(self, tmp_path: Path) -> None:
        content = moco()
        del content["state_dict"]["module.encoder_q.layer3.0.bn2.running_var"]
        assert "lacks layer3.0.bn2.running_var" in refusal(saved(tmp_path, content), tmp_path / "x")

    def test_a_tensor_of_another_shape(self, tmp_path: Path) -> None:
        content = moco()
        content["state_dict"]["module.encoder_q.layer4.0.bn1.weight"] = torch.zeros(7)
        assert "layer4.0.bn1.weight is (7,), the network's (32,)" in refusal(saved(tmp_path, content), tmp_path / "x")

    def test_values_that_are_not_finite(self, tmp_path: Path) -> None:
        content = moco()
        content["state_dict"]["module.encoder_q.bn1.weight"][3] = float("nan")
        assert "bn1.weight has values that are not finite" in refusal(saved(tmp_path, content), tmp_path / "x")

    def test_timms_network_has_to_be_named(self, tmp_path: Path) -> None:
        path = saved(tmp_path, {"something.weight": torch.zeros(3)})
        assert "--architecture" in refusal(path, tmp_path / "x", as_="timm")
        assert "near it: resnet50" in refusal(path, tmp_path / "x", as_="timm", architecture="resnet_50")
        assert "has no tensor of resnet18" in refusal(path, tmp_path / "x", as_="timm", architecture="resnet18")

    def test_a_convolutional_stem_of_moco_v3(self) -> None:
        with pytest.raises(ImportFormatError, match="vit_conv_small"):
            vit.recognise({"patch_embed.proj.0.weight": (48, 3, 3, 3)}, num_heads=12)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"conv1.weight": (64, 3, 5, 5)}, "7x7 or 3x3"),
            ({"conv1.weight": (128, 3, 7, 7)}, "stem of 128 channels"),
            ({"conv1.weight": None, "conv1.0.weight": (32, 3, 3, 3)}, "conv1.0.weight"),
            ({"bn1.weight": None}, "bn1.weight"),
            ({"layer3.0.conv2.weight": None}, "layer3"),
        ],
    )
    def test_a_network_that_is_no_resnet_of_ours(self, changes: dict[str, Any], reason: str) -> None:
        shapes = {key: tuple(value.shape) for key, value in state(torchvision_resnet()).items()}
        changed = {key: value for key, value in {**shapes, **changes}.items() if value is not None}
        with pytest.raises(ImportFormatError, match=reason):
            resnet.recognise(changed)


@pytest.mark.parametrize(
    ("name", "expected", "args"),
    [
        ("resnet18", "resnet18", {}),
        ("resnet34", "resnet34", {}),
        ("resnet50", "resnet50", {}),
        ("resnet101", "resnet101", {}),
        ("resnet152", "resnet152", {}),
        ("resnext50_32x4d", "resnext50_32x4d", {}),
        ("resnext101_32x8d", "resnext101_32x8d", {}),
        ("wide_resnet50_2", "wide_resnet50_2", {}),
        ("wide_resnet101_2", "wide_resnet101_2", {}),
    ],
)
def test_every_resnet_of_torchvisions_is_timms_of_the_same_shapes(
    name: str, expected: str, args: dict[str, Any]
) -> None:
    import timm
    import torchvision

    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)().state_dict()
        shapes = {key: tuple(value.shape) for key, value in theirs.items() if not key.startswith("fc.")}
        found = resnet.recognise(shapes)
        ours = timm.create_model(found.architecture, num_classes=0, **found.model_args).state_dict()
    assert (found.architecture, found.model_args) == (expected, args)
    assert {key: tuple(value.shape) for key, value in ours.items()} == shapes


class TestPadding:
    def test_of_a_3x3_stem_no_tensor_tells_it(self, tmp_path: Path) -> None:
        path = saved(tmp_path, state(small_stem()))
        assert "--stem-padding 1, or 2 for a network of solo-learn" in refusal(path, tmp_path / "x")

    def test_it_makes_another_network_so_it_is_worth_asking(self, tmp_path: Path) -> None:
        net = small_stem()
        path = saved(tmp_path, state(net))
        x = torch.rand(1, 3, 32, 32)
        right = cpchub.load(import_checkpoint(path, tmp_path / "right", stem_padding=2).folder, device="cpu")
        wrong = cpchub.load(import_checkpoint(path, tmp_path / "wrong", stem_padding=1).folder, device="cpu")
        with torch.no_grad():
            assert torch.equal(right(x), features(net)(x))
            assert not torch.allclose(wrong(x), features(net)(x), atol=1e-3)

    def test_solo_learn_is_known_to_pad_by_2(self, tmp_path: Path) -> None:
        path = saved(tmp_path, solo())
        assert "padded by 2, as this format always has it, not by 1" in refusal(path, tmp_path / "x", stem_padding=1)
        folder = import_checkpoint(path, tmp_path / "x", stem_padding=2).folder
        assert read_json(folder / "config.json")["model_args"]["stem_padding"] == 2

    def test_a_7x7_stem_has_no_choice(self, tmp_path: Path) -> None:
        assert "cannot be 2" in refusal(saved(tmp_path, moco()), tmp_path / "x", stem_padding=2)

    def test_a_stem_of_bolts_that_there_is_no_network_for(self, tmp_path: Path) -> None:
        entries = {**state(small_stem(), "encoder."), **state(head(8, 8), "projection.model.")}
        path = saved(tmp_path, lightning(entries, first_conv=False, maxpool1=True))
        assert "it pools behind a 3x3 stem" in refusal(path, tmp_path / "x")

    def test_a_caffe_resnet_strides_elsewhere(self, tmp_path: Path) -> None:
        content = {
            "meta": {"config": "model = dict(style='caffe')"},
            "state_dict": state(torchvision_resnet(), "backbone."),
        }
        assert "style='caffe'" in refusal(saved(tmp_path, content), tmp_path / "x")


class TestPatchSize:
    def test_another_than_the_norms_are_for(self, tmp_path: Path) -> None:
        said = refusal(saved(tmp_path, bolts(8)), tmp_path / "x", patch_size=16)
        assert "for patches of 8 pixels; you said 16" in said

    def test_another_than_the_hyperparameters_say(self, tmp_path: Path) -> None:
        said = refusal(saved(tmp_path, bolts(8, patch_size=32)), tmp_path / "x")
        assert "for patches of 8 pixels; its hyperparameters say 32" in said

    def test_of_a_network_that_reads_whole_images(self, tmp_path: Path) -> None:
        assert "reads whole images" in refusal(saved(tmp_path, moco()), tmp_path / "x", patch_size=8)

    def test_with_batch_norm_it_has_to_be_said(self, tmp_path: Path) -> None:
        entries = {**state(torchvision_resnet(), "encoder."), **state(head(8, 8), "contrastive_task.")}
        path = saved(tmp_path, lightning(entries))
        assert "--patch-size" in refusal(path, tmp_path / "x")
        folder = import_checkpoint(path, tmp_path / "x", patch_size=32).folder
        assert read_json(folder / "config.json")["model_args"]["patch_size"] == 32

    def test_an_odd_one_is_told_from_the_even_one_above_it_by_what_the_file_says(self, tmp_path: Path) -> None:
        import_checkpoint(saved(tmp_path, bolts(7, patch_size=7)), tmp_path / "x")
        assert read_json(tmp_path / "x" / "config.json")["model_args"]["patch_size"] == 7


class TestFormat:
    @pytest.mark.parametrize(
        "name", ["moco-v3", "cmc", "sup-contrast", "solo-learn", "lightly", "bolts-cpc", "bolts-simclr", "vissl"]
    )
    def test_a_wrong_one_is_refused_with_the_reason(self, name: str, tmp_path: Path) -> None:
        said = refusal(saved(tmp_path, moco()), tmp_path / "x", as_=name)
        assert f"cannot be imported as {name}: it has " in said

    def test_one_that_nobody_has_heard_of(self, tmp_path: Path) -> None:
        assert "There is no format 'moko'; there are: moco" in refusal(
            saved(tmp_path, moco()), tmp_path / "x", as_="moko"
        )

    def test_a_file_that_may_be_of_two_is_asked_about_since_they_pad_differently(self, tmp_path: Path) -> None:
        path = saved(tmp_path, lightning(state(small_stem(), "backbone.")))
        said = refusal(path, tmp_path / "x")
        assert "lightly or mmselfsup or solo-learn" in said
        assert "--as" in said

    def test_a_file_of_no_layout_says_what_it_has(self, tmp_path: Path) -> None:
        said = refusal(saved(tmp_path, {"generator": {"a": torch.zeros(2)}, "step": 3}), tmp_path / "x")
        assert "its tensors are generator/a" in said

    def test_a_folder_that_holds_something_else_is_not_touched(self, tmp_path: Path) -> None:
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "thesis.tex").write_text("years of work")
        with pytest.raises(OutputError, match=r"thesis\.tex"):
            import_checkpoint(saved(tmp_path, moco()), tmp_path / "x")
