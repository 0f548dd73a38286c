"""The loop: runs repeat, a killed run that goes on ends with the same bits, bad recipes are refused before any work."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from cpchub.errors import OtherRunError, OutputError, RecipeError, RunError
from cpchub_training import data, recipes
from cpchub_training.data.batches import Batches
from cpchub_training.recipes import BankSettings, MoCoSettings, Recipe
from cpchub_training.run import checkpoint, loop, ranks
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.loop import train
from cpchub_training.run.optimizers import schedule
from cpchub_training.run.run_folder import CHECKPOINT
from cpchub_training.views.batched import Views
from tests.training.several_ranks import started, wait_until

METHODS = ("simclr", "moco_v2", "instdisc", "inva_spread", "cmc", "sup_con")
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
ONE_VIEW = {"n_views": 1, "bank": BankSettings(negatives=8)}
ONLY_OF: dict[str, dict[str, object]] = {
    "instdisc": {"n_views": 1, "bank": BankSettings(negatives=8, proximal=1.0)},
    "sup_con": {"optimizer": "adamw", "lr": 0.002},
    "cmc": {
        **ONE_VIEW,
        "backbone": "colour_paths",
        "backbone_args": {"path": "resnet18", "path_args": TINY, "space": "ycbcr"},
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
    },
}


def small(method: str = "simclr", **changes: object) -> Recipe:
    """Seconds on one core: 64 digits, a network of 8 channels."""
    recipe = replace(
        recipes.get("simclr_digits"),
        name=f"tiny_{method}",
        method=method,
        backbone_args=TINY,
        views=Views(size=16, crop_scale=(0.7, 1), flip=0, jitter_p=0, grey_p=0, rotation=10),
        input_size=16,
        projector_hidden=16,
        projector_dim=8,
        moco=MoCoSettings(queue_size=48, bn_splits=2),
        optimizer="sgd",
        lr=0.3,
        epochs=3,
        batch_size=16,
        warmup_epochs=1,
        knn_every=1,
    )
    return replace(recipe, **{**ONLY_OF.get(method, {}), **changes})


def some_digits(n: int = 64) -> data.Images:
    import numpy as np

    return data.digits().subset(np.arange(n))


def weight(result: loop.Result) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in result.backbone.parameters()])


def weights(run_dir: Path) -> bytes:
    return (run_dir / "checkpoints" / "last.safetensors").read_bytes()


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


def test_a_run_folder_is_not_taken_over_by_another_recipe(tmp_path: Path) -> None:
    train(small(epochs=1), tmp_path / "run", images=some_digits())
    with pytest.raises(RunError, match=r"lr: 0\.3 there, 0\.1 here"):
        train(small(epochs=1, lr=0.1), tmp_path / "run", images=some_digits())


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not a run folder"):
        train(small(), tmp_path, images=some_digits())
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_damaged_checkpoint_is_refused_with_the_way_out(tmp_path: Path) -> None:
    recipe, images = small(epochs=1), some_digits()
    train(recipe, tmp_path / "run", images=images)
    (tmp_path / "run" / "checkpoints" / "last.safetensors").write_bytes(b"not weights")
    with pytest.raises(RunError, match="delete it to start the run again"):
        train(recipe, tmp_path / "run", images=images)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    recipe, images = small(), some_digits()
    train(recipe, tmp_path / "run", images=images, stop_after_steps=2)
    before = weights(tmp_path / "run")
    diverging = replace(recipe, lr=1e30)
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(diverging.to_dict()))
    with pytest.raises(RunError, match="the loss is nan"):
        train(diverging, tmp_path / "run", images=images)
    assert weights(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch_size": 500}, "batch_size=500"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"epochs": 0}, "epochs=0"),
        ({"n_views": 1}, "n_views=1"),
        ({"momentum": -1.0}, "momentum=-1"),
        ({"precision": "fp16"}, "precision='fp16'"),
        ({"schedule": "stepz"}, "schedule='stepz'"),
        ({"projector_dim": 0}, "projector_dim=0"),
        ({"backbone": "resnet1000"}, "resnet1000"),
        ({"method": "simsiam"}, "simsiam"),
        ({"method": "instdisc", "n_views": 2}, "n_views=2"),
        ({"method": "cmc", "backbone": "resnet18", "backbone_args": TINY}, "colour_paths"),
        ({"steps": ((0.8, 0.01), (0.6, 0.1))}, "steps"),
        ({"accumulate": 3}, "accumulate=3"),
        ({"accumulate": 16}, "accumulate=16"),
        ({"ema_decay": 1.0}, "ema_decay=1.0"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0"),
        ({"plain_views": 3}, "plain_views=3"),
        ({"colour_weight": -0.1}, "colour_weight=-0.1"),
        ({"colour_weight": 0.1, "method": "moco_v2"}, "colour_weight=0.1"),
        ({"plain_views": -1}, "plain_views=-1"),
        ({"decoupled": True, "n_views": 3}, "decoupled is for simclr with two views"),
        ({"decoupled": True, "method": "moco_v2"}, "decoupled is for simclr.*not for moco_v2"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(changes: dict[str, object], named: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=named):
        train(small(**changes), tmp_path / "run", images=some_digits())
    assert not (tmp_path / "run").exists()


def test_a_supervised_method_refuses_images_without_labels(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs labels"):
        train(small("sup_con"), tmp_path / "run", images=replace(some_digits(), labels=None))


def test_a_diverged_state_never_replaces_the_last_good_checkpoint(tmp_path: Path) -> None:
    recipe, images = small(checkpoint_minutes=0), some_digits()
    train(recipe, tmp_path / "run", images=images, stop_after_steps=2)
    diverging = replace(recipe, lr=1e30)
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(diverging.to_dict()))
    with pytest.raises(RunError, match=r"not finite|the loss is"):
        train(diverging, tmp_path / "run", images=images)
    with safe_open(tmp_path / "run" / "checkpoints" / "last.safetensors", framework="pt") as f:
        assert all(f.get_tensor(name).isfinite().all() for name in f.keys() if "method" in name)  # noqa: SIM118


def test_a_run_does_not_go_on_with_other_images(tmp_path: Path) -> None:
    train(small(), tmp_path / "run", images=some_digits(), stop_after_steps=2)
    with pytest.raises(RunError, match=r"was trained on 64 images.*now there are 80 images"):
        train(small(), tmp_path / "run", images=some_digits(80))


def test_a_line_of_metrics_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    train(small(), tmp_path / "run", images=some_digits(), stop_after_steps=5)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as f:
        f.write('{"step": 5, "lo')
    train(small(), tmp_path / "run", images=some_digits())
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]


def test_an_unreadable_recipe_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    train(small(epochs=1), tmp_path / "run", images=some_digits())
    (tmp_path / "run" / "recipe.json").write_text("")
    with pytest.raises(RunError, match=r"recipe\.json cannot be read"):
        train(small(epochs=1), tmp_path / "run", images=some_digits())


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    from cpchub.common.files import only_writer

    train(small(epochs=1), tmp_path / "run", images=some_digits())
    with only_writer(tmp_path / "run"), pytest.raises(OutputError, match="another process"):
        train(small(epochs=1), tmp_path / "run", images=some_digits())


def test_the_length_of_a_trapezoid_may_be_chosen_until_it_cools_down(tmp_path: Path) -> None:
    def recipe(epochs: int) -> Recipe:
        return small(epochs=epochs, schedule="trapezoid", cooldown=0.5, knn_every=0)

    images = some_digits()
    steps = Batches(recipe(4), len(images)).steps_per_epoch
    train(recipe(4), tmp_path / "whole", images=images)
    train(recipe(8), tmp_path / "run", images=images, stop_after_steps=steps)
    train(recipe(4), tmp_path / "run", images=images, stop_after_steps=2 * steps)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["epochs"] == 4
    with pytest.raises(OtherRunError, match="epochs: 4 there, 8 here"):
        train(recipe(8), tmp_path / "run", images=images)
    train(recipe(4), tmp_path / "run", images=images)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.parametrize("change", [{"schedule": "cosine"}, {"schedule": "trapezoid", "lr": 0.5}])
def test_no_other_change_to_a_run_is_taken_over(tmp_path: Path, change: dict[str, object]) -> None:
    train(
        small(epochs=8, schedule=change["schedule"], knn_every=0),
        tmp_path / "run",
        images=some_digits(),
        stop_after_steps=1,
    )
    with pytest.raises(OtherRunError, match="another recipe"):
        train(small(epochs=9, **change, knn_every=0), tmp_path / "run", images=some_digits())


def test_a_constant_rate_goes_on_past_its_end(tmp_path: Path) -> None:
    short, long = (small(epochs=n, schedule="constant", knn_every=0) for n in (1, 2))
    train(long, tmp_path / "whole", images=some_digits())
    train(short, tmp_path / "run", images=some_digits())
    train(long, tmp_path / "run", images=some_digits())
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_training_on_digits_learns_something(tmp_path: Path) -> None:
    wide = {"layers": [1, 1, 1, 1], "channels": [16, 16, 32, 32], "stem_type": "deep", "stem_width": 8}
    recipe = small(epochs=10, lr=0.1, backbone_args=wide, projector_hidden=64, projector_dim=32, knn_every=10)
    result = train(recipe, tmp_path / "run", images=some_digits(512))
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert result.metrics["knn_train"] > 0.3  # chance is 0.1
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_learning_rate_schedules() -> None:
    assert [schedule(s, 100, 10) for s in (0, 9, 10)] == [0.1, 1.0, 1.0]
    assert schedule(99, 100, 10) < 0.001
    trapezoid = [schedule(s, 100, 10, cooldown=0.3) for s in (10, 69, 70, 85, 99)]
    assert trapezoid == pytest.approx([1, 1, 1, 0.5, 1 / 30])
    steps = ((0.6, 0.1), (0.8, 0.01))
    assert [schedule(s, 100, 0, steps=steps) for s in (0, 59, 60, 79, 80, 99)] == [1, 1, 0.1, 0.1, 0.01, 0.01]


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_survives_json_and_builds_its_network(name: str) -> None:
    recipe = recipes.get(name)
    assert recipe.name == name
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    recipe.check(n_images=50000)
    with torch.device("meta"):  # the largest have hundreds of millions of parameters
        build_backbone(recipe)
