"""Training and evaluation see the images that embedding sees, and labels that somebody gave them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpchub.errors import RecipeError, SourceError
from cpchub.media.rules import Rules
from cpchub_training import data, methods, recipes
from cpchub_training.data.aligned import aligned
from cpchub_training.data.listing import listed
from cpchub_training.data.loading import open_data
from cpchub_training.data.streaming import Stream
from cpchub_training.evaluate import open_labelled
from cpchub_training.recipes import Recipe
from tests.cpchub.images import lock
from tests.cpchub.media.stored import png, put, write_tar


def two_tars(root: Path) -> None:
    for name in ("a.tar", "b.tar"):
        write_tar(root / name, {"0.png": png(0), "1.png": png(1)})


def two_tables(root: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(pa.table({"image": [png(0), png(1)]}), root / name)


def two_parts(root: Path) -> None:
    put(root, "train/0.png", "train/1.png", "test/2.png", "test/3.png")


def saved_splits(root: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image()})
    rows = {"image": [{"bytes": png(seed), "path": None} for seed in range(2)]}
    split = datasets.Dataset.from_dict(rows, features=features)
    root.rmdir()
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(root)


class TestLabels:
    @pytest.mark.parametrize("lay_out", [two_tars, two_tables, two_parts, saved_splits])
    def test_shards_and_splits_are_no_classes(self, tmp_path: Path, lay_out: Callable[[Path], None]) -> None:
        root = tmp_path / "data"
        root.mkdir()
        lay_out(root)
        images = listed(str(root))
        assert (len(images), images.labels, images.classes) == (4, None, ())
        assert data.load(str(root), size=8).labels is None
        recipe = replace(recipes.get("simclr_photos_quickstart"), method="sup_con", batch_size=2)
        with pytest.raises(RecipeError, match="needs labels, and the data has none"):
            methods.check(recipe, len(images), images.labels is not None)

    def test_class_folders_in_shards_and_below_parts_are(self, tmp_path: Path) -> None:
        write_tar(tmp_path / "photos.tar", {"cat/0.png": png(0), "dog/1.png": png(1)})
        assert listed(str(tmp_path / "photos.tar")).classes == ("cat", "dog")
        root = put(tmp_path / "parted", "train/cat/0.png", "train/dog/1.png", "test/cat/2.png")
        assert listed(str(root)).classes == ("cat", "dog")

    def test_a_label_column_comes_first(self, tmp_path: Path) -> None:
        write_tar(tmp_path / "a.tar", {"x/0.png": png(0), "x/0.cls": b"cat", "y/1.png": png(1), "y/1.cls": b"dog"})
        images = listed(str(tmp_path / "a.tar"))
        assert (images.classes, images.by_folders) == (("cat", "dog"), False)


NAMES = ["cat/0.png", "dog/1.png", "cat/2.png", "dog/3.png", "@eaDir/4.png", "raw/5.png"]


class TestTheSameImagesEverywhere:
    def seen(self, root: Path, rules: Rules) -> set[str]:
        """What training sees, which evaluation, streaming and aligned folders have to agree with."""
        found = {image.path for image in listed(str(root), rules).images}
        recipe = replace(
            Recipe("x", data=str(root), batch_size=2),
            exclude=rules.exclude,
            include_system=rules.include_system,
            follow_links=rules.follow_links,
            stream="always",
        )
        stream = open_data(recipe)
        assert isinstance(stream, Stream)
        assert {image.path for image in stream.listed.images} == found
        assert len(open_data(replace(recipe, stream="never", stored_size=8))) == len(found)
        data_set = open_labelled(str(root), rules)
        measured = {str(path) for part in (data_set.train, data_set.test) for path in part.images}
        assert measured == {str(root / path) for path in found}
        assert len(aligned(f"a={root},b={root}", 8, rules)) == len(found)
        return found

    def test_folders_of_systems_and_what_is_excluded(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", *NAMES, "@eaDir/6.png", "raw/7.png")
        assert self.seen(root, Rules(exclude=("raw",))) == set(NAMES[:4])
        assert len(self.seen(root, Rules(include_system=True))) == 8

    def test_links_lead_out_only_when_asked(self, tmp_path: Path) -> None:
        put(tmp_path, "disk/ox/0.png", "disk/ox/1.png")
        root = put(tmp_path / "photos", *NAMES[:4])
        (root / "ox").symlink_to(tmp_path / "disk" / "ox")
        (root / "again").symlink_to("cat")
        assert self.seen(root, Rules()) == set(NAMES[:4])
        assert self.seen(root, Rules(follow_links=True)) == {*NAMES[:4], "ox/0.png", "ox/1.png"}

    def test_a_folder_that_cannot_be_listed_is_told_and_the_rest_is_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = put(tmp_path / "photos", *NAMES[:4], "lost+found/4.png")
        lock(monkeypatch, "lost+found")
        assert self.seen(root, Rules()) == set(NAMES[:4])
        told = capsys.readouterr().err
        assert "1 left out, first lost+found: the folder cannot be listed (Permission denied)" in told

    def test_other_ranks_say_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = put(tmp_path / "photos", "a.png", "@eaDir/b.png")
        monkeypatch.setenv("RANK", "1")
        assert len(listed(str(root))) == 1
        assert capsys.readouterr().err == ""

    def test_a_data_set_as_cloned_is_trained_on_and_refused_for_measuring(self, tmp_path: Path) -> None:
        root = put(tmp_path / "cloned", "banner.png")
        two_tables(root)
        assert len(listed(str(root))) == 4
        with pytest.raises(SourceError, match="files of the kind parquet; measuring takes a folder with image files"):
            open_labelled(str(root))

    def test_a_recipe_keeps_its_rules(self) -> None:
        recipe = Recipe("x", exclude=("raw", "*.gif"), follow_links=True)
        again = Recipe.from_dict(recipe.to_dict())
        assert again.rules == Rules(("raw", "*.gif"), follow_links=True)
        older = {name: value for name, value in recipe.to_dict().items() if name not in ("exclude", "follow_links")}
        assert Recipe.from_dict(older).rules == Rules()
