"""The loop: runs repeat, and a killed or stopped run that goes on ends with the same bits."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cpchub_training.run import checkpoint, ranks
from cpchub_training.run.loop import train
from cpchub_training.run.run_folder import CHECKPOINT
from cpchub_training.views.settings import Views
from tests.training.several_ranks import started, wait_until
from tests.training.small_runs import METHODS, small, some_digits, weight, weights

WAYS: dict[str, dict[str, object]] = {
    "averaged weights": {"ema_decay": 0.9},
    "decoupled, a plain view, bfloat16": {"decoupled": True, "plain_views": 1, "precision": "bf16"},
    "colours": {"colour_weight": 0.5},
    "clipped gradients": {"clip_norm": 0.01, "optimizer": "adam", "lr": 0.002, "schedule": "constant"},
    "LARS": {"optimizer": "lars", "lars_convention": "google", "lr": 1.0},
    "a ragged last batch in parts": {"drop_last": False, "batch_size": 24, "accumulate": 2, "lr": 0.1},
}


@pytest.mark.parametrize("way", [*METHODS, *WAYS])
def test_a_stopped_run_that_goes_on_equals_one_never_stopped(way: str, tmp_path: Path) -> None:
    recipe, images = small(**WAYS[way]) if way in WAYS else small(way), some_digits()
    whole = train(recipe, tmp_path / "whole", images=images)
    for _ in range(3):  # 5 + 5 + 2 of 12 steps (or 9), so the stops are within an epoch
        parts = train(recipe, tmp_path / "parts", images=images, stop_after_steps=5)
    for (name, a), b in zip(whole.method.state_dict().items(), parts.method.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    lines = [(tmp_path / d / "metrics.jsonl").read_text().splitlines() for d in ("whole", "parts")]
    assert len(lines[0]) == len(lines[1]) == 3


def hangs_after_six_steps(run_dir: Path) -> None:
    """In a process of its own; the checkpoint of the seventh step is begun and never finished."""
    save = checkpoint.save_tensors

    def slow(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        if json.loads(metadata["cpchub"])["progress"]["step"] == 7:
            path.write_bytes(b"half a file")
            print("hangs", flush=True)
            wait_until(lambda: False)
        save(tensors, path, metadata)

    checkpoint.save_tensors = slow
    train(small(epochs=5, checkpoint_minutes=0, knn_every=0), run_dir, images=some_digits())


def test_a_run_killed_in_mid_epoch_and_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    recipe = small(epochs=5, checkpoint_minutes=0, knn_every=0)
    train(recipe, tmp_path / "whole", images=some_digits())
    with started(1, tmp_path / "process", hangs_after_six_steps, tmp_path / "killed") as (running,):
        wait_until(lambda: "hangs" in running.said() or running.process.exitcode is not None)
        running.process.kill()
        assert running.end() == -signal.SIGKILL, running.said()
    assert weights(tmp_path / "killed") != weights(tmp_path / "whole")
    assert checkpoint.progress(tmp_path / "killed" / CHECKPOINT)["step"] == 6  # of 4 an epoch
    train(recipe, tmp_path / "killed", images=some_digits())
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_told_to_stop_finishes_its_step_saves_and_goes_on(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, images = small(), some_digits()
    train(recipe, tmp_path / "whole", images=images)
    draw = Views.__call__
    calls = 0

    def interrupted(views: Views, *args: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 11:  # two views a step and two for the monitors after the fourth: the fifth step has begun
            os.kill(os.getpid(), number)
        return draw(views, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Views, "__call__", interrupted)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 5 of 12"):
        train(recipe, tmp_path / "stopped", images=images)
    assert signal.getsignal(number) == before
    train(recipe, tmp_path / "stopped", images=images)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_a_run_in_bfloat16_goes_on_in_float32_on_a_cpu_that_would_emulate_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, images = small(precision="bf16"), some_digits()
    monkeypatch.setattr(ranks, "cpu_has_bfloat16", lambda: True)
    begun = train(recipe, tmp_path / "run", images=images, stop_after_steps=5)
    exact = train(replace(recipe, precision="fp32"), tmp_path / "exact", images=images, stop_after_steps=5)
    assert not torch.equal(weight(begun), weight(exact))
    monkeypatch.setattr(ranks, "cpu_has_bfloat16", lambda: False)
    train(recipe, tmp_path / "run", images=images)
    emulating = train(recipe, tmp_path / "other", images=images, stop_after_steps=5)
    assert torch.equal(weight(emulating), weight(exact))


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    recipe, images = small(), some_digits()
    train(recipe, tmp_path / "run", images=images)
    before = weights(tmp_path / "run")
    train(recipe, tmp_path / "run", images=images)
    assert weights(tmp_path / "run") == before


def test_a_line_of_metrics_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    train(small(), tmp_path / "run", images=some_digits(), stop_after_steps=5)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as f:
        f.write('{"step": 5, "lo')
    train(small(), tmp_path / "run", images=some_digits())
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]


def test_training_on_digits_learns_something(tmp_path: Path) -> None:
    wide = {"layers": [1, 1, 1, 1], "channels": [16, 16, 32, 32], "stem_type": "deep", "stem_width": 8}
    recipe = small(epochs=10, lr=0.1, backbone_args=wide, projector_hidden=64, projector_dim=32, knn_every=10)
    result = train(recipe, tmp_path / "run", images=some_digits(512))
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert result.metrics["knn_train"] > 0.3  # chance is 0.1
    assert list((tmp_path / "run" / "tensorboard").iterdir())
