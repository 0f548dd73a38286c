"""A run of every method is the same on any number of ranks: begun by two, continued by one, finished by three.

Weights, buffers (queues, banks, batch norms), the optimizer's state and the loss are those of a run by one rank alone.
Two things are a rank's own: MoCo's batch norms, so its network here has none, and the views of CPC's patches, which
are plain here.
"""

from __future__ import annotations

import json
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cpchub.errors import RecipeError
from cpchub_training import methods, recipes
from cpchub_training.data import recordings
from cpchub_training.losses.ranks import rank, world_size
from cpchub_training.recipes import BankSettings, MoCoSettings, Recipe, SemiSupervisedSettings
from cpchub_training.recipes.cpc_settings import AudioSettings, CPCSettings
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.loop import train
from cpchub_training.run.sharding import blocks, local
from cpchub_training.views.settings import NO_PATCH_VIEWS, Views
from tests.training.several_ranks import on_ranks
from tests.training.small_runs import TINY, small, some_digits

N_IMAGES, BATCH = 24, 12
ONE = {"n_views": 1, "views": Views(size=24, flip=0, jitter_p=0, grey_p=0)}
FEW = {**ONE, "semi": SemiSupervisedSettings(label_fraction=0.5, labelled_share=0.3, certainty=0.1)}
PATCHES = {
    **ONE,
    "backbone": "cpc_resnet20_small",
    "backbone_args": {"patch_size": 8, "patch_stride": 8, "layers": [1, 1], "channels": [8, 12], "stem_chs": 8},
    "cpc": CPCSettings(context_blocks=1, context_width=6, target_dim=5, group=2, patches=NO_PATCH_VIEWS),
}
SOUND = {"channels": 6, "context": 5, "strides": [5, 4], "kernels": [10, 8], "paddings": [2, 2]}
NO_STATISTICS = {"backbone_args": {**TINY, "norm_layer": "groupnorm1"}}
LARS = {"optimizer": "lars", "lr": 0.1}
CASES: dict[str, dict[str, Any]] = {
    "simclr": {},
    "simclr, averaged": {"ema_decay": 0.9, "clip_norm": 0.5, "colour_weight": 0.5, "projector_layers": 3, **LARS},
    "simclr, averaged and sharded": {
        "fsdp": True,
        "ema_decay": 0.9,
        "clip_norm": 0.5,
        "optimizer": "adamw",
        "lr": 5e-6,
    },
    "simclr, LARS and sharded": {"fsdp": True, **LARS},
    "moco_v1": {**NO_STATISTICS, "moco": MoCoSettings(queue_size=20)},
    "moco_v2": {**NO_STATISTICS, "moco": MoCoSettings(queue_size=20, symmetric=True)},
    "instdisc": {"bank": BankSettings(negatives=8, proximal=1.0, start="visited")},
    "inva_spread": {},
    "cmc": {},
    "sup_con": {"optimizer": "sgd"},
    "supervised": {"views": ONE["views"]},
    "rotation": ONE,
    "exemplar": ONE,
    "relative_position": ONE,
    "pseudo_label": FEW,
    "entropy_minimization": FEW,
    "vat": FEW,
    "uda": {**FEW, "n_views": 2, "temperature": 0.4},
    "cpc_v1": {**PATCHES, "cpc": replace(PATCHES["cpc"], directions=1)},
    "cpc_v2": PATCHES,
    "cpc_v2, sharded": {**PATCHES, "fsdp": True},
    "cpc_audio": {"backbone": "cpc_audio", "backbone_args": SOUND, "n_views": 1},
    "fine_tune": ONE,
    "distil": ONE,
}


def recipe_of(case: str, folder: Path) -> Recipe:
    method = case.partition(",")[0]
    common = {"lr": 0.003, "batch_size": BATCH, "epochs": 2, "warmup_epochs": 0, "knn_every": 0}
    of_sound = {"audio": AudioSettings(sample_rate=8000, window=200, steps=3)} if method == "cpc_audio" else {}
    teacher = {"fine_tune": "simclr", "distil": "fine_tune"}.get(method)
    of_teacher = {"teacher": str(folder / "alone" / teacher)} if teacher else {}
    return small(method, **{**common, **of_sound, **of_teacher, **CASES[case]})


def images_of(case: str, folder: Path) -> Any:
    if case == "cpc_audio":
        return recordings.load(str(folder / "tones"), recipe_of(case, folder).audio)
    noise = torch.randint(256, (N_IMAGES, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return replace(some_digits(N_IMAGES), images=noise)  # rounding decides which side of a ReLU plain areas come to


def steps(folder: Path, who: str, n: int | None) -> None:
    """Some steps of each case, or all that are left. Ranks but the first tell which share of the weights they hold."""
    for case in CASES:
        result = train(
            recipe_of(case, folder),
            folder / who / case,
            images=images_of(case, folder),
            accelerator="cpu",
            stop_after_steps=n,
        )
        if rank() > 0:
            held = sum(local(p).numel() for p in result.method.parameters())
            share = held / sum(p.numel() for p in result.method.parameters())
            (folder / who / case / f"rank {rank()} of {world_size()} holds {share}").touch()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of one rank in `alone`, those of two, one and three in `shared`."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tones").mkdir()
    for i in range(N_IMAGES):
        with wave.open(str(folder / "tones" / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((np.sin(np.arange(300) * (0.1 + i / 20)) * 9000).astype(np.int16).tobytes())
    steps(folder, "alone", None)
    on_ranks(2, folder / "two", steps, folder, "shared", 1)
    steps(folder, "shared", 1)
    on_ranks(3, folder / "three", steps, folder, "shared", None)
    return folder


def test_every_method_is_here() -> None:
    assert {case.partition(",")[0] for case in CASES} == set(methods.names())


@pytest.mark.parametrize("case", CASES)
def test_a_run_by_two_then_one_then_three_ranks_is_that_of_one(case: str, both: Path) -> None:
    alone, shared = (load_file(both / who / case / "checkpoints" / "last.safetensors") for who in ("alone", "shared"))
    assert alone.keys() == shared.keys()
    least = 5e-5 if CASES[case].get("optimizer") == "adamw" else 1e-5  # Adam makes whole steps of any gradient
    for name, expected in alone.items():
        scale = float(expected.double().abs().max())  # a sum's rounding errors are of its terms' size
        torch.testing.assert_close(
            shared[name], expected, atol=least + 2e-3 * scale, rtol=0, msg=lambda m, name=name: f"{name}: {m}"
        )
    losses = [
        [json.loads(line)["loss"] for line in (both / who / case / "metrics.jsonl").read_text().splitlines()]
        for who in ("alone", "shared")
    ]
    assert len(losses[0]) == 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize("case", [case for case in CASES if "sharded" in case])
def test_a_rank_of_a_sharded_run_holds_its_part_of_the_weights(case: str, both: Path) -> None:
    """Of tensors of 8 rows; one of fewer than there are ranks lies on some of them."""
    shares = {
        path.name.partition(" holds ")[0]: float(path.name.split()[-1])
        for path in (both / "shared" / case).glob("rank *")
    }
    assert shares["rank 1 of 2"] == pytest.approx(1 / 2, abs=0.02)
    assert max(shares["rank 1 of 3"], shares["rank 2 of 3"]) < 0.5
    assert {path.name for path in (both / "shared" / "simclr").glob("* holds *")} >= {"rank 1 of 2 holds 1.0"}


def test_moco_is_not_sharded() -> None:
    recipe = replace(recipes.get("moco_v2_resnet18_cifar10_200e"), fsdp=True)
    with pytest.raises(RecipeError, match=r"fsdp=True cannot work with method='moco_v2'.*--no-fsdp"):
        methods.check(recipe, 50_000, labelled=False)


@pytest.mark.parametrize(
    ("name", "kinds", "share"),
    [
        ("resnet18", {"BasicBlock"}, 0.45),
        ("cpc_resnet50", {"PreActBottleneck", "Conv2d"}, 0.3),
        ("colour_paths", {"BasicBlock"}, 0.3),
    ],
)
def test_a_network_is_gathered_block_by_block(name: str, kinds: set[str], share: float) -> None:
    args = {"path": "resnet18"} if name == "colour_paths" else {}
    with torch.device("meta"):
        network = build_backbone(replace(small(), backbone=name, backbone_args=args))
    found = blocks(network)
    assert {type(block).__name__ for block in found} == kinds
    sizes = [sum(p.numel() for p in block.parameters()) for block in found]
    assert max(sizes) < share * sum(p.numel() for p in network.parameters())
    assert sum(sizes) > 0.9 * sum(p.numel() for p in network.parameters())
