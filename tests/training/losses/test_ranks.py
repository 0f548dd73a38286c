"""Two ranks (gloo on the CPU): one run, one checkpoint, and the same bits after a stop."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from cpchub_training.run.loop import train
from tests.training.several_ranks import on_ranks
from tests.training.small_runs import METHODS, small, some_digits


def each_method(out: Path) -> None:
    for method in METHODS:
        recipe = small(method, knn_every=0, epochs=2)
        whole = train(recipe, out / method / "whole", images=some_digits(), accelerator="cpu")
        for _ in range(2):
            parts = train(recipe, out / method / "parts", images=some_digits(), accelerator="cpu", stop_after_steps=5)
        for (name, a), b in zip(whole.method.state_dict().items(), parts.method.state_dict().values(), strict=True):
            own = "running" in name and method == "moco_v2"  # whose keys no statistics of all ranks may tell
            assert torch.equal(a, b) or (own and dist.get_rank() > 0), name
            ranks = [torch.empty_like(a) for _ in range(2)]
            dist.all_gather(ranks, a)
            assert torch.equal(*ranks) or own, f"{method}: the ranks have different {name}"
        assert dist.get_world_size() == 2
    print("equal on rank", dist.get_rank())


def test_two_ranks_train_one_network_and_resume_to_the_same_bits(tmp_path: Path) -> None:
    said = on_ranks(2, tmp_path / "ranks", each_method, tmp_path / "runs")
    assert "".join(said).count("equal on rank") == 2
    methods = list((tmp_path / "runs").iterdir())
    assert len(methods) >= 6
    for method in methods:
        files = [method / run / "checkpoints" / "last.safetensors" for run in ("whole", "parts")]
        assert files[0].read_bytes() == files[1].read_bytes()
