"""What the catalog says, and what it says to a name it does not have. None of it needs torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpchub.catalog import listing
from cpchub.catalog.listing import get_spec, list_models
from cpchub.catalog.spec import FileRecord, ModelSpec
from cpchub.errors import ArgumentError, HubError, ModelFolderError, UnknownModelError


def write_entry(
    folder: Path,
    *,
    weights: bool = False,
    sha256: str = "a" * 64,
    release: dict[str, Any] | None = None,
    **facts: Any,
) -> Path:
    folder.mkdir(parents=True)
    config = {
        "architecture": "resnet18",
        "num_classes": 0,
        "num_features": 512,
        "model_args": {"stem_type": "deep"},
        "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.2] * 3, "crop_pct": 1.0},
        "cpchub": {
            "name": folder.name,
            "method": "SimCLR",
            "weights": {"model.safetensors": {"sha256": sha256, "size": 3}},
            **facts,
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    if weights:
        (folder / "model.safetensors").write_bytes(b"abc")
    if release is not None:
        (folder / "release.json").write_text(json.dumps(release))
    return folder


@pytest.fixture(autouse=True)
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "model_cards"
    write_entry(root / "simclr-resnet18-cifar10", weights=True, aliases=["small"])
    write_entry(root / "simclr-resnet101-cifar10")
    write_entry(
        root / "moco-resnet34", method="MoCo v2", release={"repo_id": "some/moco-resnet34", "revision": "b" * 40}
    )
    monkeypatch.setattr(listing, "catalog_folder", lambda: root)
    monkeypatch.delenv("CPCHUB_HUB", raising=False)
    monkeypatch.delenv("CPCHUB_ORG", raising=False)
    return root


class TestListModels:
    def test_names_come_in_natural_order(self) -> None:
        assert list_models() == ["moco-resnet34", "simclr-resnet18-cifar10", "simclr-resnet101-cifar10"]

    def test_wildcards_take_hyphens_and_underscores_alike(self) -> None:
        assert list_models("simclr_resnet*") == ["simclr-resnet18-cifar10", "simclr-resnet101-cifar10"]
        assert list_models("*moco*") == ["moco-resnet34"]
        assert list_models("nothing*") == []

    def test_method_and_status_narrow_the_list(self) -> None:
        assert list_models(method="moco_v2") == list_models(method="MoCo v2") == ["moco-resnet34"]
        assert list_models(bundled=True) == list_models(status="bundled") == ["simclr-resnet18-cifar10"]
        assert list_models(status="hub") == ["moco-resnet34"]
        assert list_models(status="recipe") == ["simclr-resnet101-cifar10"]

    def test_a_status_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(ArgumentError, match="bundled, hub, public, recipe"):
            list_models(status="shipped")

    def test_a_folder_hub_adds_its_encoders_with_or_without_an_organisation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_entry(tmp_path / "hub" / "plain", weights=True)
        write_entry(tmp_path / "hub" / "lab" / "cells", weights=True)
        monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "hub"))
        assert {"plain", "cells"} <= set(list_models(status="hub"))
        assert get_spec("cells").folder == tmp_path / "hub" / "lab" / "cells"

    def test_a_broken_folder_in_a_folder_hub_is_left_out_with_one_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_entry(tmp_path / "hub" / "fine")
        (write_entry(tmp_path / "hub" / "lab" / "broken-one") / "config.json").write_text("{half a")
        monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "hub"))
        with pytest.warns(UserWarning, match="broken-one in CPCHUB_HUB is left out") as warned:
            assert "fine" in list_models()
        assert len(warned) == 1

    def test_a_folder_hub_that_is_not_there_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "unmounted"))
        with pytest.raises(HubError, match=r"CPCHUB_HUB is .*unmounted"):
            list_models()

    def test_an_empty_or_missing_catalog_is_an_empty_list(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listing, "catalog_folder", lambda: tmp_path / "nowhere")
        assert list_models() == []


class TestGetSpec:
    @pytest.mark.parametrize(
        "name", ["simclr-resnet18-cifar10", "simclr_resnet18_cifar10", "SimCLR-ResNet18-CIFAR10", "small"]
    )
    def test_hyphens_underscores_case_and_aliases_lead_to_the_entry(self, name: str) -> None:
        assert get_spec(name).name == "simclr-resnet18-cifar10"

    def test_the_organisation_may_be_spelled_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert get_spec("some/moco-resnet34").revision == "b" * 40
        assert get_spec("cpchub/simclr-resnet18-cifar10").status == "bundled"
        monkeypatch.setenv("CPCHUB_ORG", "lab")
        assert get_spec("lab/simclr-resnet18-cifar10").status == "bundled"

    def test_a_broken_folder_is_an_error_only_to_who_asks_for_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (write_entry(tmp_path / "hub" / "broken-one") / "config.json").write_text("{half a")
        write_entry(tmp_path / "hub" / "fine")
        monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "hub"))
        assert get_spec("fine").status == "hub"
        for name in ("broken_one", "cpchub/broken-one"):
            with pytest.raises(ModelFolderError, match=r"broken-one.config\.json cannot be read"):
                get_spec(name)
        with pytest.raises(UnknownModelError):
            get_spec("something-else")

    def test_an_unknown_name_offers_the_nearest(self) -> None:
        with pytest.raises(UnknownModelError) as caught:
            get_spec("simclr-resnet18-cifar100")
        assert "'simclr-resnet18-cifar10'" in str(caught.value)
        assert isinstance(caught.value, KeyError)

    def test_an_unknown_name_far_from_all_offers_what_there_is(self) -> None:
        with pytest.raises(UnknownModelError, match="moco-resnet34"):
            get_spec("zzzz")

    def test_a_release_pins_repository_commit_and_files(self, cards: Path) -> None:
        release = {"repo_id": "pinned", "revision": "c" * 40, "files": {"model.safetensors": "d" * 64}}
        write_entry(cards / "pinned", release=release)
        spec = get_spec("pinned")
        assert (spec.repo_id, spec.revision, spec.status) == ("cpchub/pinned", "c" * 40, "hub")
        assert spec.files["model.safetensors"] == FileRecord("d" * 64)


class TestModelSpec:
    def test_a_folder_describes_its_network_and_transform(self, cards: Path) -> None:
        spec = ModelSpec.from_folder(cards / "simclr-resnet18-cifar10")
        assert (spec.architecture, spec.dim, spec.input_size) == ("resnet18", 512, (3, 32, 32))
        assert spec.transform["crop_pct"] == 1.0
        assert spec.status == "local"

    def test_metrics_and_recipe_come_from_their_files(self, cards: Path) -> None:
        folder = cards / "simclr-resnet18-cifar10"
        result = {"task": "knn", "dataset": "CIFAR-10", "config": "knn_k200", "value": 0.65}
        (folder / "eval.json").write_text(json.dumps({"results": [result]}))
        (folder / "recipe.json").write_text(json.dumps({"epochs": 200}))
        spec = ModelSpec.from_folder(folder)
        assert spec.metrics == {"knn_k200": 0.65}
        assert spec.recipe == {"epochs": 200}

    def test_the_fingerprint_is_stable_and_not_of_the_name(self, tmp_path: Path, cards: Path) -> None:
        one = ModelSpec.from_folder(cards / "simclr-resnet18-cifar10")
        other = ModelSpec.from_folder(write_entry(tmp_path / "other"))
        changed = ModelSpec.from_folder(write_entry(tmp_path / "changed", sha256="e" * 64))
        assert one.fingerprint == other.fingerprint != changed.fingerprint
        assert len(one.fingerprint) == 16

    @pytest.mark.parametrize("content", ["", "[]", '{"architecture": "resnet18"}', '{"num_features": "many"}'])
    def test_a_config_that_describes_nothing_is_refused_with_its_path(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ModelFolderError, match=r"config\.json"):
            ModelSpec.from_folder(tmp_path)

    def test_a_folder_without_a_config_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFolderError, match=r"config\.json"):
            ModelSpec.from_folder(tmp_path / "nowhere")


def test_listing_encoders_imports_no_torch_and_no_timm() -> None:
    code = (
        "import sys, cpchub; cpchub.list_models();"
        "assert not {'torch', 'timm', 'numpy', 'faiss', 'gradio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
