"""The suite: what is done stays, what is not goes on, wherever a call ended, and ends as whole model folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm

from cpchub.cli.suite import Suite
from cpchub.errors import ArgumentError, OutputError, RecipeError, RunError
from cpchub_training import recipes
from cpchub_training.jobs import suite
from cpchub_training.jobs.suite import Limits
from cpchub_training.jobs.time_limit import TimeUp, time_limit
from cpchub_training.recipes import Recipe
from cpchub_training.run import training_run
from tests.training.several_ranks import started, wait_until
from tests.training.small_runs import small

FILES = {"README.md", "config.json", "eval.json", "model.safetensors", "recipe.json"}


def two() -> list[Recipe]:
    return [small(name, limit=64, epochs=2) for name in ("simclr", "moco_v2")]


def table(out: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads((out / "table.json").read_text())["rows"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of two recipes that no one has stopped; do not write to it."""
    out = tmp_path_factory.mktemp("suite")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        assert suite.run(two(), out, Limits())
    return out


def test_each_recipe_ends_as_a_whole_model_folder_whose_numbers_are_those_of_the_table(finished: Path) -> None:
    assert (finished / "table.md").read_text().count("\n| `tiny_") == 2
    for name, row in table(finished).items():
        card = finished / "model_cards" / name.replace("_", "-")
        assert {path.name for path in card.iterdir()} == FILES
        timm.create_model(f"local-dir:{card}", pretrained=True)
        measured = {each["config"]: each["value"] for each in json.loads((card / "eval.json").read_text())["results"]}
        assert row["knn"]["value"] == measured["knn_k200"]
        assert row["linear"]["value"] == measured["linear_probe"]
        assert row["labels_1_percent"]["value"] == measured["lowshot_1pct"]
        assert row["labels_10_percent"]["value"] == measured["lowshot_10pct"]
        assert f"| {100 * measured['knn_k200']:.1f} % |" in (finished / "table.md").read_text()
        assert row["training_minutes"] > 0
        assert json.loads((card / "recipe.json").read_text())["limit"] == 64


def test_a_finished_suite_does_nothing_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it is trained or measured again")

    monkeypatch.setattr(suite, "train", never)
    monkeypatch.setattr(suite.pretrain, "export_run", never)
    assert suite.run(two(), finished, Limits())


class Killed(BaseException):
    """Ends a call as a kill would: nothing handles it."""


def test_a_suite_that_is_ended_at_any_file_goes_on_and_ends_the_same(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call ends before its first file is put in its place, the second before its second, and so on."""
    real, left = Path.replace, iter(())

    def dying(path: Path, target: Any) -> Path:
        if next(left, None) is None:
            raise Killed
        return real(path, target)

    monkeypatch.setattr(Path, "replace", dying)
    for calls in range(100):
        left: Iterator[int] = iter(range(calls))
        try:
            over = suite.run(two()[:1], tmp_path, Limits())
            break
        except Killed:
            continue
    assert over
    assert calls > 4
    (row,) = table(tmp_path).values()
    assert row | {"training_minutes": 0} == table(finished)["tiny_simclr"] | {"training_minutes": 0}
    for path in finished.glob("model_cards/tiny-simclr/*"):
        there = tmp_path / path.relative_to(finished)
        if path.name == "eval.json":  # but for the date
            assert json.loads(there.read_text())["results"] == json.loads(path.read_text())["results"]
        else:
            assert there.read_bytes() == path.read_bytes(), path
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "model_cards", "table.json", "table.md"}


@pytest.mark.slow
def test_a_killed_process_goes_on_from_its_last_checkpoint(finished: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "out" / "runs" / "tiny_simclr" / "checkpoints" / "last.safetensors"
    with started(1, tmp_path / "first", _suite, tmp_path / "out") as (rank,):
        wait_until(lambda: checkpoint.exists() or rank.process.exitcode is not None)
        rank.process.kill()
        assert checkpoint.exists(), rank.said()
    assert suite.run(two(), tmp_path / "out", Limits())
    for path in finished.glob("model_cards/*/model.safetensors"):
        assert (tmp_path / "out" / path.relative_to(finished)).read_bytes() == path.read_bytes()


def _suite(out: Path) -> None:
    """A run that saves its state after each step."""
    training_run.TrainingRun.minutes_since_checkpoint = lambda _: 1e9  # type: ignore[method-assign,assignment]
    suite.run(two(), out, Limits())


def test_recipes_take_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_steps = [small(name, limit=32, epochs=1, knn_every=0) for name in ("simclr", "moco_v2")]
    assert suite.run(two_steps, tmp_path, Limits(minutes=600, turn=1e-9))
    told = [line.partition(",")[0] for line in capsys.readouterr().out.splitlines() if " of 2 steps" in line]
    assert told == [f"{recipe.name}: {step} of 2 steps" for step in (1, 2) for recipe in two_steps]


def test_the_time_limit_ends_a_call_and_says_how_far_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(replace(small("simclr"), epochs=100_000, knn_every=0).to_dict()))
    Suite((str(recipe),), out=tmp_path / "out", minutes=0.06, limit=64).run()
    said = capsys.readouterr()
    assert "of 100000 |" in said.out
    assert "the same command goes on from here" in said.err


def test_an_endless_job_is_ended_by_its_time() -> None:
    def endless() -> None:
        with time_limit(0.001):
            while True:
                pass

    with pytest.raises(TimeUp):
        endless()
    with time_limit(None) as clock:
        assert clock.minutes_left() > 1e9


def test_a_recipe_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    wrong = replace(small("moco_v2", limit=64), batch_size=128)
    with pytest.raises(RunError, match=r"^tiny_moco_v2 failed: batch_size=128 is more than the 64 images"):
        suite.run([wrong, small("simclr", limit=64, epochs=1)], tmp_path, Limits())
    rows = table(tmp_path)
    assert "batch_size=128" in rows["tiny_moco_v2"]["failed"]
    assert rows["tiny_simclr"]["knn"]["value"] > 0
    assert "failed" in (tmp_path / "table.md").read_text()


def test_an_encoder_of_another_run_is_not_overwritten(finished: Path, tmp_path: Path) -> None:
    card = finished / "model_cards" / "tiny-simclr" / "model.safetensors"
    before = card.read_bytes()
    other = small("simclr", limit=32, epochs=1)
    with pytest.raises(RunError, match=r"has an encoder that .* did not train; name another folder with --cards"):
        suite.run([other], tmp_path, Limits(), cards=finished / "model_cards")
    assert card.read_bytes() == before


def test_what_cannot_be_a_suite_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="simclr_digits is named twice"):
        suite.chosen(["simclr_digits", "simclr-digits"])
    with pytest.raises(RecipeError, match=r"there is no file .*none\.json; name a recipe"):
        suite.chosen([str(tmp_path / "none.json")])
    (tmp_path / "odd.json").write_text("[]")
    with pytest.raises(RecipeError, match="is not the file of a recipe"):
        suite.chosen([str(tmp_path / "odd.json")])
    with pytest.raises(ArgumentError, match="--minutes is 0; give a number above 0"):
        Suite(("simclr_digits",), minutes=0, out=tmp_path).run()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        suite.run([], tmp_path / "file", Limits())
    assert [each.limit for each in suite.chosen(["simclr_digits"], limit=100)] == [100]
    assert {recipes.get(name).data for name in (*suite.ON_CPU, *suite.ON_GPU)} == {"cifar10"}
