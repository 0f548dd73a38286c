"""What is watched: closed forms of the measures, and what is said to whom."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cpchub_training import data, recipes
from cpchub_training.losses import info_nce, sup_con
from cpchub_training.methods.instdisc import InstDisc
from cpchub_training.methods.moco import MoCo
from cpchub_training.methods.simclr import SimCLR
from cpchub_training.recipes import MoCoSettings
from cpchub_training.run import collapse, monitors
from cpchub_training.run.advice import Advice

RECIPE = replace(recipes.get("simclr_digits"), epochs=10)


def test_effective_rank_counts_directions_of_equal_strength() -> None:
    x = torch.cat([torch.eye(8)[:3], -torch.eye(8)[:3]])
    assert collapse.effective_rank(x) == pytest.approx(3, rel=1e-5)
    assert collapse.effective_rank(torch.ones(5, 4)) == 1
    assert collapse.effective_rank(x + 100) == pytest.approx(3, rel=1e-3)  # an offset is no direction


def test_alignment_and_uniformity_of_known_points() -> None:
    a = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert collapse.alignment(a, a) == 0
    assert collapse.alignment(a, -a) == 4
    assert collapse.uniformity(a) == pytest.approx(-8)
    assert collapse.uniformity(torch.ones(3, 2) / math.sqrt(2)) == pytest.approx(0)


def test_a_look_at_an_encoder_needs_labels_only_for_knn() -> None:
    images = data.digits().subset(np.arange(60))
    recipe = replace(RECIPE, input_size=8, views=replace(RECIPE.views, size=8))
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 6))
    with_labels = monitors.measure_features(backbone, images, recipe, torch.device("cpu"))
    without = monitors.measure_features(backbone, replace(images, labels=None), recipe, torch.device("cpu"))
    assert with_labels.keys() - without.keys() == {"knn_train"}
    assert all(with_labels[name] == without[name] for name in without)
    assert 1 <= without["effective_rank"] <= 6
    assert -1 <= without["negative_similarity"] <= 1
    assert 0 <= without["alignment"] <= 4
    assert without["uniformity"] <= 0
    assert without["information_info_nce"] <= math.log(60)
    assert math.isfinite(without["information_nwj"])


def unit(*size: int, seed: int = 0) -> torch.Tensor:
    return nn.functional.normalize(torch.randn(*size, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_information_of_equal_views_is_near_the_most_that_can_be_shown() -> None:
    x = unit(512, 256)
    bounds = monitors.information_bounds(x, x)
    assert 0.95 * math.log(512) < bounds["information_info_nce"] <= math.log(512)
    assert bounds["information_nwj"] > bounds["information_info_nce"]  # it is not capped


@pytest.mark.parametrize(
    ("a", "b"),
    [(unit(512, 64), unit(512, 64, seed=1)), (unit(512, 2), unit(512, 2, seed=1)), (unit(1, 8), unit(1, 8))],
    ids=["independent", "independent in two dimensions", "collapsed"],
)
def test_views_that_tell_nothing_of_each_other_have_no_information(a: torch.Tensor, b: torch.Tensor) -> None:
    bounds = monitors.information_bounds(a.expand(512, -1), b.expand(512, -1))
    assert all(value < 0.1 for value in bounds.values())


def test_information_falls_as_noise_grows() -> None:
    x = unit(512, 32)
    by_noise = [
        monitors.information_bounds(x, nn.functional.normalize(x + noise * unit(512, 32, seed=1), dim=1))
        for noise in (0.3, 1.0, 3.0)
    ]
    for name in ("information_info_nce", "information_nwj"):
        values = [bounds[name] for bounds in by_noise]
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_images_for_bounds_have_none(n: int) -> None:
    assert monitors.information_bounds(torch.ones(n, 2), torch.ones(n, 2)) == {}


def backbone() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8))


def test_the_log_k_line_is_the_loss_of_a_collapsed_encoder() -> None:
    z = torch.ones(6, 2, 4)
    assert SimCLR(backbone(), 8, 8, 4, 0.5).chance(6) == pytest.approx(float(sup_con(z, None, 0.5)), rel=1e-5)
    moco = MoCo(backbone(), 8, 8, 4, K=32)
    alike = float(info_nce(z[:, 0], z[:, 1], torch.ones(32, 4), 0.2))
    assert moco.chance(6) == pytest.approx(alike, rel=1e-5)
    assert InstDisc(backbone(), 8, 4, 100, m=0).chance(6) == pytest.approx(math.log(100))
    assert InstDisc(backbone(), 8, 4, 100, m=4096).chance(6) == pytest.approx(9.317888, abs=1e-5)


def line(**values: float) -> dict[str, float]:
    return {"step": 90, "epoch": 9.0, "loss": 1.0, **values}


def said(method: nn.Module, values: dict[str, float], n_images: int = 1000, **changes: object) -> str:
    recipe = replace(RECIPE, batch_size=16, **changes)  # type: ignore[arg-type]
    return " ".join(Advice(recipe, n_images, 10, method).about(values))


def test_a_healthy_run_gets_no_advice() -> None:
    healthy = line(effective_rank=20.0, negative_similarity=0.1)
    assert said(SimCLR(backbone(), 8, 8, 4, 0.5), healthy) == ""
    assert healthy["log_k"] == pytest.approx(math.log(31))


def test_collapse_is_said_in_words() -> None:
    simclr = SimCLR(backbone(), 8, 8, 4, 0.5)
    assert "collapsed to 1.2 dimension" in said(simclr, line(effective_rank=1.2))
    assert "point one way" in said(simclr, line(negative_similarity=0.999))
    assert "is not learning" in said(simclr, line(loss=math.log(31)))
    assert said(simclr, line(step=1, loss=math.log(31))) == ""  # at the start it is as it must be
    assert said(simclr, line(loss=math.log(31)), warmup_epochs=9) == ""  # and until the rate has its height
    short = Advice(replace(RECIPE, epochs=1, warmup_epochs=0), 1000, 3, simclr)
    assert short.about(line(step=3, loss=math.log(128))) == []
    teacher = said(simclr, line(loss=math.log(31)), teacher="runs/a")
    assert teacher.endswith("is not learning. Try a lower rate")


def test_a_queue_longer_than_the_data_and_one_that_still_fills_are_said() -> None:
    moco = MoCo(backbone(), 8, 8, 4, K=640)
    assert "longer than the 500 images" in said(moco, line(), n_images=500)
    assert "expected until step 40" in said(moco, line(step=3))
    assert said(moco, line(step=50)) == ""
    assert "expected until step 20" in said(moco, line(step=3), moco=MoCoSettings(symmetric=True))


def test_advice_is_given_once() -> None:
    advice = Advice(replace(RECIPE, batch_size=16), 1000, 10, SimCLR(backbone(), 8, 8, 4, 0.5))
    assert len(advice.about(line(effective_rank=1.0))) == 1
    assert advice.about(line(effective_rank=1.0)) == []
