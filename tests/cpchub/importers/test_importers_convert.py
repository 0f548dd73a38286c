"""An import writes a model folder that loads everywhere and tells its origin, and prints what it used."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch

import cpchub
from cpchub.catalog.spec import read_json
from cpchub.cli.main import main
from cpchub.importers.convert import import_checkpoint
from tests.cpchub.foreign_checkpoints import features, head, lightning, state, torchvision_resnet
from tests.cpchub.importers.small_checkpoints import moco, saved, small_stem


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imports")
    net = torchvision_resnet()
    entries = OrderedDict({**state(net, "module.encoder_q."), "module.queue": torch.zeros(4, 4)})
    content = {"epoch": 200, "arch": "resnet18", "state_dict": entries}
    return import_checkpoint(saved(folder, content), folder / "moco-r18", data="ImageNet-1k").folder


class TestModelFolder:
    def test_it_loads_by_cpchub_and_by_plain_timm(self, imported: Path) -> None:
        import timm

        x = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            expected = features(torchvision_resnet())(x)
            assert torch.equal(cpchub.load(imported, device="cpu")(x), expected)
            assert torch.equal(timm.create_model(f"local-dir:{imported}", pretrained=True).eval()(x), expected)

    def test_its_card_says_where_it_comes_from_and_under_which_licence(self, imported: Path) -> None:
        card = (imported / "README.md").read_text()
        assert "resnet18 trained with MoCo on ImageNet-1k, imported from checkpoint.pth" in card
        assert "license: cc-by-nc-4.0" in card
        assert "not for commercial use" in card

    def test_its_recipe_has_the_account(self, imported: Path) -> None:
        recipe = read_json(imported / "recipe.json")
        assert recipe["imported_from"] == "checkpoint.pth"
        assert recipe["format"] == "moco"
        assert recipe["tensors_dropped"] == {
            "the projection head, which the paper discards after training": 2,
            "the queue of keys": 1,
        }
        assert recipe["settings"] == {"epoch": 200, "arch": "resnet18"}

    def test_a_training_that_nobody_knows_is_not_claimed(self, tmp_path: Path) -> None:
        card = (
            import_checkpoint(saved(tmp_path, state(torchvision_resnet())), tmp_path / "x").folder / "README.md"
        ).read_text()
        assert "how it was trained on unnamed images is not known" in card
        assert "without labels" not in card
        assert "self-supervised" not in card

    def test_neither_paths_nor_names_of_machines_are_taken_over(self, tmp_path: Path) -> None:
        options = {"wandb_user": "somebody", "data_dir": "/data", "name": "a/b", "note": "<b>", "lr": 0.1}
        content = lightning({**state(small_stem(), "backbone."), **state(head(8, 8), "projector.")}, **options)
        settings = read_json(import_checkpoint(saved(tmp_path, content), tmp_path / "x").folder / "recipe.json")[
            "settings"
        ]
        assert settings == {"epoch": 99, "lr": 0.1}


class TestCommand:
    def test_it_prints_what_was_used_and_what_was_dropped(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = saved(tmp_path, moco())
        assert main(["import", str(path), "-o", str(tmp_path / "out")]) == 0
        printed = capsys.readouterr()
        network, used, dropped = printed.out.splitlines()
        assert network == "MoCo v1 and v2 (facebookresearch/moco): resnet18"
        assert used == "used     state_dict/module.encoder_q.* (78 tensors)"
        assert dropped.startswith("dropped  state_dict/module.encoder_q.fc.* (2 tensors): the projection head")
        assert "cpchub.load(" in printed.err

    def test_a_folder_called_like_an_encoder_is_loaded_as_it_says(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(["import", str(saved(tmp_path, moco())), "-o", "moco"]) == 0
        assert 'cpchub.load("./moco")' in capsys.readouterr().err
        assert cpchub.load("./moco").spec.method == "moco-v1"

    def test_it_lists_every_tensor_when_asked(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = saved(tmp_path, moco())
        assert main(["import", str(path), "-o", str(tmp_path / "out"), "--tensors"]) == 0
        assert "used     state_dict/module.encoder_q.conv1.weight -> conv1.weight" in capsys.readouterr().out

    def test_it_lists_the_formats(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["import", "--formats"]) == 0
        assert "solo-learn" in capsys.readouterr().out

    def test_bad_input_is_one_line_and_status_2(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert (
            main(["import", str(saved(tmp_path, moco())), "-o", str(tmp_path / "x"), "--architecture", "resnet50"]) == 2
        )
        assert capsys.readouterr().err.startswith("error: checkpoint.pth is of the network resnet18")
        assert main(["import", str(tmp_path / "nothing.pth"), "-o", str(tmp_path / "x")]) == 2
        assert f"there is no file {tmp_path / 'nothing.pth'}" in capsys.readouterr().err
        assert main(["import"]) == 2
