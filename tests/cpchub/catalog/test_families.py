"""The name of a family means its best measured encoder on this machine, and says what to do where there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub import catalog
from cpchub.catalog import listing
from cpchub.catalog.families import FAMILIES
from cpchub.catalog.listing import bundled_encoder, get_spec, list_models
from cpchub.catalog.vocabulary import METHODS, method_of
from cpchub.cli.main import main
from cpchub.encoders.load import load
from cpchub.errors import UnknownModelError, WeightsUnavailableError
from cpchub.hub.publish import publish
from cpchub_training import methods, recipes
from tests.loopback_hub import LoopbackHub
from tests.tiny_encoder import DIM, EVALUATION

SHIPPED = catalog.catalog_folder()


def knn(value: float, labels: int = 50_000, **changes: Any) -> dict[str, Any]:
    return {**EVALUATION["results"][0], "value": value, "labels": labels, **changes}


@pytest.fixture(autouse=True)
def cards(own_cache: Path, tmp_path: Path) -> Path:
    """An empty catalog."""
    root = tmp_path / "model_cards"
    root.mkdir()
    return root


def put(source: Path, root: Path, name: str, *results: dict[str, Any], method: str = "SimCLR") -> Path:
    """An encoder of that name and those measurements, made from the files of `source`."""
    folder = shutil.copytree(source, root / name)
    config = json.loads((folder / "config.json").read_text())
    config["cpchub"] |= {"name": name, "method": method}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "eval.json").unlink()
    if results:
        (folder / "eval.json").write_text(json.dumps({"results": results}))
    return folder


class TestBest:
    def test_the_highest_knn_accuracy_is_the_best(self, exported: Path, cards: Path) -> None:
        put(exported, cards, "a-newer", knn(0.60), knn(0.62, config="knn_k20"))
        put(exported, cards, "b-better", knn(0.61), knn(0.63, config="knn_k20"))
        put(exported, cards, "c-probed", knn(0.50), knn(0.99, task="linear"))
        put(exported, cards, "d-other", knn(0.99), method="MoCo v2")
        assert get_spec("simclr").name == "b-better"
        assert load("SimCLR").spec.name == "b-better"

    def test_a_larger_data_set_comes_before_a_higher_accuracy(self, exported: Path, cards: Path) -> None:
        put(exported, cards, "digits", knn(0.98, labels=1_437))
        put(exported, cards, "objects", knn(0.65, labels=50_000))
        assert get_spec("simclr").name == "objects"

    def test_what_was_not_measured_comes_last_and_a_tie_goes_to_the_first_name(
        self, exported: Path, cards: Path
    ) -> None:
        put(exported, cards, "b")
        put(exported, cards, "a")
        assert get_spec("simclr").name == "a"
        put(exported, cards, "c", knn(0.1))
        assert get_spec("simclr").name == "c"

    def test_labels_that_are_not_a_number_count_as_none(self, exported: Path, cards: Path) -> None:
        put(exported, cards, "a-odd", knn(0.9, labels="many"))  # type: ignore[arg-type]  # somebody's own eval.json
        put(exported, cards, "b-plain", knn(0.1, labels=10))
        assert get_spec("simclr").name == "b-plain"

    def test_versions_of_a_method_are_one_family(self, exported: Path, cards: Path) -> None:
        put(exported, cards, "one", knn(0.5), method="moco_v1")
        put(exported, cards, "two", knn(0.6), method="moco-v2")
        assert get_spec("moco").name == "two"
        assert list_models("moco") == list_models(method="moco") == ["one", "two"]
        assert list_models(method="MoCo v2") == ["two"]

    def test_a_folder_hub_is_here_and_an_encoder_of_that_very_name_wins(
        self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(exported, tmp_path / "hub", "lab-simclr", knn(0.6))
        monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "hub"))
        assert get_spec("simclr").name == "lab-simclr"
        put(exported, tmp_path / "hub", "simclr", knn(0.1))
        assert get_spec("simclr").name == "simclr"

    def test_a_released_encoder_is_here_once_it_is_in_the_cache(
        self, hub: LoopbackHub, exported: Path, cards: Path, tmp_path: Path
    ) -> None:
        put(exported, cards, "ships", knn(0.5))
        better = put(exported, tmp_path / "better", "better", knn(0.6))
        publish(better, "lab/better", token="secret").record(better, cards / "better")
        assert get_spec("simclr").name == "ships"
        load("better")
        before = hub.total_requests()
        assert load("simclr").spec.name == "better"
        assert hub.total_requests() == before


class TestNoneHere:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_its_recipe_and_its_untrained_network_are_the_ways_out(self, family: str, cards: Path) -> None:
        shutil.copytree(SHIPPED / "cpc-resnet170", cards / "cpc-resnet170")  # what `cpc` stands for
        with pytest.raises(WeightsUnavailableError) as caught:
            load(family)
        assert "pretrained=False" in str(caught.value)
        named = str(caught.value).partition("`cpchub train ")[2].partition("`")[0]
        recipe = recipes.get(named)
        trained = method_of(recipe.method)
        assert trained is not None
        assert trained.family == family

    @pytest.mark.parametrize("family", [name for name in FAMILIES if name != "cpc"])
    def test_its_network_is_as_wide_as_it_says(self, family: str) -> None:
        spec = get_spec(family)
        with torch.device("meta"):
            network = timm.create_model(spec.architecture, num_classes=0)
        assert (spec.status, spec.dim) == ("recipe", network.num_features)
        cfg = timm.data.resolve_model_data_config(network)
        assert (spec.mean, spec.std) == (cfg["mean"], cfg["std"])

    def test_it_loads_untrained(self) -> None:
        encoder = load("inva-spread", pretrained=False, device="cpu")
        assert (encoder.dim, encoder.spec.architecture) == (512, "resnet18")
        assert encoder.encode(torch.zeros(3, 40, 40)).shape == (1, 512)

    def test_one_that_is_on_the_hub_is_named(self, hub: LoopbackHub, exported: Path, cards: Path) -> None:
        publish(exported, "lab/tiny-simclr", token="secret").record(exported, cards / "tiny-simclr")
        shutil.rmtree(catalog.catalog_folder().parent / "hf", ignore_errors=True)
        with pytest.raises(WeightsUnavailableError, match="Load tiny-simclr by its name"):
            load("simclr")
        assert load("tiny-simclr").dim == DIM

    def test_it_can_be_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "moco"]) == 0
        assert "The network of MoCo" in capsys.readouterr().out


def test_where_no_encoder_is_named_the_best_measured_one_is_taken(exported: Path, cards: Path) -> None:
    put(exported, cards, "a-cpc", knn(0.4), method="cpc_v2")
    put(exported, cards, "b-simclr", knn(0.6))
    put(exported, cards, "c-moco", method="moco_v2")
    assert bundled_encoder() == "b-simclr"
    shutil.rmtree(cards)
    cards.mkdir()
    with pytest.raises(UnknownModelError, match="No encoder ships"):
        bundled_encoder()


class TestModelsCommand:
    @pytest.fixture(autouse=True)
    def entries(self, exported: Path, cards: Path) -> None:
        put(exported, cards, "one-simclr", knn(0.6543))
        put(exported, cards, "two-moco", method="moco_v2")
        (cards / "two-moco" / "model.safetensors").unlink()

    @pytest.mark.parametrize(
        ("flags", "names"),
        [
            ([], ["one-simclr", "two-moco"]),
            (["*moco*"], ["two-moco"]),
            (["--method", "moco"], ["two-moco"]),
            (["--bundled"], ["one-simclr"]),
            (["--status", "recipe"], ["two-moco"]),
            (["--dim", str(DIM)], ["one-simclr", "two-moco"]),
            (["--dim", "999"], []),
            (["simclr"], ["one-simclr"]),
        ],
    )
    def test_flags_narrow_the_table(
        self, flags: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["models", *flags]) == 0
        assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == names

    def test_methods_and_data_sets_are_in_words(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models"]) == 0
        one, two = (line.split("\t") for line in capsys.readouterr().out.splitlines())
        assert one[:7] == ["one-simclr", "bundled", str(DIM), "32x32", "SimCLR", "random numbers", "65.4%"]
        assert (one[7], one[9]) == ("", "in the package")
        assert two[4] == "MoCo v2"


def test_every_recipe_that_an_entry_names_is_there_and_trains_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "catalog_folder", lambda: SHIPPED)
    named = {name: get_spec(name) for name in list_models(status="recipe") if get_spec(name).recipe}
    assert {"cpc-resnet170", "cpc-resnet161", "cpc-resnet50"} <= set(named)
    for name, spec in named.items():
        recipe = recipes.get((spec.recipe or {})["name"])
        assert recipe.backbone == spec.architecture, name
        with pytest.raises(WeightsUnavailableError, match=f"`cpchub train {recipe.name}`.*pretrained=False"):
            load(name)


def test_every_method_that_can_be_trained_is_known_in_words() -> None:
    for method in methods.names():
        assert method_of(method) is not None, method
        assert method.replace("_", "-") in METHODS
