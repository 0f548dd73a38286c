"""The baselines: pretext tasks, and the terms of images without labels, each against its closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpchub.errors import RecipeError
from cpchub.fewlabels import label_fractions
from cpchub_training import data, recipes
from cpchub_training.data.batches import Batches
from cpchub_training.methods.entropy_minimization import EntropyMinimization, entropy
from cpchub_training.methods.exemplar import Exemplar
from cpchub_training.methods.pseudo_label import PseudoLabel
from cpchub_training.methods.relative_position import NEIGHBOURS, RelativePosition
from cpchub_training.methods.rotation import Rotation
from cpchub_training.methods.semi_supervised import SemiSupervised, divergences
from cpchub_training.methods.uda import UDA
from cpchub_training.methods.vat import VAT
from cpchub_training.recipes import Recipe, SemiSupervisedSettings
from cpchub_training.run.loop import train
from cpchub_training.views.settings import Views
from tests.training.small_runs import TINY

SEMI = ("pseudo_label", "entropy_minimization", "vat", "uda")
PRETEXT = ("rotation", "exemplar", "relative_position")


def flat(side: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, 8))


def quiet(method: nn.Module) -> nn.Module:
    """With a classifier that gives every class the same probability."""
    for parameter in method.get_submodule("classifier").parameters():
        nn.init.zeros_(parameter)
    return method


def test_rotation_sees_each_image_in_four_rotations() -> None:
    seen: list[Tensor] = []
    backbone = flat()
    backbone.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    x = torch.rand(5, 3, 6, 6)
    loss, scalars = quiet(Rotation(backbone, 8))([x])
    assert loss.item() == pytest.approx(math.log(4))
    for turns in range(4):
        part = seen[0][5 * turns : 5 * turns + 5]
        torch.testing.assert_close(torch.rot90(part, -turns, (2, 3)), x)
    assert scalars["accuracy"] == pytest.approx(0.25)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_exemplar_gives_every_image_a_class() -> None:
    method = quiet(Exemplar(flat(), 8, n_images=50))
    loss, _ = method([torch.rand(5, 3, 6, 6)] * 2, indices=torch.tensor([3, 9, 40, 0, 7]))
    assert loss.item() == pytest.approx(math.log(50))
    assert method.chance(5) == pytest.approx(math.log(50))  # type: ignore[operator]


def test_relative_position_cuts_neighbours_of_the_middle() -> None:
    """An image whose value is its row in one channel and its column in another tells where a patch was cut."""
    side = 48
    method = RelativePosition(flat(), 8, side)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    x = torch.stack([rows, columns, rows]).float().expand(8, -1, -1, -1)
    middle = method._cut(x, torch.zeros(8, 2, dtype=torch.long))
    patches = method._cut(x, torch.tensor(NEIGHBOURS))
    step = method.patch + method.gap
    offset = (patches - middle).mean((2, 3))[:, :2]
    expected = step * torch.tensor(NEIGHBOURS).float()
    assert (offset - expected).abs().max() <= 2 * method.move
    assert patches.min() >= 0  # no index ran over the edge
    assert method.gap >= 1
    assert method.move >= 1


def test_relative_position_needs_room_for_nine_patches() -> None:
    with pytest.raises(RecipeError, match="views of 16 pixels"):
        RelativePosition(flat(), 8, 16)


class Given(SemiSupervised):
    """Logits are the pixels themselves, and each image without a label loses 10."""

    def logits(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4]

    def unlabelled(self, views: list[Tensor], logits: list[Tensor]) -> Tensor:  # type: ignore[override]
        return logits[0].sum(1) * 0 + 10


def test_only_known_labels_are_learnt_from() -> None:
    method, x = Given(flat(), 8, 4, weight=0.5), torch.randn(6, 3, 6, 6)
    labels = torch.tensor([2, -1, -1, 0, -1, -1])
    loss, scalars = method([x], labels=labels)
    known = F.cross_entropy(x.flatten(1)[[0, 3], :4], torch.tensor([2, 0]))
    torch.testing.assert_close(scalars["supervised"], known)
    torch.testing.assert_close(loss, known + 5)
    nothing, _ = method([x], labels=torch.full((6,), -1))
    assert nothing.item() == 5
    everything, _ = method([x], labels=torch.arange(6) % 4)
    torch.testing.assert_close(everything, F.cross_entropy(x.flatten(1)[:, :4], torch.arange(6) % 4))


def test_pseudo_labels_are_the_networks_own_guesses_where_it_is_certain() -> None:
    method = PseudoLabel(flat(), 8, 3, threshold=0.9)
    logits = torch.tensor([[9.0, 0, 0], [0.1, 0.2, 0.0]], requires_grad=True)
    values = method.unlabelled([], [logits])
    torch.testing.assert_close(values[0], F.cross_entropy(logits[:1], torch.tensor([0])))
    values.sum().backward()
    assert not logits.grad[1].any()  # type: ignore[index]


def test_entropy_has_its_closed_forms() -> None:
    logits = torch.tensor([[0.0, 0, 0], [50.0, 0, 0]])
    torch.testing.assert_close(entropy(logits), torch.tensor([math.log(3), 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(EntropyMinimization(flat(), 8, 3).unlabelled([], [logits]), entropy(logits))


def test_the_adversarial_direction_of_a_linear_classifier_is_the_difference_of_its_weights() -> None:
    """With two classes, the answer changes most along w_1 - w_0, at any image."""
    method = VAT(nn.Flatten(), 12, 2, epsilon=2.0)
    x = torch.randn(4, 3, 2, 2)
    moved = method._adversarial(x, method.logits(x).detach()).flatten(1)
    w = method.classifier.weight[1] - method.classifier.weight[0]
    cosine = F.cosine_similarity(moved, w.expand(4, -1))
    torch.testing.assert_close(cosine.abs(), torch.ones(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(moved.norm(dim=1), torch.full((4,), 2.0))


def test_vat_leaves_the_statistics_of_batch_norms_alone() -> None:
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    method = VAT(backbone, 8, 3).train()
    x = torch.randn(6, 3, 6, 6)
    logits = method.logits(x)
    before = backbone[1].running_mean.clone()
    method.unlabelled([x], [logits]).sum().backward()
    assert torch.equal(before, backbone[1].running_mean)
    method.logits(x)
    assert not torch.equal(before, backbone[1].running_mean)


def test_vat_finds_no_divergence_where_nothing_is_perturbed() -> None:
    """Both answers are given under the same batch statistics."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    method = VAT(backbone, 8, 3, epsilon=1e-12).train()
    x = torch.cat([torch.rand(4, 3, 6, 6) * 9, torch.rand(4, 3, 6, 6)])
    torch.testing.assert_close(method.unlabelled([x], [method.logits(x)]), torch.zeros(8), atol=1e-6, rtol=0)


def test_the_adversarial_direction_is_not_lost_in_the_rounding_of_bfloat16() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU()]
    method = VAT(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()), 64, 4).train()
    x = torch.randn(16, 3, 16, 16)

    def direction() -> Tensor:
        torch.manual_seed(1)
        return method._adversarial(x, method.logits(x).detach()).flatten(1)

    with torch.autocast("cpu", torch.bfloat16):
        rounded = direction()
    assert F.cosine_similarity(rounded, direction()).mean() > 0.9


def test_divergence_is_kullback_and_leiblers() -> None:
    p, q = torch.randn(5, 4), torch.randn(5, 4)
    expected = F.kl_div(q.log_softmax(1), p.log_softmax(1), log_target=True, reduction="none").sum(1)
    torch.testing.assert_close(divergences(p, q), expected)
    torch.testing.assert_close(divergences(p, p), torch.zeros(5))


def test_uda_asks_for_one_answer_to_both_views_where_the_first_is_certain() -> None:
    method = UDA(nn.Flatten(), 12, 3, temperature=0.5, threshold=0.8)
    strong = torch.randn(4, 3, 2, 2)
    logits = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0.1, 0, 0], [0, 0, 0]])
    sharp, answer = logits / 0.5, method.logits(strong)
    values = method.unlabelled([strong, strong], [logits, answer])
    torch.testing.assert_close(values[:2], divergences(sharp, answer)[:2], atol=1e-4, rtol=1e-4)
    assert not values[2:].any()


def test_uda_sees_both_views_under_the_same_batch_statistics() -> None:
    """Two equal views get equal answers, so that nothing is left to learn from them."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    method = UDA(backbone, 8, 3, temperature=1.0, threshold=0.0).train()
    x = torch.cat([torch.rand(4, 3, 6, 6) * 9, torch.rand(4, 3, 6, 6)])
    _, scalars = method([x, x], labels=torch.tensor([0, 1, 2, 0, -1, -1, -1, -1]))
    torch.testing.assert_close(scalars["unlabelled"], torch.zeros(()), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("share", "least"), [(0.25, 1), (0.5, 2), (0.01, 1)])
def test_every_accumulated_part_of_a_batch_has_labelled_images(share: float, least: int) -> None:
    recipe = replace(
        recipes.get("simclr_digits"), batch_size=20, semi=SemiSupervisedSettings(labelled_share=share), accumulate=5
    )
    labelled = torch.tensor([3, 5])
    order = Batches(replace(recipe, semi=SemiSupervisedSettings()), 100)
    for batch, plain in zip(Batches(recipe, 100, labelled=labelled).batches(0, 5), order.batches(0, 5), strict=True):
        parts = torch.isin(batch.rows, labelled).reshape(5, 4).sum(dim=1)
        assert int(parts.min()) >= least
        assert len(batch.rows) == len(plain.rows)


def test_a_share_of_every_batch_is_drawn_from_the_labelled_images() -> None:
    recipe = replace(recipes.get("simclr_digits"), batch_size=20, semi=SemiSupervisedSettings())
    labelled = torch.tensor([3, 5])
    for batch in Batches(recipe, 100, labelled=labelled).batches(0, 10):
        assert len(batch.rows) == 20
        assert set(batch.rows[3::4].tolist()) <= {3, 5}  # evenly spread, so that each rank has its share


def small(method: str, **changes: object) -> Recipe:
    recipe = replace(
        recipes.get("simclr_digits"),
        name=f"tiny_{method}",
        method=method,
        backbone_args=TINY,
        views=Views(size=32, crop_scale=(0.7, 1), flip=0, jitter_p=0, grey_p=0),
        input_size=32,
        n_views=2 if method == "uda" else 1,
        optimizer="sgd",
        lr=0.1,
        epochs=2,
        batch_size=16,
        warmup_epochs=0,
        knn_every=0,
        semi=SemiSupervisedSettings(label_fraction=0.5, certainty=0.5),
    )
    return replace(recipe, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [*PRETEXT, *SEMI])
def test_a_stopped_baseline_that_goes_on_equals_one_never_stopped(method: str, tmp_path: Path) -> None:
    images = data.digits().subset(np.arange(48))
    train(small(method), tmp_path / "whole", images=images)
    for _ in range(2):
        train(small(method), tmp_path / "parts", images=images, stop_after_steps=4)
    last = Path("checkpoints") / "last.safetensors"
    assert (tmp_path / "whole" / last).read_bytes() == (tmp_path / "parts" / last).read_bytes()


def test_labels_that_are_not_drawn_are_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, recipe = (
        data.digits().subset(np.arange(100)),
        small("pseudo_label", semi=SemiSupervisedSettings(label_fraction=0.2, certainty=0.5)),
    )
    drawn = set(label_fractions(images.class_of_each(), [0.2], recipe.seed)[0.2].tolist())
    forward, seen = SemiSupervised.forward, {}

    def watched(self: SemiSupervised, views: list[Tensor], indices: Tensor, labels: Tensor) -> object:
        seen.update(zip(indices.tolist(), labels.tolist(), strict=True))
        return forward(self, views, indices, labels)

    monkeypatch.setattr(SemiSupervised, "forward", watched)
    train(recipe, tmp_path / "run", images=images)
    assert {row for row, label in seen.items() if label != -1} <= drawn
    assert all(label == images.class_of_each()[row] for row, label in seen.items() if row in drawn)
    assert len(seen) > len(drawn)
