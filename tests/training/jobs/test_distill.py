"""SimCLR v2's three steps: what fine-tuning keeps of the head, what the student learns, and the whole way."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn

import cpchub
from cpchub.cli.main import main
from cpchub.errors import LabelError, OtherRunError, RecipeError, RunError
from cpchub_training import data, recipes
from cpchub_training.data.streaming import Stream
from cpchub_training.jobs import distill
from cpchub_training.losses import distillation
from cpchub_training.methods.distil import Distil
from cpchub_training.methods.fine_tune import FineTune
from cpchub_training.methods.projector import projector
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.distillation import Distillation
from cpchub_training.run.loop import train
from cpchub_training.run.saved_run import saved_run
from cpchub_training.views.settings import Views
from tests.training.several_ranks import on_ranks

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16], "stem_type": "deep", "stem_width": 4}


def pretraining(**changes: object) -> Recipe:
    recipe = replace(
        recipes.get("simclr_digits"),
        name="tiny",
        backbone_args=TINY,
        views=Views(size=16, crop_scale=(0.7, 1), flip=0, rotation=10, jitter_p=0, grey_p=0),
        projector_hidden=24,
        projector_dim=8,
        projector_layers=3,
        epochs=1,
        warmup_epochs=0,
        knn_every=0,
    )
    return replace(recipe, **changes)  # type: ignore[arg-type]


def test_distillation_has_its_closed_forms() -> None:
    teacher = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    assert distillation(torch.zeros(2, 3), teacher, 0.5) == pytest.approx(math.log(3))
    p = (teacher / 0.5).softmax(-1)
    entropy = -(p * p.log()).sum(-1).mean()
    torch.testing.assert_close(distillation(teacher, teacher, 0.5), entropy)


def test_the_gradient_of_distillation_is_the_difference_of_the_answers() -> None:
    student, teacher = torch.randn(4, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    distillation(student, teacher, 2.0).backward()
    expected = ((student / 2).softmax(-1) - (teacher / 2).softmax(-1)).detach() / 2 / 4
    torch.testing.assert_close(student.grad, expected)
    assert teacher.grad is None


def test_fine_tuning_starts_after_a_hidden_layer_of_the_head() -> None:
    head = projector(6, 10, 4, layers=3)
    backbone = nn.Flatten()
    for layers, kept in ((0, []), (1, [0, 1, 2]), (2, [0, 1, 2, 3, 4, 5])):
        method = FineTune(backbone, 6, head, layers, n_classes=3).eval()
        assert list(method.middle) == [head[i] for i in kept]
        x = torch.randn(5, 6, 1, 1)
        torch.testing.assert_close(method.middle(backbone(x)), head.eval()[: len(kept)](x.flatten(1)))
        assert not method.logits(x).any()  # the classifier starts at zero
        loss, _ = method([x], labels=torch.tensor([0, 1, 2, 0, 1]))
        assert loss.item() == pytest.approx(math.log(3))
    with pytest.raises(RecipeError, match="fewer hidden layers"):
        FineTune(backbone, 6, head, 3, n_classes=3)


def test_a_teacher_is_frozen_in_every_mode() -> None:
    teacher = FineTune(nn.Flatten(), 6, projector(6, 10, 4, layers=3), 1, n_classes=3)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = Distil(nn.Sequential(nn.Flatten(), nn.Linear(6, 6)), 6, teacher, temperature=1.0).train()
    loss, _ = student([torch.randn(8, 6, 1, 1)])
    loss.backward()
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())
    assert student.training
    assert not student.teacher.training


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "pretrained"
    train(pretraining(epochs=6), run_dir)
    return run_dir


def test_a_saved_run_gives_its_method_back(pretrained: Path, tmp_path: Path) -> None:
    recipe, method = saved_run(pretrained)
    assert recipe.name == "tiny"
    assert type(method).__name__ == "SimCLR"
    with pytest.raises(RunError, match="not the folder of a run"):
        saved_run(tmp_path)


def test_the_three_steps_end_with_an_encoder_and_a_classifier(pretrained: Path, tmp_path: Path) -> None:
    settings = Distillation(label_fraction=0.05, batch_size=24, fine_tune_epochs=60, fine_tune_lr=1.0, epochs=4, lr=2.0)
    results = distill.run(pretrained, tmp_path / "out", settings)
    assert results["labels"] == 70  # 5 % of 1,437, equally many a class
    assert results["accuracy"]["fine_tuned"] > 0.5  # chance is 0.1
    assert results["accuracy"]["student"] > 0.5
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results

    encoder = cpchub.load(tmp_path / "out" / "export", device="cpu")
    test = data.load("digits", split="test").subset(np.arange(50))
    vectors = encoder.encode(list(test.images.permute(0, 2, 3, 1).numpy()))
    with safe_open(tmp_path / "out" / "classifier.safetensors", framework="np") as f:
        answers = (vectors @ f.get_tensor("weight").T + f.get_tensor("bias")).argmax(1)
        assert json.loads(f.metadata()["classes"]) == list("0123456789")
    assert (answers == test.class_of_each()).mean() > 0.4

    again = distill.run(pretrained, tmp_path / "out", settings)  # nothing is trained again
    assert again == results


def test_a_folder_begun_from_other_weights_is_refused(tmp_path: Path) -> None:
    """As of a pretraining that went on since: what was fine-tuned then would pass for its own."""
    run_dir, out = tmp_path / "pretrained", tmp_path / "out"
    train(pretraining(epochs=2), run_dir, stop_after_steps=2)
    settings = Distillation(label_fraction=0.05, batch_size=24, fine_tune_epochs=1, epochs=1)
    distill.run(run_dir, out, settings)
    train(pretraining(epochs=2), run_dir, stop_after_steps=2)
    with pytest.raises(OtherRunError, match="choose another --out"):
        distill.run(run_dir, out, settings)


def test_a_share_of_labels_that_is_none_is_refused(pretrained: Path, tmp_path: Path) -> None:
    for labels in (0.0, 2.0):
        with pytest.raises(LabelError, match="a share of"):
            distill.run(pretrained, tmp_path / "out", Distillation(label_fraction=labels))


def test_a_student_may_be_another_network(pretrained: Path) -> None:
    settings = Distillation(student="resnet18", student_args='{"channels": [4, 4, 4, 4]}')
    recipe = distill.distillation(pretraining(), pretrained, settings)
    assert (recipe.backbone, dict(recipe.backbone_args)) == ("resnet18", {"channels": [4, 4, 4, 4]})
    with pytest.raises(RecipeError, match="is not JSON"):
        distill.distillation(pretraining(), pretrained, replace(settings, student_args="{"))


def test_what_is_no_classifier_cannot_teach(pretrained: Path, tmp_path: Path) -> None:
    wrong = replace(pretraining(method="distil", n_views=1), teacher=str(pretrained))
    with pytest.raises(RecipeError, match="no run of fine_tune"):
        train(wrong, tmp_path / "run")
    with pytest.raises(RecipeError, match="name its folder with --teacher"):
        train(replace(wrong, teacher=""), tmp_path / "run")


def test_images_that_pretraining_streamed_are_streamed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(12):
        path = tmp_path / "photos" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (20 * i, 0, 0)).save(path)
    recipe = pretraining(data=str(tmp_path / "photos"), stream="always", stored_size=16)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    (tmp_path / "run" / "checkpoints" / "last.safetensors").write_bytes(b"weights")
    seen: list[Stream] = []

    def watched(recipe: Recipe, run_dir: Path, *, images: Stream) -> SimpleNamespace:
        seen.append(images)
        return SimpleNamespace(method=None, backbone=None)

    monkeypatch.setattr(distill, "train", watched)
    monkeypatch.setattr(distill, "write_model_folder", lambda *args, **facts: None)
    monkeypatch.setattr(distill, "write_classifier", lambda *args: None)
    results = distill.run(tmp_path / "run", tmp_path / "out", Distillation(label_fraction=0.5))
    few, every = seen
    assert (len(few), len(every)) == (results["labels"], 12)
    assert few.labels is not None
    assert few.labels.bincount().tolist() == [3, 3]
    assert every.labels is None
    rows = [every.listed.images.index(image) for image in few.listed.images]
    assert torch.equal(few.take(torch.arange(6)), every.take(torch.tensor(rows)))


ARGUMENTS = ["--label-fraction", "0.02", "--batch-size", "128", "--fine-tune-epochs", "1", "--epochs", "1"]


def distilled_by_command(pretrained: Path, out: Path) -> None:
    if status := main(["distil", str(pretrained), "-o", str(out), *ARGUMENTS]):
        sys.exit(status)


def test_of_two_ranks_the_first_exports(pretrained: Path, tmp_path: Path) -> None:
    said = on_ranks(2, tmp_path, distilled_by_command, pretrained, tmp_path / "out")
    assert [each.count("student\t") for each in said] == [1, 0]
    assert cpchub.load(tmp_path / "out" / "export", device="cpu").dim == 16


@pytest.mark.slow  # three processes import torch
def test_of_two_ranks_that_torchrun_starts_the_first_exports(pretrained: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "cpchub"]
    done = subprocess.run(
        [*command, "distil", str(pretrained), "-o", str(tmp_path / "out"), *ARGUMENTS],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("student\t") == 1
    assert cpchub.load(tmp_path / "out" / "export", device="cpu").dim == 16
