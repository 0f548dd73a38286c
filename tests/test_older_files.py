"""Files that cpchub 0.1.0 wrote are opened by this version: a collection, a run folder and a model folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cpchub
from cpchub_training import data
from cpchub_training.recipes import MoCoSettings
from cpchub_training.run.loop import train
from cpchub_training.run.run_folder import recipe_of

MADE = Path(__file__).parent / "data" / "made_by_0_1_0"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A copy, as opening a collection may write into it."""
    return Path(shutil.copytree(MADE, tmp_path / "made"))


def test_an_older_model_folder_loads_and_gives_the_vectors_that_it_gave(made: Path) -> None:
    encoder = cpchub.load(made / "run" / "export", device="cpu")
    collection = cpchub.Collection.open(made / "collection")
    again = encoder.encode([made / "pictures" / path for path in collection.paths], normalize=True)
    assert (again * collection.vectors()).sum(axis=1).min() > 0.999  # they were made in bfloat16


def test_an_older_collection_is_searched_and_updated(made: Path) -> None:
    encoder = cpchub.load(made / "run" / "export", device="cpu")
    index = cpchub.Index.open(made / "collection")
    query = made / "pictures" / "even" / "00.png"
    assert [hit.path for hit in index.search(query, k=1, encoder=encoder)] == ["even/00.png"]
    assert cpchub.Collection.open(made / "collection").items["label"].to_pylist() == ["even"] * 6 + ["odd"] * 6

    (made / "pictures" / "odd" / "11.png").unlink()
    counts = cpchub.embed_folder(made / "pictures", made / "collection", encoder, progress=False).counts
    assert (counts.unchanged, counts.removed, counts.added, counts.broken) == (11, 1, 0, 1)


def test_an_older_run_goes_on_from_its_checkpoint(made: Path) -> None:
    recipe = recipe_of(made / "run")
    assert recipe is not None
    assert recipe.moco == MoCoSettings(queue_size=48, bn_splits=2)
    result = train(recipe, made / "run", images=data.digits().subset(np.arange(48)))
    assert result.metrics["step"] == 6
    steps = [json.loads(line)["step"] for line in (made / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [3, 6]


def test_an_older_run_folder_is_of_the_same_recipe_only(made: Path) -> None:
    recipe = recipe_of(made / "run")
    assert recipe is not None
    with pytest.raises(cpchub.errors.OtherRunError, match=r"another recipe.*lr"):
        train(replace(recipe, lr=1.0), made / "run", images=data.digits().subset(np.arange(48)))
