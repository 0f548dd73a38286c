"""What can be checked before the work is checked before the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cpchub.cli.embedding import IndexCommand
from cpchub.cli.evaluation import Compare
from cpchub.cli.searching import DuplicatesCommand
from cpchub.errors import ArgumentError, DependencyError, OutputError, RecipeError, UnknownModelError
from cpchub.index.engine import faiss_import
from cpchub_training import methods, recipes
from cpchub_training.data import loading
from cpchub_training.detection.voc import read_voc
from cpchub_training.evaluate import compare, evaluation
from cpchub_training.evaluate.task import Settings
from tests.cpchub.media.stored import put


def work(*_: Any, **__: Any) -> Any:
    raise AssertionError("the work has begun")


def test_a_recipe_that_needs_labels_decodes_no_image_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = put(tmp_path / "photos", *[f"{number}.png" for number in range(4)])
    recipe = replace(recipes.get("simclr_photos_quickstart"), method="sup_con", data=str(photos), batch_size=4)
    monkeypatch.setattr(loading, "in_memory", work)
    for stream in ("auto", "never", "always"):
        with pytest.raises(RecipeError, match="needs labels, and the data has none"):
            loading.open_data(replace(recipe, stream=stream), methods.check)


def test_a_protocol_that_there_is_not_is_missed_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation.Task, "blind", work)
    with pytest.raises(ArgumentError, match="no protocol called 'kmeans'"):
        evaluation.evaluate(None, None, ("knn", "kmeans"), cache=object())  # type: ignore[arg-type]


def test_an_encoder_that_there_is_not_is_missed_before_another_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(name: str) -> Any:
        if name == "nowhere":
            raise UnknownModelError(name)
        return SimpleNamespace(spec=None), None

    monkeypatch.setattr(compare, "load_encoder", known)
    monkeypatch.setattr(compare, "home_of", work)
    with pytest.raises(UnknownModelError):
        compare.compare(["here", "nowhere"], ["digits"], ["knn"], Settings())


def test_a_table_that_cannot_be_written_is_refused_before_it_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "compare", work)
    with pytest.raises(OutputError, match="there is no folder"):
        Compare(("x",), "digits", out=tmp_path / "nowhere" / "table.csv").run()


def test_a_threshold_that_is_none_is_refused_before_the_images_are_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpchub.cli.searching.collection_or_images", work)
    with pytest.raises(ArgumentError, match=r"--threshold 5: a cosine above 0 and up to 1"):
        DuplicatesCommand(tmp_path, threshold=5).run()


def test_search_that_cannot_be_had_is_missed_before_the_images_are_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise DependencyError("search needs FAISS")

    monkeypatch.setattr(faiss_import, "import_faiss", missing)
    monkeypatch.setattr(IndexCommand, "embed", work)
    with pytest.raises(DependencyError):
        IndexCommand(str(put(tmp_path / "photos", "a.png")), tmp_path / "out").run()


def test_a_copy_that_macos_made_is_no_second_data_set(tmp_path: Path) -> None:
    put(tmp_path, "VOC/JPEGImages/a.jpg", "__MACOSX/VOC/Annotations/._a.xml")
    (tmp_path / "VOC" / "Annotations").mkdir()
    (tmp_path / "VOC" / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "VOC" / "ImageSets" / "Main" / "test.txt").write_text("a\n")
    (tmp_path / "VOC" / "Annotations" / "a.xml").write_text("<annotation></annotation>")
    scenes, _ = read_voc(tmp_path, "test")
    assert [scene.path.name for scene in scenes] == ["a.jpg"]
