"""A method is one file: its registration makes it trainable, resumable and listed. Older recipes are still read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpchub.cli import main
from cpchub.errors import RecipeError
from cpchub_training import data, methods, recipes
from cpchub_training.methods import DataFacts, Method, method
from cpchub_training.methods import registry as method_registry
from cpchub_training.recipes import MoCoSettings, Recipe, recipe
from cpchub_training.recipes import registry as recipe_registry
from cpchub_training.run.loop import train

REPOSITORY = Path(__file__).parents[3]


class Brightness(Method):
    """Predicts the mean brightness of a view: a toy, and all that a method takes."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.regressor = nn.Linear(width, 1)

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> Brightness:
        return cls(backbone, methods.width_of(backbone))

    def forward(
        self, views: Sequence[Tensor], indices: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        (x,) = views
        wanted = x.mean(dim=(1, 2, 3))
        return F.mse_loss(self.regressor(self.backbone(x)).squeeze(1), wanted), {"brightness": wanted.mean()}

    def chance(self, n: int) -> float:
        return 1.0


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(recipe_registry, "_REGISTRY", dict(recipe_registry._REGISTRY))
    monkeypatch.setattr(method_registry, "_REGISTRY", dict(method_registry._REGISTRY))
    method("brightness", views=1)(Brightness)

    @recipe
    def brightness_digits() -> Recipe:
        return replace(
            recipes.get("simclr_digits"),
            name="brightness_digits",
            method="brightness",
            n_views=1,
            backbone_args={"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]},
            batch_size=16,
            epochs=2,
            warmup_epochs=0,
            knn_every=0,
        )

    return recipes.get("brightness-digits")


def test_a_toy_method_of_one_file_trains_and_resumes_as_if_it_had_never_stopped(toy: Recipe, tmp_path: Path) -> None:
    digits = data.digits().subset(torch.arange(32).numpy())
    train(toy, tmp_path / "whole", images=digits)
    for _ in range(2):
        train(toy, tmp_path / "parts", images=digits, stop_after_steps=2)
    whole, parts = (tmp_path / name / "checkpoints" / "last.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    assert "brightness" in json.loads((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[-1])


def test_a_toy_method_is_listed_by_the_command_line(toy: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    assert "brightness" in methods.names()
    assert main.main(["train", "--list"]) == 0
    assert "brightness_digits" in capsys.readouterr().out.split()


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match=r"method='simclrr' is no method; did you mean simclr"):
        methods.get("simclrr")


@pytest.mark.parametrize("name", ["uda", "vat", "pseudo_label", "entropy_minimization"])
def test_semi_supervised_methods_say_that_they_take_some_labels(name: str) -> None:
    assert methods.get(name).labels == "some"


def test_a_recipe_of_an_older_version_is_read_into_its_groups() -> None:
    older = {
        "name": "old",
        "method": "moco_v2",
        "queue_size": 64,
        "symmetric": True,
        "bank_negatives": 5,
        "negatives": "batch",
    }
    read = Recipe.from_dict(older)
    assert read.moco == MoCoSettings(queue_size=64, symmetric=True)
    assert (read.bank.negatives, read.cmc.negatives) == (5, "batch")
    assert Recipe.from_dict(json.loads(json.dumps(read.to_dict()))) == read


@pytest.mark.parametrize(
    "path", sorted(REPOSITORY.glob("model_cards/*/recipe.json")), ids=lambda path: path.parent.name
)
def test_every_published_recipe_is_read_and_written_again_the_same(path: Path) -> None:
    read = Recipe.from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert Recipe.from_dict(json.loads(json.dumps(read.to_dict()))) == read
    read.check(1_000_000)


def test_a_setting_of_one_method_that_cannot_work_names_its_flag() -> None:
    wrong = replace(recipes.get("simclr_digits"), moco=MoCoSettings(queue_size=0))
    with pytest.raises(RecipeError, match=r"moco\.queue_size=0 cannot work; change --moco\.queue-size"):
        wrong.check(1000)
