"""A run knows the encoders that it was made of, through fine-tuning and distillation, and takes over their licence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors import safe_open

from cpchub.catalog.licences import Parent
from cpchub.common.files import write_json
from cpchub_training.jobs.classifier import write_classifier
from cpchub_training.jobs.lineage import parents_of
from cpchub_training.jobs.pretrain import describe
from cpchub_training.recipes import Recipe
from tests.tiny_encoder import export_tiny


def run_of(folder: Path, **settings: str) -> str:
    """A run folder, as far as its recipe goes."""
    folder.mkdir()
    write_json(folder / "recipe.json", Recipe(name=folder.name, **settings).to_dict())  # type: ignore[arg-type]
    return str(folder)


def test_it_is_followed_from_the_student_to_the_pretraining(tmp_path: Path) -> None:
    encoder = export_tiny(tmp_path / "tiny", license="cc-by-nc-4.0")
    pretrained = run_of(tmp_path / "pretrained", init_from=str(encoder))
    tuned = run_of(tmp_path / "tuned", method="fine_tune", teacher=pretrained)
    for recipe in (
        Recipe(name="continued", init_from=str(encoder)),
        Recipe(name="tuned", method="fine_tune", teacher=pretrained),
        Recipe(name="student", method="distil", teacher=tuned),
    ):
        assert parents_of(recipe) == (Parent("tiny-simclr", "cc-by-nc-4.0"),)
        facts = describe(recipe, 10, recipe.name)
        assert facts["license"] == "cc-by-nc-4.0"
        assert facts["derived_from"] == [{"name": "tiny-simclr", "license": "cc-by-nc-4.0"}]


def test_a_free_one_leaves_the_licence_open(tmp_path: Path) -> None:
    encoder = export_tiny(tmp_path / "tiny")
    assert describe(Recipe(name="mine", init_from=str(encoder), data="cifar10"), 1, "mine")["license"] == "apache-2.0"
    assert describe(Recipe(name="mine", init_from=str(encoder), data="/images"), 1, "mine")["license"] == "unknown"


def test_what_is_gone_has_no_licence_that_is_known(tmp_path: Path) -> None:
    recipe = Recipe(name="mine", init_from=str(tmp_path / "gone"), data="cifar10")
    assert parents_of(recipe) == (Parent("gone", "unknown"),)
    assert describe(recipe, 1, "mine")["license"] == "unknown"


def test_timms_own_say_their_licence() -> None:
    recipe = Recipe(name="mine", init_from="timm/vit_base_patch16_224.mae")
    assert parents_of(recipe) == (Parent("timm/vit_base_patch16_224.mae", "cc-by-nc-4.0"),)


def test_a_classifier_says_the_licence_in_its_header(tmp_path: Path) -> None:
    encoder = export_tiny(tmp_path / "tiny", license="cc-by-nc-4.0")
    method = SimpleNamespace(classifier=torch.nn.Linear(4, 2))
    recipe = Recipe(name="tuned", init_from=str(encoder), data="/images")
    write_classifier(method, recipe, tmp_path / "classifier.safetensors")  # type: ignore[arg-type]
    with safe_open(tmp_path / "classifier.safetensors", "pt") as saved:
        assert saved.metadata()["license"] == "cc-by-nc-4.0"


def test_a_run_of_its_own_has_no_parents() -> None:
    assert parents_of(Recipe(name="alone")) == ()
    assert "derived_from" not in describe(Recipe(name="alone"), 1, "alone")
