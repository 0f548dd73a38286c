"""The commands that look into a collection."""

from __future__ import annotations

import csv
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.cli.main import main
from cpchub.cli.searching import subject_of, weighted
from cpchub.cli.sheets import draw_hits
from cpchub.collection.import_vectors import import_vectors
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.index import Index, Item
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save

COUNT = 8


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = folder_of_images(tmp_path_factory.mktemp("pictures") / "photos" / "a", COUNT).parent
    (root / "b").mkdir()
    shutil.copy(root / "a" / "003.png", root / "b" / "copy.png")
    return root


@pytest.fixture(scope="module")
def collection(images: Path, tiny_encoder_folder: Path) -> Path:
    out = images.parent / "photos-index"
    Index.build(embed(images, out, load(tiny_encoder_folder), progress=False, labels="folders"))
    return out


class Runs:
    """Runs `cpchub search` on the collection and gives its lines, split."""

    def __init__(self, collection: Path, encoder: Path, output: pytest.CaptureFixture[str]) -> None:
        self.collection, self.encoder, self.output = str(collection), str(encoder), output

    def __call__(self, *args: object, status: int = 0) -> list[list[str]]:
        command = ["search", self.collection, *map(str, args), "--encoder", self.encoder]
        assert main(command) == status
        self.said = self.output.readouterr()
        return [line.split("\t") for line in self.said.out.splitlines()]


@pytest.fixture
def search(collection: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]) -> Runs:
    return Runs(collection, tiny_encoder_folder, capsys)


class TestSearch:
    def test_an_image_by_file_and_by_id_is_the_same_query(self, search: Runs, images: Path) -> None:
        by_file = search(images / "a" / "005.png", "-k", 3)
        assert by_file[0][1:] == ["a/005.png", "a"]
        assert [line[1] for line in search("id:5", "-k", 3)] == [line[1] for line in by_file]

    def test_a_condition_leaves_out_what_it_does_not_hold_for(self, search: Runs) -> None:
        assert [line[1] for line in search("id:3", "-k", 1, "--where", "label == 'b'")] == ["b/copy.png"]
        search("id:3", "--where", "colour == 'red'", status=2)
        assert "no column 'colour'" in search.said.err

    def test_a_condition_that_few_images_fit_gives_those_few_and_one_that_none_fits_an_empty_answer(
        self, search: Runs, images: Path, tmp_path: Path
    ) -> None:
        assert [line[1] for line in search("id:3", "-k", 5, "--where", "label == 'b'")] == ["b/copy.png"]
        sheet = tmp_path / "sheet.png"
        for query in (["id:3"], ["id:3", "id:4", "--each"], [images / "a" / "001.png", "--show", sheet]):
            assert search(*query, "--where", "label == 'c'") == []
            assert search.said.err == "None of the 9 images fits --where \"label == 'c'\"; nothing is found\n"
        assert not sheet.exists()

    @pytest.mark.parametrize(("query", "told"), [("a red car", True), ("dog", True), ("dog.jpg", False)])
    def test_a_query_in_words_is_told_that_images_are_searched_with(self, search: Runs, query: str, told: bool) -> None:
        search(query, status=2)
        assert f"there is no file {query}" in search.said.err
        assert ("Words cannot be searched with" in search.said.err) == told

    def test_a_path_that_a_search_has_printed_is_a_query(self, search: Runs) -> None:
        assert search("a/005.png", "-k", 3) == search("id:5", "-k", 3)
        assert search("a/005.png", "--minus", "0.5:b/copy.png") == search("id:5", "--minus", "0.5:id:8")

    def test_images_are_added_and_taken_away(self, search: Runs, collection: Path) -> None:
        index = Index.open(collection)
        hits = index.search(Item(1), k=4, plus=[(Item(2), 0.5)], minus=[Item(4)])
        found = search("id:1", "--plus", "0.5:id:2", "--minus", "id:4", "-k", 4)
        assert [line[1] for line in found] == [hit.path for hit in hits]

    def test_several_images_are_one_query_or_with_each_a_query_of_their_own(self, search: Runs) -> None:
        assert len(search("id:1", "id:2", "-k", 3)) == 3
        each = search("id:1", "id:2", "-k", 3, "--each")
        assert [line[-1] for line in each] == ["id:1"] * 3 + ["id:2"] * 3
        assert [each[0][1], each[3][1]] == ["a/001.png", "a/002.png"]
        search("id:1", "--plus", "id:2", "--each", status=2)
        assert "--each" in search.said.err

    def test_a_contact_sheet_has_a_row_for_each_query(self, search: Runs, tmp_path: Path) -> None:
        search("id:1", "-k", 2, "--show", tmp_path / "one.png")
        search("id:1", "id:2", "-k", 2, "--each", "--show", tmp_path / "two.png")
        with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
            assert two.width == one.width
            assert two.height > one.height

    def test_images_of_the_collection_are_searched_with_where_the_encoder_is_not_to_be_had(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Index.build(import_vectors(tmp_path / "in", np.eye(4), ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]))
        assert main(["search", str(tmp_path / "in"), "id:2", "--plus", "d.jpg", "-k", "2"]) == 0
        assert {line.split("\t")[1] for line in capsys.readouterr().out.splitlines()} == {"c.jpg", "d.jpg"}

    def test_a_hit_that_has_left_its_source_is_an_empty_card(self, tmp_path: Path) -> None:
        shard = tmp_path / "a.tar"
        with tarfile.open(shard, "w") as tar:
            for number in range(3):
                tar.add(save(an_image(number), tmp_path / f"{number}.png"), f"{number}.png")
        index = Index.build(embed(shard, tmp_path / "out", TinyEncoder(), progress=False))
        with tarfile.open(shard, "w") as tar:
            tar.add(tmp_path / "0.png", "0.png")
        draw_hits(index, [[Item(0)]], [index.search(Item(0), k=3)], tmp_path / "sheet.png")
        assert (tmp_path / "sheet.png").is_file()

    def test_an_id_that_is_not_there_is_refused(self, search: Runs) -> None:
        search("id:99", status=2)
        assert "no image with id 99" in search.said.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg", (Path("a.jpg"), 1.0)),
        ("0.5:a.jpg", (Path("a.jpg"), 0.5)),
        ("2:id:7", (Item(7), 2.0)),
        ("id:7", (Item(7), 1.0)),
        ("c:/a.jpg", (Path("c:/a.jpg"), 1.0)),
        ("2:", (Path("2:"), 1.0)),
    ],
)
def test_a_weight_stands_before_an_image(text: str, expected: tuple[object, float], collection: Path) -> None:
    assert weighted(text, Index.open(collection)) == expected


def test_a_file_that_is_there_is_never_taken_for_an_id_or_a_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collection: Path
) -> None:
    index = Index.open(collection)
    monkeypatch.chdir(tmp_path)
    for name in ("id:7", "2:a.jpg"):
        (tmp_path / name).touch()
    assert subject_of("id:7", index) == Path("id:7")
    assert weighted("2:a.jpg", index) == (Path("2:a.jpg"), 1.0)


class TestOtherCommands:
    def test_duplicates_of_a_collection_are_a_csv(self, collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["duplicates", str(collection)]) == 0
        said = capsys.readouterr()
        rows = list(csv.DictReader(io.StringIO(said.out)))
        assert {row["path"] for row in rows if row["kind"] == "exact"} == {"a/003.png", "b/copy.png"}
        assert "cosine of" in said.err

    def test_duplicates_of_a_folder_of_images_leave_nothing_in_it(
        self, images: Path, tiny_encoder_folder: Path, tmp_path: Path
    ) -> None:
        before = sorted(images.rglob("*"))
        out = tmp_path / "duplicates.csv"
        assert main(["duplicates", str(images), "--encoder", str(tiny_encoder_folder), "-o", str(out)]) == 0
        assert sorted(images.rglob("*")) == before
        assert "b/copy.png" in out.read_text()

    def test_outliers_says_where_none_is_far_from_usual(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Index.build(import_vectors(tmp_path / "in", np.eye(4), ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]))
        assert main(["outliers", str(tmp_path / "in")]) == 0
        said = capsys.readouterr()
        assert said.out.splitlines() == ['"path","label","similarity","outlier"']
        assert said.err.splitlines()[-1] == (
            "None of 4 images is far from usual; --all lists all of them, the most unusual first"
        )

    def test_outliers_and_maps_are_written(
        self, collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["outliers", str(collection), "--all"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == COUNT + 2
        assert main(["map", str(collection), "-o", str(tmp_path / "map.png")]) == 0
        assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")

    def test_a_collection_is_exported(self, collection: Path, tmp_path: Path) -> None:
        assert main(["export", str(collection), "--to", "numpy", "-o", str(tmp_path / "out")]) == 0
        assert np.load(tmp_path / "out" / "vectors.npy").shape == (COUNT + 1, 16)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("COLLECTION -o out", "--to numpy, milvus or lance"),
            ("COLLECTION -o out.onnx", "--to numpy, milvus or lance"),
            ("simclr -o out", "for a collection add --to"),
            ("simclr -o out.onnx --uri a.db", "--uri is for a collection"),
            ("nowhere --to numpy -o out", "there is no collection at nowhere"),
        ],
    )
    def test_export_says_what_it_lacks_for_an_encoder_and_for_a_collection(
        self,
        collection: Path,
        words: str,
        said: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(["export", *words.replace("COLLECTION", str(collection)).split()]) == 2
        assert said in capsys.readouterr().err
        assert not list(tmp_path.iterdir())

    def test_export_index_is_understood_as_export(
        self, collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["export-index", str(collection), "--to", "numpy", "-o", str(tmp_path / "out")]) == 0
        assert capsys.readouterr().err.splitlines()[0] == (
            "note: `cpchub export-index` is `cpchub export` now; the old word goes with the next version"
        )
