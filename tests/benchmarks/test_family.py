"""The table of the family: every method can be measured, a stopped call goes on, the guide has the file's numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import methods as one_method
from benchmarks.family import __main__ as family
from benchmarks.family import page, rows, settings
from cpchub.errors import OtherRunError
from cpchub_training import methods

MEASURED = ("supervised", "untrained")


def call(monkeypatch: pytest.MonkeyPatch, out: Path, *words: object) -> dict[str, Any]:
    """A call on some digits, with runs of a few steps; the content of its file."""
    command = ["family", *words, "--data", "digits", "--images", 256, "--minutes", 0.002, "--choice-minutes", 0.0001]
    monkeypatch.setattr(
        sys, "argv", [str(word) for word in [*command, "--work", out / "work", "--out", out / "f.json"]]
    )
    monkeypatch.setattr(rows, "SLICE_SECONDS", 0.05)
    family.main()
    return dict(json.loads((out / "f.json").read_text()))


@pytest.mark.parametrize("name", settings.TITLES)
def test_every_method_has_four_settings_of_one_network(name: str) -> None:
    tried = settings.settings_of(name)
    assert len(tried) == (0 if name == "untrained" else 4)
    for setting in tried or [{}]:
        recipe = settings.recipe_of(name, setting, seed=2)
        recipe.check(20_000)
        methods.get(recipe.method).check(recipe, labelled=name in settings.WITH_LABELS)
        network = recipe.backbone_args.get("path_args", recipe.backbone_args)
        assert settings.NETWORK.items() <= network.items()
        assert (recipe.seed, recipe.batch_size, recipe.schedule) == (2, settings.BATCH, "constant")
        for field, value in setting.items():
            assert (recipe.cpc.emb_scale if field == "emb_scale" else getattr(recipe, field)) == value
    assert settings.recipe_of("cpc_v1", {}).method == "cpc_v1"
    assert settings.recipe_of("simclr_v2", {}).projector_layers == 3


@pytest.mark.parametrize("name", one_method.RECIPES)
def test_the_short_comparison_of_methods_has_a_recipe_for_each(name: str) -> None:
    assert one_method.scaled(name, 1).epochs == 1


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file of a call that was ended after each of its files, and one more that went on."""
    out = tmp_path_factory.mktemp("family")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("CPCHUB_CACHE", str(out / "cache"))
        report = call(monkeypatch, out, *MEASURED, "--seeds", 1)
        before = json.dumps(report)

        def never(*_: Any, **__: Any) -> None:
            raise AssertionError("a row is measured again")

        monkeypatch.setattr(family, "tried", never)
        monkeypatch.setattr(family, "measured", never)
        assert json.dumps(call(monkeypatch, out, *MEASURED, "--seeds", 1)) == before
    return report


def test_a_row_has_the_four_accuracies_and_the_chosen_setting(measured: dict[str, Any]) -> None:
    assert [row["method"] for row in measured["results"]] == list(MEASURED)
    assert len(measured["choices"]) == 4 * (len(MEASURED) - 1)
    for row in measured["results"]:
        assert all(0 < row[column] < 1 for column in page.HEADS)
        tried = [each for each in measured["choices"] if each["method"] == row["method"]]
        if tried:
            best = max(tried, key=lambda each: each["knn_held_out"])
            assert row["setting"] == best["setting"]
            assert row["processor_minutes"] >= 0
            assert row["steps"] == max(1, round(60 * 0.002 * best["images_per_second"] / settings.BATCH))


class Killed(BaseException):
    """Ends a call as a kill would."""


def test_a_run_goes_on_from_its_last_slice_and_keeps_its_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "SLICE_SECONDS", 0.5)
    pool, recipe = rows.Pool("digits", 256), settings.recipe_of("supervised", {})
    rate = settings.BATCH / 0.5  # a slice is a step
    whole, _ = rows._trained(recipe, pool, 3, rate, tmp_path / "whole")
    real, calls = rows.write_json, []

    def dying(path: Path, content: Any) -> None:
        calls.append(content)
        if len(calls) == 2:
            raise Killed
        real(path, content)

    monkeypatch.setattr(rows, "write_json", dying)
    with pytest.raises(Killed):
        rows._trained(recipe, pool, 3, rate, tmp_path / "run")
    again, seconds = rows._trained(recipe, pool, 3, rate, tmp_path / "run")
    assert [each["step"] for each in calls] == [1, 2, 3]
    assert seconds > 0.5  # the step whose time was not noted counts by the rate
    for mine, other in zip(again.backbone.parameters(), whole.backbone.parameters(), strict=True):
        assert mine.equal(other)


def test_a_file_of_another_protocol_is_not_gone_on_with(
    measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f.json").write_text(json.dumps({**measured, "batch_size": 64}))
    with pytest.raises(OtherRunError, match="was measured with batch_size=64, not 128; choose another --out"):
        call(monkeypatch, tmp_path, "untrained", "--seeds", 1)


def test_the_guide_gets_the_numbers_of_the_file_and_the_plot(measured: dict[str, Any], tmp_path: Path) -> None:
    guide = tmp_path / "training.md"
    guide.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    twice = {**measured, "results": [*measured["results"], *({**row, "seed": 1} for row in measured["results"])]}
    page.write(twice, guide)
    text = guide.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    for row in measured["results"]:
        assert f"{100 * row['linear']:.1f} ± 0.0 %" in text
    assert (tmp_path / page.PLOT).read_bytes().startswith(b"\x89PNG")


def test_the_guide_in_the_repository_has_what_the_file_says() -> None:
    text = page.GUIDE.read_text(encoding="utf-8")
    found = page.BLOCK.search(text)
    assert found
    if family.OUT.is_file():
        assert found[0] == page.block(json.loads(family.OUT.read_text(encoding="utf-8")))
