"""What a file says of itself is used, or contradicted aloud; so is what the user says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cpchub.cli.main import main
from cpchub.errors import ImportFormatError
from cpchub.importers.convert import network_of
from cpchub.importers.format import Claims, Facts
from cpchub.importers.formats.registry import format_of
from cpchub.importers.readers.checkpoint import read_checkpoint
from tests.cpchub.foreign_checkpoints import (
    CifarResNet,
    CmcAlexNet,
    CmcResNet18,
    features,
    head,
    lightning,
    namespace,
    state,
    torchvision_resnet,
    trained,
)


def planned(saved: Any, folder: Path, as_: str | None = None, **claims: Any) -> tuple[Any, Any]:
    torch.save(saved, folder / "checkpoint.pth")
    return of_file(folder / "checkpoint.pth", as_, **claims)


def of_file(path: Path, as_: str | None = None, **claims: Any) -> tuple[Any, Any]:
    checkpoint = read_checkpoint(path)
    return network_of(checkpoint, format_of(checkpoint, as_, Claims(**claims)), Claims(**claims))


def refusal(saved: Any, folder: Path, as_: str | None = None, **claims: Any) -> str:
    with pytest.raises(ImportFormatError) as error:
        planned(saved, folder, as_, **claims)
    return str(error.value)


def some_images(side: int = 64) -> Tensor:
    levels = torch.randint(256, (2, 3, side, side), generator=torch.Generator().manual_seed(5))
    return levels / 255


class TestSafetensors:
    def test_whatever_the_length_of_its_header_is(self, tmp_path: Path) -> None:
        """The first byte is the low one of a length, 0x80 of a pickle among them."""
        seen = set()
        for padding in range(0, 256, 8):
            path = tmp_path / f"{padding}.safetensors"
            save_file({"a": torch.arange(3.0)}, path, metadata={"note": "x" * padding})
            seen.add(path.read_bytes()[0])
            checkpoint = read_checkpoint(path)
            assert (checkpoint.container, checkpoint.tensors["a"].tolist()) == ("safetensors", [0.0, 1.0, 2.0])
        assert len(seen) == 32
        assert 0x80 in seen


def cmc(view: str | None, alexnet: bool = False, **opt: Any) -> tuple[dict[str, Any], Any]:
    half: Callable[[int], Any] = CmcAlexNet if alexnet else lambda channels: CmcResNet18(channels, 32)
    first, second = trained(half(1)), trained(half(2))
    entries = {**state(first, "module.l_to_ab."), **state(second, "module.ab_to_l.")}
    opt = {**opt, **({} if view is None else {"view": view})}
    return {"opt": namespace(**opt), "model": entries, "epoch": 240}, (first, second)


class TestCmc:
    @pytest.mark.parametrize("alexnet", [False, True])
    def test_one_that_was_trained_on_ycbcr_gets_ycbcr(self, alexnet: bool, tmp_path: Path) -> None:
        color = pytest.importorskip("skimage.color")
        saved, (first, second) = cmc("YCbCr", alexnet)
        network, plan = planned(saved, tmp_path)
        assert plan.model_args["space"] == "cmc_ycbcr"
        x = some_images(224 if alexnet else 64)
        levels = np.round(x.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
        converted = np.stack([color.rgb2ycbcr(each) for each in levels])
        normalised = (converted - [116.151, 121.080, 132.342]) / [109.500, 111.855, 111.964]
        y = torch.from_numpy(normalised).float().permute(0, 3, 1, 2)
        with torch.no_grad():
            expected = torch.cat([first(y[:, :1]), second(y[:, 1:])], 1)
            torch.testing.assert_close(network(x), expected, atol=2e-5, rtol=1e-4)

    @pytest.mark.parametrize("view", [None, "Lab"])
    def test_lab_is_what_it_was(self, view: str | None, tmp_path: Path) -> None:
        assert "space" not in planned(cmc(view)[0], tmp_path)[1].model_args

    def test_another_colour_space_is_refused(self, tmp_path: Path) -> None:
        assert "the file says view: 'HSV'" in refusal(cmc("HSV")[0], tmp_path)

    def test_another_network_than_it_says_is_refused(self, tmp_path: Path) -> None:
        said = refusal(cmc("Lab", model="resnet18v2")[0], tmp_path)
        assert "the file says model: 'resnet18v2', and its tensors are those of resnet18v1" in said

    def test_its_moco_is_told_by_its_options_too(self, tmp_path: Path) -> None:
        saved = {"opt": namespace(moco=True, dataset="imagenet100"), "model": state(torchvision_resnet())}
        facts = planned({**saved, "contrast": {"memory": torch.zeros(3)}}, tmp_path)[1].facts
        assert (facts.method, facts.data) == ("moco-v1", "ImageNet-100")


class TestNetwork:
    """By the file's name of it: one that the tensors fit, or a contradiction, or a note."""

    def test_one_whose_tensors_are_those_of_a_plainer_one(self, tmp_path: Path) -> None:
        net = timm.create_model("resnetblur18", num_classes=5, zero_init_last=False).eval()
        network, plan = planned({"arch": "resnetblur18", "state_dict": state(net)}, tmp_path)
        assert plan.architecture == "resnetblur18"
        with torch.no_grad():
            assert torch.equal(
                network(some_images()), net.forward_head(net.forward_features(some_images()), pre_logits=True)
            )

    def test_group_norms_are_no_batch_norms(self, tmp_path: Path) -> None:
        net = timm.create_model("resnet50_gn", num_classes=3, zero_init_last=False).eval()
        with torch.no_grad():
            expected = net.forward_head(net.forward_features(some_images()), pre_logits=True)
        by_file = planned({"arch": "resnet50_gn", "state_dict": state(net)}, tmp_path)
        by_user = planned({**state(net)}, tmp_path, architecture="resnet50_gn")
        for network, plan in (by_file, by_user):
            assert plan.architecture == "resnet50_gn"
            with torch.no_grad():
                assert torch.equal(network(some_images()), expected)
        said = refusal({**state(net)}, tmp_path)
        assert "has no running_mean" in said
        assert "resnet50_gn" in said

    @pytest.mark.parametrize("said", ["resnet50", "resnetblur50", "vit_small_patch16_224"])
    def test_a_file_that_contradicts_its_tensors_is_refused_with_the_way_out(self, said: str, tmp_path: Path) -> None:
        saved = {"arch": said, "state_dict": state(torchvision_resnet(), "module.encoder_q.")}
        assert f"its network is {said}, and its tensors are those of resnet18" in refusal(saved, tmp_path)
        _, plan = planned(saved, tmp_path, architecture="resnet18")
        assert said in plan.facts.notes[0]

    @pytest.mark.parametrize("said", ["resnet18", "torchvision.models.resnet.resnet18", "ResNet18", "resnet18.a1_in1k"])
    def test_the_same_in_other_words_is_no_contradiction(self, said: str, tmp_path: Path) -> None:
        saved = {"arch": said, "state_dict": state(torchvision_resnet(), "module.encoder_q.")}
        assert planned(saved, tmp_path)[1].facts.notes == ()

    def test_a_name_that_nobody_knows_is_noted(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        saved = {"arch": "our_net", "state_dict": state(torchvision_resnet(), "module.encoder_q.")}
        torch.save(saved, tmp_path / "checkpoint.pth")
        assert main(["import", str(tmp_path / "checkpoint.pth"), "-o", str(tmp_path / "out")]) == 0
        note = "The file calls its network our_net; by its tensors it is resnet18"
        assert f"note     {note}" in capsys.readouterr().out
        assert note in (tmp_path / "out" / "README.md").read_text()


@pytest.fixture(scope="module")
def convnext() -> Any:
    return trained(timm.create_model("test_convnext", num_classes=7))


def under(prefix: str, **beside: Any) -> Callable[[nn.Module], dict[str, Any]]:
    return lambda net: {**beside, "state_dict": {**state(net, prefix), **state(head(4, 4), "projection_head.")}}


class TestArchitecture:
    """`--architecture` is for every format."""

    @pytest.mark.parametrize(
        ("format_name", "saved"),
        [
            ("moco", under("module.encoder_q.")),
            ("moco-v3", under("module.base_encoder.")),
            ("solo-learn", lambda net: lightning({**state(net, "backbone."), **state(head(4, 4), "projector.")})),
            ("lightly", under("backbone.")),
            ("timm", lambda net: {"weights": state(net)}),
            ("timm", lambda net: {"state_dict": state(net), "state_dict_ema": state(net)}),
            ("timm", lambda net: lightning(state(net, "encoder.net."))),
            ("timm", lambda net: {"student": state(net, "module.")}),
        ],
    )
    def test_of_any_network_of_timms(self, format_name: str, saved: Any, convnext: Any, tmp_path: Path) -> None:
        torch.save(saved(convnext), tmp_path / "checkpoint.pth")
        checkpoint = read_checkpoint(tmp_path / "checkpoint.pth")
        claims = Claims(architecture="test_convnext")
        found = format_of(checkpoint, None, claims)
        network, plan = network_of(checkpoint, found, claims)
        assert (found.name, plan.architecture) == (format_name, "test_convnext")
        with torch.no_grad():
            expected = convnext.forward_head(convnext.forward_features(some_images()), pre_logits=True)
            assert torch.equal(network(some_images()), expected)

    @pytest.mark.parametrize("as_", ["moco", "moco-v3", "lightly"])
    def test_of_a_format_that_is_forced(self, as_: str, convnext: Any, tmp_path: Path) -> None:
        prefix = {"moco": "encoder_q.", "moco-v3": "base_encoder.", "lightly": "backbone."}[as_]
        assert planned(under(prefix)(convnext), tmp_path, as_, architecture="test_convnext")[1].used

    def test_of_images_with_another_number_of_channels(self, tmp_path: Path) -> None:
        net = trained(timm.create_model("test_convnext", num_classes=7, in_chans=1))
        _, plan = planned(state(net), tmp_path, architecture="test_convnext")
        assert plan.facts.input_size[0] == 1

    def test_one_that_the_tensors_are_not_of_is_refused(self, convnext: Any, tmp_path: Path) -> None:
        said = refusal(under("module.encoder_q.")(convnext), tmp_path, architecture="resnet18")
        assert "resnet18 has conv1.weight, and the file has none" in said
        said = refusal(under("module.encoder_q.")(convnext), tmp_path, architecture="test-convnext")
        assert "near it: test_convnext" in said
        said = refusal(under("module.encoder_q.")(convnext), tmp_path, architecture="test_convnext2")
        assert "of test_convnext2 is (" in said
        saved = {"a": state(convnext), "b": state(convnext)}
        assert "several networks" in refusal(saved, tmp_path, architecture="test_convnext")

    def test_no_layout_that_is_known_and_no_name_says_how_to_name_it(self, tmp_path: Path) -> None:
        assert "--architecture" in refusal({"x": {"a": torch.zeros(2)}}, tmp_path)


class TestImages:
    """Mean, std and size, where the file says them."""

    def test_supcontrast_of_a_folder_has_its_own(self, tmp_path: Path) -> None:
        entries = {**state(trained(CifarResNet()), "encoder."), **state(head(8, 8), "head.")}
        opt = namespace(dataset="path", mean="(0.1, 0.2, 0.3)", std="(0.4, 0.5, 0.6)", size=64, method="SimCLR")
        facts = planned({"opt": opt, "model": entries}, tmp_path)[1].facts
        assert (facts.mean, facts.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert (facts.input_size, facts.method) == ((3, 64, 64), "simclr")

    def test_solo_learns_of_a_data_set_of_ones_own(self, tmp_path: Path) -> None:
        augmentations = [{"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_size": 96}]
        args = {"method": "byol", "data": {"dataset": "custom"}, "augmentations": augmentations}
        (tmp_path / "args.json").write_text(json.dumps(args))
        entries = {**state(torchvision_resnet(), "backbone."), **state(head(8, 8), "projector.")}
        facts = planned(lightning(entries), tmp_path)[1].facts
        assert (facts.mean, facts.std, facts.input_size) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (3, 96, 96))

    @pytest.mark.parametrize("key", ["config", "cfg"])
    def test_openmmlabs_config(self, key: str, tmp_path: Path) -> None:
        config = "x" * 3000 + "\ndata_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=(51.0, 51.0, 51.0))"
        saved = {"meta": {key: config}, "state_dict": state(torchvision_resnet(), "backbone.")}
        facts = planned(saved, tmp_path)[1].facts
        assert (facts.mean, facts.std) == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))

    @pytest.mark.parametrize(
        ("config", "reason"), [("to_rgb=False", "BGR"), ("with_sobel=True", "Sobel"), ("style='caffe'", "caffe")]
    )
    def test_what_openmmlab_does_to_images_that_nothing_here_does(
        self, config: str, reason: str, tmp_path: Path
    ) -> None:
        saved = {"meta": {"config": "x" * 3000 + config}, "state_dict": state(torchvision_resnet(), "backbone.")}
        assert reason in refusal(saved, tmp_path)

    def test_the_arguments_of_timms_training_script(self, convnext: Any, tmp_path: Path) -> None:
        args = namespace(
            mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6], img_size=96, crop_pct=0.9, interpolation="bicubic", gp="max"
        )
        saved = {"arch": "test_convnext", "args": args, "state_dict": state(convnext)}
        network, plan = planned(saved, tmp_path)
        assert plan.facts == Facts("unknown", (3, 96, 96), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic", 0.9)
        assert network.head.global_pool.pool_type == "max"

    def test_a_data_set_that_is_not_known_is_noted(self, tmp_path: Path) -> None:
        entries = {**state(torchvision_resnet(), "encoder."), **state(head(8, 8), "projection.model.")}
        notes = planned(lightning(entries, dataset="leaves", maxpool1=True), tmp_path)[1].facts.notes
        assert notes == (
            "The file calls its images 'leaves'; their mean and std are taken to be those of ImageNet-1k.",
        )
        assert "whether its stem pools" in planned(lightning(entries), tmp_path)[1].facts.notes[0]


def test_mmselfsup_keeps_its_encoder_twice(tmp_path: Path) -> None:
    net = torchvision_resnet()
    entries = {**state(net, "backbone."), **state(net, "encoder_q.0."), **state(head(8, 8), "encoder_q.1.mlp.")}
    torch.save({"meta": {"epoch": 200}, "state_dict": entries}, tmp_path / "moco.pth")
    assert format_of(read_checkpoint(tmp_path / "moco.pth")).name == "mmselfsup"


def test_of_a_3x3_stem_in_a_plain_file_the_padding_is_asked_for(tmp_path: Path) -> None:
    net = trained(CifarResNet())
    entries = {**state(net, "backbone."), **state(head(8, 8), "projector.")}
    saved = {name: value for name, value in entries.items() if "shortcut" not in name}
    assert "--as" in refusal(saved, tmp_path)
    assert "--stem-padding" in refusal(saved, tmp_path, "lightly")


def test_other_formats_plain_state_dicts_are_known_too(tmp_path: Path) -> None:
    net = torchvision_resnet()
    for name, entries in {
        "moco": state(net, "encoder_q."),
        "solo-learn": {**state(net, "backbone."), **state(head(8, 8), "projector.")},
        "bolts-simclr": {**state(net, "encoder."), **state(head(8, 8), "projection.model.")},
    }.items():
        torch.save(entries, tmp_path / "plain.pth")
        checkpoint = read_checkpoint(tmp_path / "plain.pth")
        assert format_of(checkpoint).name == name
        assert torch.equal(of_file(tmp_path / "plain.pth")[0](some_images()), features(net)(some_images()))
