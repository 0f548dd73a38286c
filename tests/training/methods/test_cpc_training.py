"""CPC in the loop: a stopped run that goes on equals one never stopped, two ranks equal one with the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.distributed as dist
from torch import Tensor, nn

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub_training import data, recipes
from cpchub_training.data.random_view import random_view
from cpchub_training.methods.cpc import CPC
from cpchub_training.methods.cpc_audio import CPCAudio
from cpchub_training.methods.cpc_v1 import CPCv1
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.cpc_settings import AudioSettings, CPCSettings
from cpchub_training.run.loop import train
from cpchub_training.views.settings import NO_PATCH_VIEWS
from tests.training.several_ranks import on_ranks

NETWORK = {"patch_size": 8, "patch_stride": 4, "layers": [1, 1], "channels": [8, 12], "stem_chs": 8}
SETTINGS = CPCSettings(context_blocks=1, context_width=6, target_dim=5, group=0)
SOUND = {"channels": 6, "context": 5, "strides": [5, 4], "kernels": [10, 8], "paddings": [2, 2]}


def small(**changes: Any) -> Recipe:
    """Seconds on one core: views of 20 pixels, 4 x 4 patches."""
    recipe = recipes.get("cpc_cifar10_cpu")
    return replace(
        recipe,
        **{
            "backbone": "cpc_resnet20_small",
            "backbone_args": NETWORK,
            "data": "digits",
            "views": replace(recipe.views, size=20),
            "input_size": 20,
            "batch_size": 16,
            "epochs": 2,
            "warmup_epochs": 0,
            "cpc": SETTINGS,
            **changes,
        },
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"cpc": replace(SETTINGS, group=8, checkpoint_activations=True), "accumulate": 2},
        {"method": "cpc_v1", "cpc": replace(SETTINGS, directions=1, patches=replace(NO_PATCH_VIEWS, jitter=2))},
    ],
    ids=["cpc_v2", "cpc_v1"],
)
def test_a_stopped_run_that_goes_on_equals_one_never_stopped(changes: dict[str, Any], tmp_path: Path) -> None:
    digits = data.digits()
    some = digits.subset(torch.arange(64).numpy())
    recipe = small(**changes)
    whole = train(recipe, tmp_path / "whole", images=some, accelerator="cpu")
    for _ in range(3):  # 3 + 3 + 2 of 8 steps
        parts = train(recipe, tmp_path / "parts", images=some, accelerator="cpu", stop_after_steps=3)
    for (name, a), b in zip(whole.method.state_dict().items(), parts.method.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    files = [tmp_path / run / "checkpoints" / "last.safetensors" for run in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert whole.metrics["effective_rank"] >= 1  # the look at the encoder works on patches too


def test_checkpointed_activations_give_the_same_gradients() -> None:
    gradients = []
    for again in (False, True):
        torch.manual_seed(0)
        settings = replace(SETTINGS, checkpoint_activations=again)
        method = CPC(timm.create_model("cpc_resnet20_small", num_classes=0, **NETWORK), 12, 20, settings).train()
        method([torch.rand(3, 3, 20, 20)])[0].backward()
        gradients.append([p.grad for p in method.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_the_loop_gives_a_method_patches_that_are_normalised() -> None:
    recipe = small(cpc=replace(SETTINGS, patches=NO_PATCH_VIEWS), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    white = torch.full((2, 3, 20, 20), 255, dtype=torch.uint8)
    patches = random_view(white, recipe, torch.Generator().manual_seed(0))
    assert patches.shape == (2, 4, 4, 3, 8, 8)
    torch.testing.assert_close(patches, torch.full_like(patches, 2.0))


def images_method(kind: type[CPC] = CPC, **settings: Any) -> nn.Module:
    backbone = timm.create_model("cpc_resnet20_small", num_classes=0, **NETWORK)
    return kind(backbone, 12, 20, replace(SETTINGS, **settings))


def sound_method() -> nn.Module:
    backbone = timm.create_model("cpc_audio", num_classes=0, **SOUND)
    return CPCAudio(backbone, AudioSettings(window=200, steps=3, negatives="window"))


METHODS: dict[str, Callable[[], nn.Module]] = {
    "negatives of all ranks": lambda: images_method(all_ranks=True),
    "negatives of all ranks, shared weights": lambda: images_method(all_ranks=True, shared=True),
    "negatives of a group": lambda: images_method(group=2, directions=2),
    "version 1 on all ranks": lambda: images_method(CPCv1, all_ranks=True, directions=1, target_dim=0),
    "sound": sound_method,
}


def one_step(name: str, mine: slice) -> dict[str, Tensor]:
    """Loss and gradients with the examples `mine` of a batch of 8."""
    torch.manual_seed(0)
    method = METHODS[name]()
    x = torch.rand(8, 1, 1, 200) if name == "sound" else torch.rand(8, 3, 20, 20)
    loss, _ = method([x[mine]])
    loss.backward()
    return {"loss": loss.detach(), **{n: p.grad for n, p in method.named_parameters() if p.grad is not None}}


def half_of_each(folder: Path) -> None:
    mine = slice(4 * dist.get_rank(), 4 * dist.get_rank() + 4)
    torch.save({name: one_step(name, mine) for name in METHODS}, folder / f"{dist.get_rank()}.pt")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("ranks")
    on_ranks(2, folder, half_of_each, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", METHODS)
def test_two_ranks_with_half_the_batch_each_equal_one_rank_with_all_of_it(
    name: str, two_ranks: list[dict[str, dict[str, Tensor]]]
) -> None:
    whole, (first, second) = one_step(name, slice(8)), (rank[name] for rank in two_ranks)
    assert first.keys() == second.keys() == whole.keys()
    for key, expected in whole.items():
        seen = (first[key] + second[key]) / 2  # as DDP averages
        torch.testing.assert_close(seen, expected, atol=1e-6, rtol=1e-4, msg=lambda m, key=key: f"{key}: {m}")
