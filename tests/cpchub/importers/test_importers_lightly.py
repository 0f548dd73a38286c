"""lightly's examples, however they are saved: the encoder that is imported computes what theirs does, bit for bit."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from lightly.models.modules import MaskedVisionTransformerTIMM
from torch import Tensor, nn

from cpchub.errors import ImportFormatError
from cpchub.importers.convert import network_of
from cpchub.importers.format import Claims
from cpchub.importers.formats.registry import format_of
from cpchub.importers.readers.checkpoint import read_checkpoint
from tests.cpchub.foreign_checkpoints import head, lightning, state, torchvision_resnet, trained

HEAD = ("projection_head",)
PREDICTS = (*HEAD, "prediction_head")
MOMENTUM = ("projection_head_momentum",)
# Each example: the heads beside `backbone`, and whether a momentum copy follows it. Its ResNet is torchvision's without
# the last layer, or without the last two where the loss reads the map.
EXAMPLES: dict[str, tuple[tuple[str, ...], bool, int]] = {
    "barlowtwins": (HEAD, False, 1),
    "byol": ((*PREDICTS, *MOMENTUM), True, 1),
    "dcl": (HEAD, False, 1),
    "densecl": (("projection_head_global", "projection_head_local", "projection_head_global_momentum"), True, 2),
    "detcon": (HEAD, False, 2),
    "fastsiam": (PREDICTS, False, 1),
    "fda": (HEAD, False, 1),
    "frossl": (HEAD, False, 1),
    "mmcr": ((*HEAD, *MOMENTUM), True, 1),
    "moco": ((*HEAD, *MOMENTUM), True, 1),
    "nnclr": (PREDICTS, False, 1),
    "simclr": (HEAD, False, 1),
    "simsiam": (PREDICTS, False, 1),
    "smog": ((*PREDICTS, *MOMENTUM, "smog"), True, 1),
    "swav": ((*HEAD, "prototypes.heads"), False, 1),
    "swav_queue": ((*HEAD, "prototypes.heads", "queues.0"), False, 1),
    "tico": ((*HEAD, *MOMENTUM), True, 1),
    "vicreg": (HEAD, False, 1),
    "vicregl": ((*HEAD, "local_projection_head"), False, 2),
}


def taken_apart(last: int = 1) -> Any:
    return nn.Sequential(*list(torchvision_resnet().children())[:-last]).eval()


def another() -> Any:
    """A network of the same names and other weights."""
    other = taken_apart()
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(0.5)
    return other


def example(name: str) -> tuple[OrderedDict[str, Tensor], Any]:
    heads, momentum, last = EXAMPLES[name]
    net = taken_apart(last)
    entries = OrderedDict(state(net, "backbone."))
    if momentum:
        entries.update(state(another(), "backbone_momentum."))
    for each in heads:
        entries.update(state(head(8, 8), f"{each}."))
    return entries, net


def imported(saved: Any, folder: Path, claims: Claims | None = None) -> tuple[Any, Any]:
    torch.save(saved, folder / "checkpoint.pth")
    checkpoint = read_checkpoint(folder / "checkpoint.pth")
    claims = claims or Claims()
    found = format_of(checkpoint, None, claims)
    assert found.name == "lightly"
    network, plan = network_of(checkpoint, found, claims)
    assert set(plan.used) | set(plan.dropped) == set(checkpoint.tensors)
    return network, plan


def some_images(side: int = 64) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(5))


def same(network: Any, original: Any) -> bool:
    x = some_images()
    with torch.no_grad():
        maps = original[:8](x) if len(original) > 8 else original(x)
        return torch.equal(network.forward_features(x), maps) and torch.equal(network(x), maps.mean((2, 3)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_plain_state_dict_of_each_example(name: str, tmp_path: Path) -> None:
    saved, net = example(name)
    network, plan = imported(saved, tmp_path)
    assert plan.architecture == "resnet18"
    assert same(network, net)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda entries: lightning(entries),
        lambda entries: {"model": entries, "epoch": 3},
        lambda entries: {"model_state_dict": entries},
        lambda entries: {"my_simclr": entries},
        lambda entries: {f"module.{name}": value for name, value in entries.items()},
        lambda entries: lightning({f"model.{name}": value for name, value in entries.items()}),
    ],
)
def test_whatever_it_is_wrapped_in(wrapped: Any, tmp_path: Path) -> None:
    saved, net = example("moco")
    network, plan = imported(wrapped(saved), tmp_path)
    assert same(network, net)
    assert "the momentum encoder; the encoder that it follows is published" in plan.dropped.values()


@pytest.mark.parametrize(
    "saved",
    [
        lambda net: {"resnet18_parameters": net.state_dict()},  # as the tutorial saves it
        lambda net: net.state_dict(),  # DirectCLR has no head
        lambda net: net,
        lambda net: {"state_dict": net.state_dict()},
        lambda net: {"my encoder": net.state_dict(), "epoch": 4},
    ],
)
def test_a_network_that_was_taken_apart_alone(saved: Any, tmp_path: Path) -> None:
    net = taken_apart()
    network, _ = imported(saved(net), tmp_path)
    assert same(network, net)


@pytest.mark.parametrize("wrapped", [lightning, dict])
def test_of_dino_the_teacher_is_published(wrapped: Any, tmp_path: Path) -> None:
    teacher, student = taken_apart(), another()
    entries = {**state(student, "student_backbone."), **state(head(8, 8), "student_head.")}
    entries |= {**state(teacher, "teacher_backbone."), **state(head(8, 8), "teacher_head.")}
    network, plan = imported(wrapped(entries), tmp_path)
    assert same(network, teacher)
    assert any(reason.startswith("the student; its teacher") for reason in plan.dropped.values())
    assert "no part of the encoder" not in {plan.dropped[name] for name in plan.dropped if "head" in name}


def test_of_dinos_benchmark_the_teacher_is_called_backbone(tmp_path: Path) -> None:
    teacher = taken_apart()
    entries = {**state(another(), "student_backbone."), **state(teacher, "backbone."), **state(head(8), "x.")}
    network, _ = imported(lightning(entries), tmp_path)
    assert same(network, teacher)


@pytest.mark.parametrize(
    ("prefix", "extra"),
    [("backbone.vit.", "backbone.mask_token"), ("teacher_backbone.vit.", "teacher_backbone.mask_token")],
)
@pytest.mark.parametrize("scale", [None, 0.1])
def test_a_transformer_of_timms_is_imported_when_it_is_named(
    scale: float | None, prefix: str, extra: str, tmp_path: Path
) -> None:
    vit = trained(timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=32, init_values=scale))
    theirs = MaskedVisionTransformerTIMM(vit, weight_initialization="skip", pos_embed_initialization="skip").eval()
    entries = {**state(vit, prefix), extra: torch.zeros(1, 1, 192), **state(head(8, 8), "projection_head.")}
    network, plan = imported(entries, tmp_path, Claims(architecture="vit_tiny_patch16_224"))
    assert plan.facts.input_size == (3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(some_images(32)), theirs(some_images(32)))
    with pytest.raises(ImportFormatError, match="--architecture"):
        imported(entries, tmp_path)


def test_what_attends_causally_is_refused(tmp_path: Path) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32)
    entries = {**state(vit, "backbone."), "projection_head.blocks.1.mlp.fc1.weight": torch.zeros(2, 2)}
    with pytest.raises(ImportFormatError, match="causal"):
        imported(entries, tmp_path, Claims(architecture="vit_tiny_patch16_224"))
