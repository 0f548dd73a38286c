"""The loop's further ways: accumulation, going on from an encoder, averaged weights, ranks that vanish."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cpchub.encoders.model_folder import write as write_model_folder
from cpchub.errors import RecipeError, RunError
from cpchub_training import recipes
from cpchub_training.jobs.pretrain import describe
from cpchub_training.methods import DataFacts
from cpchub_training.recipes import BankSettings, MoCoSettings, Recipe
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.loop import train
from cpchub_training.run.saved_run import build_method
from cpchub_training.views.settings import Views
from tests.training.several_ranks import started, wait_until
from tests.training.small_runs import TINY, some_digits, weight


def small(**changes: object) -> Recipe:
    recipe = replace(
        recipes.get("simclr_digits"),
        name="tiny",
        backbone_args=TINY,
        views=Views(size=16, crop_scale=(0.7, 1), flip=0, jitter_p=0, grey_p=0),
        projector_hidden=16,
        projector_dim=8,
        optimizer="sgd",
        lr=0.3,
        epochs=2,
        batch_size=16,
        warmup_epochs=0,
        knn_every=0,
    )
    return replace(recipe, **changes)  # type: ignore[arg-type]


def test_accumulated_parts_give_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    """Where negatives and norms do not depend on the batch: against a bank that stands still."""
    network = {**TINY, "norm_layer": "groupnorm1"}
    recipe = small(method="instdisc", n_views=1, bank=BankSettings(momentum=1 - 1e-9), backbone_args=network, epochs=1)
    whole, parts = (
        train(replace(recipe, accumulate=n), tmp_path / str(n), images=some_digits(), stop_after_steps=1)
        for n in (1, 4)
    )
    torch.testing.assert_close(weight(whole), weight(parts), atol=1e-6, rtol=1e-4)


def test_a_key_encoder_moves_by_its_momentum_once_a_batch_in_however_many_parts() -> None:
    recipe = small(method="moco_v2", moco=MoCoSettings(key_momentum=0.9, queue_size=32), accumulate=4)
    method = build_method(recipe, build_backbone(recipe), DataFacts(64))
    key = method.get_parameter("projector_k.0.weight")
    start = key.clone()
    with torch.no_grad():
        method.get_parameter("projector.0.weight").add_(1.0)
    for _ in range(4):
        method([torch.rand(4, 3, 16, 16)] * 2)
    torch.testing.assert_close(key, start + 0.1)


def test_an_epoch_with_a_ragged_end_has_a_step_more(tmp_path: Path) -> None:
    whole = train(small(drop_last=False), tmp_path / "ragged", images=some_digits(70))
    assert whole.metrics["step"] == 2 * 5
    assert train(small(), tmp_path / "even", images=some_digits(70)).metrics["step"] == 2 * 4


def test_gradients_are_clipped_to_the_length_asked(tmp_path: Path) -> None:
    recipe = small(epochs=1, clip_norm=1e-3, momentum=0.0, weight_decay=0.0, lr=1.0)
    start = weight(train(replace(recipe, lr=1e-12), tmp_path / "start", images=some_digits(), stop_after_steps=1))
    result = train(recipe, tmp_path / "run", images=some_digits(), stop_after_steps=1)
    assert result.metrics["gradient_norm"] > 1e-2  # of the gradient before
    assert float((weight(result) - start).norm()) <= 1.001e-3


def test_the_encoder_that_is_kept_is_the_average(tmp_path: Path) -> None:
    result = train(small(ema_decay=0.9), tmp_path / "run", images=some_digits())
    last = torch.cat([p.detach().flatten() for p in result.method.get_submodule("backbone").parameters()])
    assert not torch.equal(weight(result), last)
    assert not result.backbone.training


def test_a_run_goes_on_from_a_published_encoder(tmp_path: Path) -> None:
    recipe = small(epochs=1)
    first = train(recipe, tmp_path / "first", images=some_digits())
    folder = write_model_folder(
        first.backbone,
        tmp_path / "encoder",
        facts=describe(recipe, 64, "tiny"),
        recipe=recipe.to_dict(),
        evaluation=None,
    )
    continued = small(epochs=1, lr=1e-12, init_from=str(folder))
    second = train(continued, tmp_path / "second", images=some_digits(), stop_after_steps=1)
    torch.testing.assert_close(weight(second), weight(first), atol=1e-6, rtol=0)
    wider = small(backbone_args={**TINY, "channels": [8, 8, 8, 16]}, init_from=str(folder))
    with pytest.raises(RecipeError, match=r"not the resnet18 with .*'channels': \[8, 8, 8, 16\]"):
        train(wider, tmp_path / "third", images=some_digits())


def until_killed(run_dir: Path) -> None:
    train(small(epochs=400, checkpoint_minutes=0), run_dir, images=some_digits(), accelerator="cpu")


def test_when_a_rank_is_killed_the_other_stops_with_one_sentence_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    run_dir = tmp_path / "run"
    checkpoint = run_dir / "checkpoints" / "last.safetensors"
    with started(2, tmp_path / "ranks", until_killed, run_dir) as ranks:
        wait_until(lambda: checkpoint.exists() or any(rank.process.exitcode is not None for rank in ranks))
        ranks[1].process.kill()
        assert ranks[0].end() == 2, ranks[0].said()
        lines = [line for line in ranks[0].said().splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.search(r"rank 0: another rank is gone .* start the same command again to go on", lines[0])

    from safetensors import safe_open

    with safe_open(checkpoint, framework="pt") as f:
        assert '"step"' in f.metadata()["cpchub"]
    resumed = train(
        replace(small(epochs=400), checkpoint_minutes=0),
        run_dir,
        images=some_digits(),
        accelerator="cpu",
        stop_after_steps=2,
    )
    assert resumed.metrics["step"] > 2


def test_a_compiler_that_fails_is_one_sentence_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> None:
        raise OSError("no C compiler here")

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda method, **how: compiled(method, backend=broken))
    with pytest.raises(RunError, match=r"torch\.compile does not work here .*use --no-compile"):
        train(small(compile=True), tmp_path / "run", images=some_digits())
