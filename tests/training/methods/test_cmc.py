"""CMC: which view meets which bank, the pairs of a graph, and the encoder that is left."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

import cpchub
from cpchub.architectures.colour_paths import ColourPaths
from cpchub.encoders.model_folder import write as write_model_folder
from cpchub_training.losses import instance_softmax
from cpchub_training.methods.cmc import CMC

TINY = {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 8]}


def cmc(channels: tuple[tuple[int, ...], ...] = ((0,), (1, 2)), graph: str = "full") -> CMC:
    torch.manual_seed(0)
    backbone = ColourPaths("resnet18_cifar", TINY, channels=channels, num_classes=0)
    return CMC(backbone, 4, 20, temperature=0.1, m=0, graph=graph).eval()


def unit_features(method: CMC, x: Tensor) -> list[Tensor]:
    parts = zip(method.projectors, method.backbone.paths, method.backbone.split(x), strict=True)
    return [F.normalize(projector(path(part)), dim=1) for projector, path, part in parts]


def test_each_view_meets_the_bank_of_the_other() -> None:
    method, x, rows = cmc(), torch.rand(6, 3, 16, 16), torch.tensor([3, 0, 11, 7, 19, 5])
    before = [bank.features.clone() for bank in method.banks]
    lightness, colour = unit_features(method, x)
    expected = instance_softmax(lightness, before[1], rows, 0.1) + instance_softmax(colour, before[0], rows, 0.1)
    loss, _ = method([x], rows)
    torch.testing.assert_close(loss, expected)
    for bank, old, v in zip(method.banks, before, (lightness, colour), strict=True):
        torch.testing.assert_close(bank.features[rows], F.normalize(old[rows] + v, dim=1))


@pytest.mark.parametrize(("graph", "pairs"), [("core", [(0, 1), (0, 2)]), ("full", [(0, 1), (0, 2), (1, 2)])])
def test_three_views_are_contrasted_along_the_graph(graph: str, pairs: list[tuple[int, int]]) -> None:
    method, x, rows = cmc(((0,), (1,), (2,)), graph), torch.rand(4, 3, 16, 16), torch.arange(4)
    banks, v = [bank.features.clone() for bank in method.banks], unit_features(method, x)
    expected = sum(
        instance_softmax(v[a], banks[b], rows, 0.1) + instance_softmax(v[b], banks[a], rows, 0.1) for a, b in pairs
    )
    torch.testing.assert_close(method([x], rows)[0], expected)


def test_gradients_reach_every_path() -> None:
    method = cmc().train()
    method([torch.rand(4, 3, 16, 16)], torch.arange(4))[0].backward()
    assert all(p.grad is not None for p in method.parameters())


def test_an_unknown_graph_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'star'"):
        cmc(graph="star")


def test_the_concatenated_encoder_is_exported_as_one_model(tmp_path: Path) -> None:
    backbone = cmc().backbone
    facts = {
        "name": "tiny-cmc",
        "method": "cmc",
        "data": "noise",
        "license": "apache-2.0",
        "architecture": "colour_paths",
        "model_args": {"path": "resnet18_cifar", "path_args": TINY},
        "input_size": (3, 16, 16),
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "summary": "A test.",
    }
    folder = write_model_folder(backbone, tmp_path / "export", facts=facts, recipe={}, evaluation=None)
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(x), backbone(x))
    pixels = (x[0] * 255).to(torch.uint8)
    vector = cpchub.load(folder).encode([pixels])
    assert vector.shape == (1, 16)


@pytest.mark.parametrize(("graph", "pairs"), [("core", [(0, 1), (0, 2)]), ("full", [(0, 1), (0, 2), (1, 2)])])
def test_in_the_batch_each_view_is_told_from_the_other_images(graph: str, pairs: list[tuple[int, int]]) -> None:
    backbone = cmc(((0,), (1,), (2,))).backbone
    method = CMC(backbone, 4, 20, temperature=0.2, graph=graph, negatives="batch").eval()
    x, here = torch.rand(6, 3, 16, 16), torch.arange(6)
    v = unit_features(method, x)
    losses = [F.cross_entropy(v[a] @ v[b].T / 0.2, here) for pair in pairs for a, b in (pair, pair[::-1])]
    torch.testing.assert_close(method([x], here)[0], sum(losses[1:], losses[0]))
    assert method.chance(6) == pytest.approx(2 * len(pairs) * math.log(6))
    assert not list(method.banks)


def test_unknown_negatives_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'bank' or 'batch'"):
        CMC(cmc().backbone, 4, 20, negatives="queue")
