"""What `export` writes is what plain timm loads, and it is written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

from cpchub.catalog.spec import PUBLISHED_FILES, ModelSpec
from cpchub.encoders.load import load
from cpchub.encoders.model_folder import render_card
from cpchub.encoders.model_folder import write as write_model_folder
from cpchub.errors import ModelFolderError, NoSpaceError, OutputError
from tests.fresh import FreshInterpreters
from tests.tiny_encoder import DIM, EVALUATION, FACTS, MODEL_ARGS, RECIPE, export_tiny, tiny_backbone

PLAIN_TIMM = """
import sys, numpy, timm, torch
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
with torch.inference_mode():
    numpy.save(sys.argv[3], model(torch.from_numpy(numpy.load(sys.argv[2]))).numpy())
assert not [name for name in sys.modules if name.split(".")[0] in ("cpchub", "cpchub_training")]
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("export") / "tiny")


def test_a_folder_has_exactly_the_published_files(exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == set(PUBLISHED_FILES)
    assert not [path for path in exported.parent.iterdir() if path != exported]


def test_plain_timm_gives_the_same_features_without_importing_cpchub(
    fresh_interpreters: FreshInterpreters, exported: Path, tmp_path: Path
) -> None:
    x = torch.randn(3, 3, 32, 32)
    given, received = tmp_path / "x.npy", tmp_path / "y.npy"
    np.save(given, x.numpy())
    done = fresh_interpreters.run(PLAIN_TIMM, exported, given, received, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with torch.inference_mode():
        ours = load(exported, device="cpu")(x)
    assert ours.shape == (3, DIM)
    assert np.array_equal(np.load(received), ours.numpy())


def test_timm_resolves_the_same_transform(exported: Path) -> None:
    model = timm.create_model(f"local-dir:{exported}", pretrained=True)
    theirs = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    assert torch.equal(theirs(image), load(exported, device="cpu").transform(image))


@pytest.mark.parametrize(
    "arguments", [{"num_classes": 5}, {"in_chans": 1}, {"features_only": True}, {"global_pool": "max"}]
)
def test_plain_timm_can_adapt_it(exported: Path, arguments: dict[str, Any]) -> None:
    model = timm.create_model(f"local-dir:{exported}", pretrained=True, **arguments).eval()
    output = model(torch.randn(2, arguments.get("in_chans", 3), 32, 32))
    assert len(output) == (5 if "features_only" in arguments else 2)


def test_the_small_image_stem_survives_the_round_trip(tmp_path: Path) -> None:
    args = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_padding": 2}
    backbone = tiny_backbone(architecture="resnet18_cifar", stem_type="", **args)
    facts = {**FACTS, "architecture": "resnet18_cifar", "model_args": args}
    folder = write_model_folder(backbone, tmp_path / "cifar", facts=facts, recipe=RECIPE, evaluation=None)
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(load(folder, device="cpu")(x), backbone(x))


def test_our_facts_stay_out_of_pretrained_cfg(exported: Path) -> None:
    config = json.loads((exported / "config.json").read_text())
    assert config["cpchub"]["name"] == "tiny-simclr"
    assert "cpchub" not in config["pretrained_cfg"]
    assert config["pretrained_cfg"]["first_conv"] == "conv1.0"
    timm.models.PretrainedCfg(**config["pretrained_cfg"])


def test_the_recorded_sha256_is_that_of_the_file(exported: Path) -> None:
    record = ModelSpec.from_folder(exported).files["model.safetensors"]
    content = (exported / "model.safetensors").read_bytes()
    assert record.sha256 == hashlib.sha256(content).hexdigest()
    assert record.size == len(content)


def test_a_classifier_on_the_backbone_is_left_out(tmp_path: Path) -> None:
    folder = write_model_folder(
        tiny_backbone(num_classes=10), tmp_path / "x", facts=FACTS, recipe=RECIPE, evaluation=None
    )
    assert not [name for name in load_file(folder / "model.safetensors") if name.startswith("fc.")]


def test_no_path_of_this_machine_is_published(exported: Path) -> None:
    for name in ("recipe.json", "README.md", "config.json"):
        assert "/somewhere/else" not in (exported / name).read_text()
    assert json.loads((exported / "recipe.json").read_text())["data_root"] == "pictures"


def test_exporting_again_replaces_the_earlier_export(tmp_path: Path) -> None:
    first = ModelSpec.from_folder(export_tiny(tmp_path / "x", seed=0)).fingerprint
    second = ModelSpec.from_folder(export_tiny(tmp_path / "x", seed=1)).fingerprint
    assert first != second


def test_exporting_again_keeps_what_was_written_in_the_card(tmp_path: Path) -> None:
    card = export_tiny(tmp_path / "x") / "README.md"
    card.write_text(card.read_text() + "\nA note by a person.\n")
    export_tiny(tmp_path / "x", seed=1, summary="Better now.")
    assert "A note by a person." in card.read_text()
    assert "Better now." in card.read_text()
    assert card.read_text().count("## Facts") == 1


def test_the_same_weights_give_the_same_file(tmp_path: Path) -> None:
    files = [export_tiny(tmp_path / name) / "model.safetensors" for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_folder_with_other_content_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        export_tiny(tmp_path / "x")
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "thesis.tex"]


def test_hidden_files_do_not_make_a_folder_foreign_and_stay_in_it(tmp_path: Path) -> None:
    folder = export_tiny(tmp_path / "x")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")
    export_tiny(folder, seed=1)
    assert (folder / ".git" / "HEAD").read_text() == "ref: refs/heads/main"
    assert {path.name for path in folder.iterdir()} == {*PUBLISHED_FILES, ".git"}


def test_arguments_the_backbone_was_not_built_with_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    facts = {**FACTS, "model_args": {**MODEL_ARGS, "channels": [8, 8, 16, 24]}}
    with pytest.raises(ModelFolderError, match="in the backbone"):
        write_model_folder(tiny_backbone(), tmp_path / "x", facts=facts, recipe=RECIPE, evaluation=None)
    assert list(tmp_path.iterdir()) == []


def test_another_network_with_the_same_weight_names_is_noticed(tmp_path: Path) -> None:
    facts = {**FACTS, "model_args": {**MODEL_ARGS, "act_layer": "silu"}}
    with pytest.raises(ModelFolderError, match="features"):
        write_model_folder(tiny_backbone(), tmp_path / "x", facts=facts, recipe=RECIPE, evaluation=None)


def test_missing_and_unknown_facts_are_named(tmp_path: Path) -> None:
    lacking = {name: value for name, value in FACTS.items() if name != "license"}
    with pytest.raises(ModelFolderError, match="license"):
        write_model_folder(tiny_backbone(), tmp_path / "x", facts=lacking, recipe=RECIPE, evaluation=None)
    with pytest.raises(ModelFolderError, match="colour"):
        export_tiny(tmp_path / "x", colour="blue")


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cpchub.encoders.model_folder.save_tensors", full)
    with pytest.raises(NoSpaceError):
        export_tiny(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_the_card_follows_a_new_evaluation_and_keeps_what_people_wrote(tmp_path: Path) -> None:
    folder = export_tiny(tmp_path / "x", evaluation=None)
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nA note by a person.\n")
    (folder / "eval.json").write_text(json.dumps(EVALUATION))
    render_card(folder)
    assert "65.4 %" in card.read_text()
    assert "A note by a person." in card.read_text()
