"""Two ranks under torchrun (gloo on the CPU): one run, one checkpoint, and the same bits after a stop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path

import torch

from tests.training.test_loop import METHODS, small, some_digits
from training.loop import train

torch.set_num_threads(1)
out = Path(sys.argv[1])
for method in METHODS:
    recipe = small(method, knn_every=0, epochs=2)
    whole = train(recipe, out / method / "whole", pictures=some_digits(), accelerator="cpu")
    for _ in range(2):
        parts = train(recipe, out / method / "parts", pictures=some_digits(), accelerator="cpu", stop_after_steps=5)
    for (name, a), b in zip(whole.method.state_dict().items(), parts.method.state_dict().values(), strict=True):
        own = "running" in name  # each rank's batch norm has statistics of its own on a CPU; the first rank's are kept
        assert torch.equal(a, b) or (own and torch.distributed.get_rank() > 0), name
        ranks = [torch.empty_like(a) for _ in range(2)]
        torch.distributed.all_gather(ranks, a)
        assert torch.equal(*ranks) or own, f"{method}: the ranks have different {name}"
    assert torch.distributed.get_world_size() == 2
print("equal on rank", torch.distributed.get_rank())
torch.distributed.destroy_process_group()  # its threads would abort a process that just ends
"""


def test_two_ranks_train_one_network_and_resume_to_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path / "runs")],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("equal on rank") == 2
    methods = list((tmp_path / "runs").iterdir())
    assert len(methods) >= 6
    for method in methods:
        files = [method / run / "checkpoints" / "last.safetensors" for run in ("whole", "parts")]
        assert files[0].read_bytes() == files[1].read_bytes()
