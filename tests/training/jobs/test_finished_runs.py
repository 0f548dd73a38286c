"""A run that is finished: it says so, and what was made of it stays."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cpchub.cli.training import TrainRecipe
from cpchub.errors import RecipeError
from cpchub_training.run import ranks
from tests.training.jobs.test_quickstart import photos, tiny
from tests.training.small_runs import small


def test_a_finished_run_says_so_and_how_to_go_on_and_keeps_its_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tiny(photos(tmp_path / "photos", each=8)), tmp_path / "run"
    TrainRecipe(recipe, out).run()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"Trained {recipe.name}. Use it: cpchub index IMAGES -o OUT --encoder ")
    config, measured = out / "export" / "config.json", out / "export" / "eval.json"
    config.write_text(config.read_text().replace("unknown", "mit"))
    measured.write_text("{}")
    before = {path: path.read_bytes() for path in (out / "export").iterdir()}

    TrainRecipe(recipe, out).run()
    said = capsys.readouterr()
    assert said.out == f"{recipe.name}: finished before, at step 4\n"
    assert said.err.startswith(f"{out} was finished before, and stays as it is. To train anew, for more --epochs too, ")
    assert {path: path.read_bytes() for path in (out / "export").iterdir()} == before

    (out / "export" / "model.safetensors").write_bytes(b"cut off")
    TrainRecipe(recipe, out).run()
    assert (out / "export" / "model.safetensors").read_bytes() == before[out / "export" / "model.safetensors"]


def test_only_a_rate_without_an_end_goes_on_in_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = replace(tiny(photos(tmp_path / "photos", each=8)), schedule="constant", epochs=1), tmp_path / "run"
    TrainRecipe(recipe, out).run()
    first = (out / "export" / "model.safetensors").read_bytes()
    TrainRecipe(recipe, out).run()
    assert "To train it further, give more than --epochs 1." in capsys.readouterr().err
    TrainRecipe(replace(recipe, epochs=2), out).run()
    assert "Trained " in capsys.readouterr().err
    assert (out / "export" / "model.safetensors").read_bytes() != first


@pytest.mark.parametrize(
    ("images", "ranks", "accumulate", "way_out"),
    [
        (60, 1, 1, "use --batch-size 30 or less"),
        (60, 4, 1, "use --batch-size 28 or less"),
        (60, 2, 4, "use --batch-size 24 or less"),
        (3, 1, 1, "give more images"),
    ],
)
def test_fewer_images_than_a_batch_are_told_a_batch_size_that_works(
    images: int, ranks: int, accumulate: int, way_out: str
) -> None:
    recipe = small(batch_size=128, accumulate=accumulate)
    with pytest.raises(RecipeError, match=f"batch_size=128 is more than the {images} images; {way_out}"):
        recipe.check(images, ranks)
    if size := re.search(r"--batch-size (\d+)", way_out):
        replace(recipe, batch_size=int(size[1])).check(images, ranks)


def test_lightning_tells_nothing_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(ranks, "cpu_has_bfloat16", lambda: True)
    srun = tmp_path / "srun"  # as on a machine of a Slurm cluster
    srun.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("lightning_fabric")
    logger.addHandler(handler)
    try:
        ranks.launch("cpu", "bf16")
    finally:
        logger.removeHandler(handler)
    assert told == []
    assert [str(warning.message) for warning in recwarn] == []
