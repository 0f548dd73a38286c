"""The command line, on a tiny encoder and a handful of small images."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cpchub.cli import commands, embedding, training
from cpchub.cli.main import main
from cpchub.cli.training import TrainRecipe
from cpchub.collection.collection import Collection
from cpchub.common import extras
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.index import Index
from tests.cpchub.images import folder_of_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("pictures") / "photos", 8)


@pytest.fixture(scope="module")
def collection(images: Path, tiny_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("collection") / "photos-index"
    Index.build(embed(images, out, load(tiny_encoder_folder), progress=False))
    return out


def usage_error(*args: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(args)
    assert isinstance(end.value.code, int)
    return end.value.code


class TestUsage:
    def test_help_names_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--help"]) == 0
        said = capsys.readouterr().out
        assert all(f"  {name} " in said for name in commands.COMMANDS)

    def test_nothing_at_all_is_a_usage_error(self) -> None:
        assert main([]) == 2

    def test_an_unknown_command_offers_the_nearest(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["serch", "x"]) == 2
        assert capsys.readouterr().err == "error: no command 'serch'; did you mean 'search'?\n"

    @pytest.mark.parametrize("args", [["models"], ["duplicates", "COLLECTION"], ["quickstart"]])
    def test_what_is_work_of_one_process_is_refused_under_torchrun(
        self, args: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in (("WORLD_SIZE", "2"), ("TORCHELASTIC_RUN_ID", "none")):
            monkeypatch.setenv(name, value)
        assert main(args) == 2
        said = capsys.readouterr()
        assert said.err == f"error: `cpchub {args[0]}` is work of one process, not of 2; start it without torchrun\n"
        assert not said.out

    @pytest.mark.parametrize("args", [["index"], ["index", "x", "--nope"], ["search", "a", "b", "-k", "many"]])
    def test_flags_that_do_not_fit_end_with_status_2(self, args: list[str]) -> None:
        assert usage_error(*args) == 2

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (
                ["index", "x", "-o", "y", "--kind", "flat"],
                "'auto', 'exact', 'rabitq', 'ivf-rabitq', 'hnsw', 'pq', 'ivf-pq'",
            ),
            (["demo", "x", "--port", "abc"], "invalid literal for int() with base 10: 'abc'"),
        ],
    )
    def test_an_option_that_may_be_left_out_never_offers_none(
        self, args: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert usage_error(*args) == 2
        answer = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert said in answer
        assert "None" not in answer

    @pytest.mark.parametrize("name", sorted(commands.COMMANDS))
    def test_every_command_has_help(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert usage_error(name, "--help") == 0
        assert f"usage: cpchub {name}" in capsys.readouterr().out


class TestIndexing:
    def test_a_folder_becomes_a_collection_with_an_index(
        self, images: Path, tiny_encoder_folder: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        assert main(["index", str(images), "-o", str(out), "--encoder", str(tiny_encoder_folder)]) == 0
        assert len(Index.open(out)) == 8

    def test_a_second_run_keeps_the_encoder_of_the_first_and_takes_over_new_images(
        self, tmp_path: Path, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CPCHUB_HUB", str(tiny_encoder_folder.parent))
        photos, out = folder_of_images(tmp_path / "photos", 3), tmp_path / "out"
        command = ["index", str(photos), "-o", str(out)]
        assert main([*command, "--encoder", "tiny-simclr"]) == 0
        folder_of_images(photos, 2, first=3)
        assert main(command) == 0
        again = Collection.open(out)
        assert len(again) == 5
        assert again.encoder_name == "tiny-simclr"

    def test_a_folder_without_images_is_one_error_and_nothing_is_written(
        self, tmp_path: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "empty").mkdir()
        out = tmp_path / "out"
        assert main(["index", str(tmp_path / "empty"), "-o", str(out), "--encoder", str(tiny_encoder_folder)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert not out.exists()

    def test_a_recall_that_cannot_be_is_refused_before_anything_is_embedded(
        self, images: Path, tiny_encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out"
        command = ["index", str(images), "-o", str(out), "--encoder", str(tiny_encoder_folder), "--recall", "95"]
        assert main(command) == 2
        assert capsys.readouterr().err == "error: --recall 95: a share above 0 and up to 1, for example 0.95\n"
        assert not out.exists()

    def test_an_unknown_encoder_is_an_error_that_names_it(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["index", str(images), "-o", str(tmp_path / "out"), "--encoder", "cpc-resnet1700"]) == 2
        assert "cpc-resnet1700" in capsys.readouterr().err

    def test_ctrl_c_says_how_to_go_on(
        self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def stop(_: embedding.IndexCommand) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(embedding.IndexCommand, "run", stop)
        assert main(["index", "my photos", "-o", "out"]) == 130
        assert capsys.readouterr().err == "stopped; to go on: cpchub index 'my photos' -o out\n"

    def test_ctrl_c_before_the_commands_are_loaded_is_one_word_too(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Stop:
            @staticmethod
            def find_spec(name: str, *_: object) -> None:
                if name.startswith("cpchub.cli"):
                    raise KeyboardInterrupt

        for name in [name for name in sys.modules if name.startswith("cpchub.cli")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Stop, *sys.meta_path])
        assert main(["index", "photos", "-o", "out"]) == 130
        assert capsys.readouterr().err == "stopped\n"


class TestSearching:
    def test_an_image_finds_itself_first(
        self, collection: Path, images: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        query = str(images / "003.png")
        assert main(["search", str(collection), query, "-k", "3", "--encoder", str(tiny_encoder_folder)]) == 0
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert len(lines) == 3
        assert lines[0][1] == "003.png"
        assert float(lines[0][0]) >= 0.999

    def test_show_writes_a_contact_sheet(
        self, collection: Path, images: Path, tiny_encoder_folder: Path, tmp_path: Path
    ) -> None:
        sheet = tmp_path / "sheet.png"
        command = ["search", str(collection), str(images / "001.png"), "--encoder", str(tiny_encoder_folder)]
        assert main([*command, "--show", str(sheet)]) == 0
        assert sheet.read_bytes().startswith(b"\x89PNG")

    def test_more_neighbours_than_images_are_all_the_images(
        self, collection: Path, images: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["search", str(collection), str(images / "001.png"), "--encoder", str(tiny_encoder_folder)]
        assert main([*command, "-k", "9"]) == 0
        assert capsys.readouterr().out.count("\n") == 8

    def test_no_neighbours_are_an_error(self, collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["search", str(collection), "id:0", "-k", "0"]) == 2
        assert "k=0" in capsys.readouterr().err

    def test_imported_vectors_are_searched_by_what_they_hold_and_say_so_where_an_encoder_is_needed(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from cpchub.collection.import_vectors import import_vectors

        Index.build(import_vectors(tmp_path / "out", np.eye(4, dtype=np.float32), ["a", "b", "c", "d"]))
        assert main(["search", str(tmp_path / "out"), "b", "-k", "1"]) == 0
        assert capsys.readouterr().out == "1.0000\tb\n"
        for command in (["search", str(tmp_path / "out"), str(images / "000.png")], ["demo", str(tmp_path / "out")]):
            assert main(command) == 2
            assert "computed elsewhere" in capsys.readouterr().err

    def test_a_contact_sheet_is_a_png_by_name_too(
        self, collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sheet = tmp_path / "sheet.txt"
        assert main(["search", str(collection), "id:0", "--show", str(sheet)]) == 2
        assert ".png" in capsys.readouterr().err
        assert not sheet.exists()

    def test_a_name_with_a_tab_or_a_line_end_stays_in_its_column_and_is_found_as_printed(
        self, images: Path, tmp_path: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        photos = tmp_path / "photos"
        names = ["a\tb.png", "c\nd.png", "e\\f.png", "g\x1b[31m.png"]
        for number, name in enumerate(names):
            (photos / "x\ty").mkdir(parents=True, exist_ok=True)
            shutil.copy(images / f"00{number}.png", photos / "x\ty" / name)
        out = tmp_path / "out"
        Index.build(embed(photos, out, load(tiny_encoder_folder), progress=False, labels="folders"))
        capsys.readouterr()
        assert main(["search", str(out), "id:0"]) == 0
        rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert {len(row) for row in rows} == {3}
        assert {row[1] for row in rows} == {r"x\ty/a\tb.png", r"x\ty/c\nd.png", r"x\ty/e\\f.png", r"x\ty/g\x1b[31m.png"}
        assert {row[2] for row in rows} == {r"x\ty"}
        for _, printed, _ in rows:
            assert main(["search", str(out), printed, "-k", "1"]) == 0
            assert capsys.readouterr().out.split("\t")[1] == printed

    def test_another_encoder_is_refused_by_name(
        self, collection: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from tests.tiny_encoder import export_tiny

        other = export_tiny(tmp_path / "other", seed=1, name="other-encoder")
        assert main(["search", str(collection), str(images / "001.png"), "--encoder", str(other)]) == 2
        error = capsys.readouterr().err
        assert "tiny-simclr" in error
        assert "other-encoder" in error

    def test_a_folder_that_is_no_collection_is_an_error_with_the_command_that_makes_one(
        self, tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["search", str(tmp_path), str(images / "001.png")]) == 2
        assert "is not a collection" in (said := capsys.readouterr().err)
        assert "cpchub index IMAGES" in said
        assert main(["demo", str(tmp_path / "nowhere")]) == 2
        assert f"cpchub index IMAGES -o {tmp_path / 'nowhere'}\n" in capsys.readouterr().err


class TestClassifying:
    @pytest.fixture
    def labels(self, tmp_path: Path) -> Path:
        path = tmp_path / "labels.csv"
        path.write_text("path,label\n000.png,cat\n001.png,dog\n")
        return path

    def test_every_image_gets_a_class_and_a_confidence(self, collection: Path, labels: Path, tmp_path: Path) -> None:
        out = tmp_path / "predictions.csv"
        assert main(["classify", str(collection), "--labels", str(labels), "-o", str(out)]) == 0
        rows = list(csv.DictReader(io.StringIO(out.read_text())))
        assert len(rows) == 8
        assert {row["predicted"] for row in rows} <= {"cat", "dog"}
        assert all(0 <= float(row["confidence"]) <= 1 for row in rows)

    def test_without_a_file_the_predictions_are_printed(
        self, collection: Path, labels: Path, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        assert main(["classify", str(collection), "--labels", str(labels)]) == 0
        assert capfdbinary.readouterr().out.count(b"\n") == 9

    def test_labels_of_images_that_are_not_there_are_an_error(
        self, collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        labels = tmp_path / "labels.csv"
        labels.write_text("path,label\nnowhere.png,cat\n001.png,dog\n")
        assert main(["classify", str(collection), "--labels", str(labels)]) == 2
        assert "nowhere.png" in capsys.readouterr().err

    def test_an_output_without_a_folder_is_named_before_the_work(
        self, collection: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "nowhere" / "predictions.csv"
        assert main(["classify", str(collection), "--labels", str(labels), "-o", str(out)]) == 2
        assert capsys.readouterr().err.startswith(f"error: there is no folder {out.parent} to write predictions.csv")

    def test_what_was_found_is_said_by_class(
        self, collection: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "predictions.csv"
        assert main(["classify", str(collection), "--labels", str(labels), "-o", str(out)]) == 0
        said = capsys.readouterr().err
        found = [row["predicted"] for row in csv.DictReader(io.StringIO(out.read_text()))]
        assert all(f"{name} {found.count(name)}" in said for name in set(found))

    def test_the_file_of_the_labels_is_never_overwritten(self, collection: Path, labels: Path) -> None:
        before = labels.read_text()
        assert main(["classify", str(collection), "--labels", str(labels), "-o", str(labels)]) == 2
        assert labels.read_text() == before


class TestTheCatalog:
    @pytest.fixture(autouse=True)
    def hub(self, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CPCHUB_HUB", str(tiny_encoder_folder.parent))

    def test_models_prints_a_line_an_encoder(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models", "tiny*"]) == 0
        assert capsys.readouterr().out.split("\t")[:3] == ["tiny-simclr", "hub", "16"]

    def test_a_pattern_without_a_match_offers_a_wildcard(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models", "tiny"]) == 0
        assert "cpchub models '*tiny*'" in capsys.readouterr().err

    def test_show_prints_the_card_without_its_front_matter(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "tiny_simclr"]) == 0
        card = capsys.readouterr().out
        assert not card.startswith("---")
        assert "A network that only a test could love." in card

    def test_show_takes_a_folder(self, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", str(tiny_encoder_folder)]) == 0
        assert "tiny-simclr" in capsys.readouterr().out

    def test_show_of_an_unknown_name_offers_the_nearest(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "tiny-simclrr"]) == 2
        assert "tiny-simclr'" in capsys.readouterr().err

    def test_publish_to_a_folder_and_load_from_it(
        self, tiny_encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["publish", str(tiny_encoder_folder), f"folder:{tmp_path / 'hub' / 'tiny-simclr'}"]) == 0
        assert main(["show", str(tmp_path / "hub" / "tiny-simclr")]) == 0
        assert "tiny-simclr" in capsys.readouterr().out


class TestTraining:
    def test_list_prints_the_recipes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["train", "--list"]) == 0
        assert "simclr_digits" in capsys.readouterr().out.splitlines()

    def test_an_unknown_recipe_is_an_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["train", "simclr_unknown"]) == 2
        assert "simclr_unknown" in capsys.readouterr().err

    def test_a_flag_changes_the_field_of_the_recipe_and_nothing_else(self) -> None:
        from dataclasses import replace

        from cpchub_training import recipes

        command = training.Train.parse(["simclr_digits", "--epochs", "3", "--views.size", "16", "-o", "somewhere"])
        recipe = recipes.get("simclr_digits")
        expected = replace(recipe, epochs=3, views=replace(recipe.views, size=16))
        assert command == TrainRecipe(expected, Path("somewhere"))

    def test_the_run_folder_is_named_after_the_recipe(self) -> None:
        command = training.Train.parse(["simclr-digits"])
        assert isinstance(command, TrainRecipe)
        assert command.out == Path("runs/simclr_digits")

    def test_a_value_of_the_wrong_type_ends_with_status_2(self) -> None:
        assert usage_error("train", "simclr_digits", "--epochs", "many") == 2


def test_a_missing_extra_is_one_error_with_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(extras, "INSTALLED_IN", tmp_path)
    assert main(["demo", "somewhere"]) == 2
    assert capsys.readouterr().err == 'error: gradio is not installed; run: pip install "cpchub[demo]"\n'
