"""Labels are read from whatever a spreadsheet writes, fitted to the images before any work, and never made up."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpchub.collection.collection import Collection
from cpchub.common.csv_table import read_csv
from cpchub.embedding.job import embed
from cpchub.errors import LabelError, SourceError
from cpchub.fewlabels.classify import classify
from cpchub.fewlabels.given_labels import read_labels
from cpchub.media.labels import folder_classes, places_of
from cpchub.media.sources.lists import read_list
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save
from tests.cpchub.media.stored import png, write_tar


def run(source: object, out: Path, encoder: TinyEncoder | None = None, **options: Any) -> Collection:
    return embed(source, out, encoder or TinyEncoder(), progress=False, batch_size=8, **options)


def labels_of(collection: Collection) -> dict[str, str | None]:
    return dict(zip(collection.paths, collection.items["label"].to_pylist(), strict=True))


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of_images(tmp_path / "photos", 4)


CAT_AND_DOG = {"000.png": "cat", "001.png": "dög", "002.png": None, "003.png": None}


class TestWhatSpreadsheetsWrite:
    @pytest.mark.parametrize(
        ("text", "encoding"),
        [
            ("path;label\r\n000.png;cat\r\n001.png;dög\r\n", "utf-8"),
            ("path\tlabel\n000.png\tcat\n001.png\tdög\n", "utf-8"),
            ("path|label\n000.png|cat\n001.png|dög\n", "utf-8"),
            ("path\tlabel\r\n000.png\tcat\r\n001.png\tdög\r\n", "utf-16"),
            ("path,label\n000.png,cat\n001.png,dög\n", "utf-16-le"),
            ("path,label\n000.png,cat\n001.png,dög\n", "utf-16-be"),
            ("path,label\n000.png,cat\n001.png,dög\n", "utf-32"),
            ("path,label\n000.png,cat\n001.png,dög\n", "utf-8-sig"),
            ("sep=;\r\npath;label\r\n000.png;cat\r\n001.png;dög\r\n", "utf-8-sig"),
            ("SEP=|\npath|label\n000.png|cat\n001.png|dög\n", "utf-8"),
            ("PATH;Label\r\n000.png;cat\r\n001.png;dög\r\n", "utf-8"),
            ("path, label\n000.png, cat\n001.png , dög\n", "utf-8"),
            ('path, label\n000.png, "cat"\n"001.png", "dög"\n', "utf-8"),
            ("path,label\r000.png,cat\r001.png,dög\r", "utf-8"),
            (",path,label\n0,000.png,cat\n1,001.png,dög\n", "utf-8"),
            ("path,label,,\n000.png,cat,,\n,,,\n\n001.png,dög\n002.png\n", "utf-8"),
        ],
    )
    def test_it_is_read_by_every_command(self, photos: Path, tmp_path: Path, text: str, encoding: str) -> None:
        file = written(tmp_path / "labels.csv", text, encoding)
        collection = run(photos, tmp_path / "out", labels=file)
        assert labels_of(collection) == CAT_AND_DOG
        assert read_labels(file) == {"000.png": "cat", "001.png": "dög"}

    @pytest.mark.parametrize(
        ("text", "encoding", "message"),
        [
            ("path,label\n000.png,dög\n", "latin-1", r"byte 0xf6 on line 2 is not UTF-8; save it as UTF-8"),
            ("PK\x03\x04xl/workbook.xml", "latin-1", "it is a workbook of a spreadsheet; save it as CSV"),
            ("path,label\na, b.png,cat\n", "utf-8", r"line 2 has 3 fields and the first line 2; .* holds a comma"),
            ("path;label\na; b.png;cat\n", "utf-8", "holds a semicolon"),
            ('path,label\n"000.png,cat\n', "utf-8", r"line 2 is not well formed .*; look at its quotes"),
            ("path,label,label\n000.png,cat,dog\n", "utf-8", "it has the column label twice; rename or delete one"),
            ("path,Label,LABEL\n000.png,cat,dog\n", "utf-8", "it has the column label twice"),
            ("path,label,year,year\n000.png,cat,1,2\n", "utf-8", "it has the column year twice"),
            ("path,label\n,cat\n", "utf-8", "line 2 has no path"),
            ("path,label\n000.png\0,cat,dog\n", "utf-8", "line 2 has 3 fields"),
        ],
    )
    def test_what_cannot_be_read_is_named_before_any_work(
        self, photos: Path, tmp_path: Path, text: str, encoding: str, message: str
    ) -> None:
        file, encoder = written(tmp_path / "labels.csv", text, encoding), TinyEncoder()
        with pytest.raises(LabelError, match=message):
            run(photos, tmp_path / "out", encoder, labels=file)
        assert encoder.seen == 0
        assert not (tmp_path / "out").exists()
        with pytest.raises(LabelError, match=message):
            read_labels(file)

    def test_columns_keep_their_types_and_their_names(self, photos: Path, tmp_path: Path) -> None:
        text = "Path;Label;Year;Good;Note\n000.png;007;1999;true;a\n001.png;cat;;false;\n"
        items = run(photos, tmp_path / "out", labels=written(tmp_path / "l.csv", text)).items
        assert items.column_names[-3:] == ["Year", "Good", "Note"]
        assert items.to_pylist()[0] | {"Year": 1999, "Good": True, "Note": "a", "label": "007"} == items.to_pylist()[0]
        assert (items["Year"].to_pylist()[1], str(items["Year"].type)) == (None, "int64")

    def test_a_column_whose_new_name_is_taken_keeps_a_place_of_its_own(self, photos: Path, tmp_path: Path) -> None:
        text = "path,size,source_size\n000.png,1,2\n"
        items = run(photos, tmp_path / "out", labels=written(tmp_path / "l.csv", text)).items.to_pylist()
        assert (items[0]["source_size"], items[0]["source_source_size"]) == (2, 1)

    def test_a_file_that_says_nothing_beside_the_paths_is_refused(self, photos: Path, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match="has the column path only; add one that says something, such as label"):
            run(photos, tmp_path / "out", labels=written(tmp_path / "l.csv", "path\n000.png\n"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("000.png,cat\n001.png,dog\n", "its first line names the columns, for example path,label"),
            ("path,label\n\n", "no lines below the names of its columns"),
        ],
    )
    def test_a_file_without_names_or_lines_is_refused(
        self, photos: Path, tmp_path: Path, text: str, message: str
    ) -> None:
        with pytest.raises(LabelError, match=message):
            run(photos, tmp_path / "out", labels=written(tmp_path / "l.csv", text))

    def test_lists_of_images_are_read_by_the_same_reader(self, tmp_path: Path) -> None:
        folder_of_images(tmp_path, 2)
        file = written(tmp_path / "list.csv", "sep=;\r\nURL;Label\r\n000.png;cat\r\n001.png;dog\r\n", "utf-16")
        assert labels_of(run(file, tmp_path / "out")) == {"000.png": "cat", "001.png": "dog"}
        one_column = written(tmp_path / "one.csv", "url\nhttp://host/a,b.png\nhttp://host/c;d.png\n")
        assert read_list(one_column)[0]["url"].to_pylist() == ["http://host/a,b.png", "http://host/c;d.png"]
        text = written(tmp_path / "list.txt", "000.png\r\n001.png\r\n", "utf-16")
        assert read_list(text)[0]["path"].to_pylist() == ["000.png", "001.png"]
        with pytest.raises(SourceError, match="as a list of images: it has the column path twice"):
            run(written(tmp_path / "twice.csv", "path,path\na,b\n"), tmp_path / "no")

    def test_a_table_with_a_column_twice_is_refused_in_words(self, tmp_path: Path) -> None:
        image = pa.array([png(0)])
        pq.write_table(
            pa.Table.from_arrays([image, pa.array([1]), pa.array([2])], ["image", "year", "year"]),
            tmp_path / "a.parquet",
        )
        with pytest.raises(SourceError, match=r"a\.parquet has the column year twice"):
            run(tmp_path / "a.parquet", tmp_path / "out")

    def test_a_file_of_a_hundred_thousand_lines_is_one_table(self, tmp_path: Path) -> None:
        lines = [f"{number}.png,{number}" for number in range(100_000)] + ["last.png,none"]
        table = read_csv(written(tmp_path / "l.csv", "\n".join(["path,year", *lines])), ("path",), LabelError, "CSV")
        assert table.typed(("path",))["year"].to_pylist()[-1] == "none"  # words after numbers: all are text


class TestLinesAndImages:
    def test_lines_that_fit_no_image_are_counted_and_one_is_named(self, tmp_path: Path) -> None:
        photos = folder_of_images(tmp_path / "photos", 20)
        lines = [f"{'00' if number == 7 else '0O'}{number}.png,cat" for number in range(20)]
        file = written(tmp_path / "l.csv", "\n".join(["path,label", *lines]))
        collection = run(photos, tmp_path / "out", labels=file)
        (note,) = collection.notes
        assert f"1 of 20 lines of {file} fit an image; of the other 19 one is line 2, '0O0.png'" in note
        assert f"Paths are those below {photos}, such as '000.png'" in note
        assert labels_of(collection)["007.png"] == "cat"

    def test_where_none_fits_the_job_ends_before_it_begins(self, photos: Path, tmp_path: Path) -> None:
        file, encoder = written(tmp_path / "l.csv", "path,label\nphotos/000.png,cat\n"), TinyEncoder()
        with pytest.raises(LabelError, match=r"no path in .* is one of the collection: line 2, 'photos/000\.png'"):
            run(photos, tmp_path / "out", encoder, labels=file)
        assert encoder.seen == 0
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("way", ["{root}/a b/{name}", "./a b/{name}", "a b\\{name}", "file://{root}/a%20b/{name}"])
    def test_an_image_may_be_named_in_any_of_its_ways(self, tmp_path: Path, way: str) -> None:
        name = unicodedata.normalize("NFD", "ñandú.png")
        save(an_image(1), tmp_path / "photos" / "a b" / name)
        save(an_image(2), tmp_path / "photos" / "other.png")
        root = (tmp_path / "photos").resolve()
        composed = unicodedata.normalize("NFC", way.format(root=root, name=name))
        file = written(tmp_path / "l.csv", f"path,label\n{composed},bird\nother.png,none\n")
        collection = run(tmp_path / "photos", tmp_path / "out", labels=file)
        assert labels_of(collection)[f"a b/{name}"] == "bird"
        assert classify(collection, read_labels(file))["label"].to_pylist().count("bird") == 1

    def test_an_absolute_path_through_a_link_is_that_of_the_file(self, tmp_path: Path) -> None:
        folder_of_images(tmp_path / "disk", 2)
        (tmp_path / "photos").symlink_to(tmp_path / "disk")
        file = written(tmp_path / "l.csv", f"path,label\n{tmp_path}/photos/000.png,cat\n")
        assert labels_of(run(tmp_path / "photos", tmp_path / "out", labels=file))["000.png"] == "cat"

    def test_a_url_of_a_bucket_names_what_is_in_it(self) -> None:
        found = places_of(["s3://b/photos/a.png", "a.png", "s3://other/a.png"], ["a.png"], "s3://b/photos")
        assert list(found) == [0, 0, None]

    def test_the_same_line_twice_is_fine_and_two_that_differ_are_not(self, photos: Path, tmp_path: Path) -> None:
        file = written(tmp_path / "l.csv", "path,label\n000.png,cat\n./000.png,cat\n")
        assert labels_of(run(photos, tmp_path / "out", labels=file))["000.png"] == "cat"
        written(file, "path,label\n000.png,cat\n./000.png,dog\n")
        with pytest.raises(LabelError, match=r"000\.png on more than one line \(2 and 3\)"):
            run(photos, tmp_path / "other", labels=file)

    def test_labels_that_change_while_the_work_goes_on_change_nothing(self, photos: Path, tmp_path: Path) -> None:
        file = written(tmp_path / "l.csv", "path,label\n000.png,cat\n")

        class Slow(TinyEncoder):
            def encode(self, images: Any, **options: Any) -> Any:
                file.unlink(missing_ok=True)
                return super().encode(images, **options)

        assert labels_of(run(photos, tmp_path / "out", Slow(), labels=file))["000.png"] == "cat"


class TestClassFolders:
    def test_the_folders_in_a_tar_are_classes_and_the_shard_is_none(self, tmp_path: Path) -> None:
        shard = write_tar(tmp_path / "photos.tar", {"cat/0.png": png(0), "cat/1.png": png(1), "dog/2.png": png(2)})
        collection = run(shard, tmp_path / "out", labels="folders")
        assert sorted(labels_of(collection).values(), key=str) == ["cat", "cat", "dog"]
        assert collection.notes == ("2 classes by folders (cat, dog), of all images",)

    @pytest.mark.parametrize(
        ("kind", "paths", "classes"),
        [
            ("folder", ["cat/0.png", "dog/old/1.png", "2.png"], ["cat", "dog", None]),
            ("folder", ["train/0.png", "test/1.png"], [None, None]),
            ("folder", ["train/cat/0.png", "test/dog/1.png"], ["cat", "dog"]),
            ("folder", ["Train/cat/0.png", "valid/dog/1.png", "unlabelled/2.png"], ["cat", "dog", None]),
            ("folder", ["train/0.png", "bus/1.png"], ["train", "bus"]),
            ("tar", ["a.tar/0.png", "b.tar/1.png"], [None, None]),
            ("tar", ["a.tar/photos/cat/0.png", "b.tar/photos/dog/1.png"], ["cat", "dog"]),
            ("tar", ["x/a.TAR/./cat/0.png", "x/a.TAR/./dog/1.png"], ["cat", "dog"]),
            ("tar", ["a.tar/train/cat/0.png", "b.tar/test/dog/1.png"], ["cat", "dog"]),
            ("tar", ["a.tar/cat/0.png", "a.tar/cat/1.png"], ["cat", "cat"]),
            ("parquet", ["a.parquet/0000000", "b.parquet/0000000"], [None, None]),
            ("datasets", ["train/0000000", "test/0000000"], [None, None]),
            ("list", ["/data/cat/0.png", "/data/dog/1.png"], ["cat", "dog"]),
            ("list", ["http://a.org/x/0.png", "http://b.org/y/1.png"], [None, None]),
            ("list", ["0.png", "1.png"], [None, None]),
        ],
    )
    def test_a_class_is_a_folder_and_no_shard_part_or_host(
        self, kind: str, paths: list[str], classes: list[str | None]
    ) -> None:
        assert folder_classes(paths, kind) == classes

    def test_folders_are_refused_where_there_are_none_before_any_work(self, photos: Path, tmp_path: Path) -> None:
        encoder = TinyEncoder()
        with pytest.raises(LabelError, match=r"no image of .*photos lies in a class folder"):
            run(photos, tmp_path / "out", encoder, labels="folders")
        pq.write_table(pa.table({"image": [png(0)]}), tmp_path / "a.parquet")
        with pytest.raises(LabelError, match="its images are rows of tables"):
            run(tmp_path / "a.parquet", tmp_path / "out", encoder, labels="folders")
        assert encoder.seen == 0
        assert not (tmp_path / "out").exists()

    def test_shards_and_splits_without_labels_give_none_of_their_own(self, tmp_path: Path) -> None:
        (tmp_path / "shards").mkdir()
        for name, seed in (("a.tar", 0), ("b.tar", 1)):
            write_tar(tmp_path / "shards" / name, {"0.png": png(seed)})
        assert set(labels_of(run(tmp_path / "shards", tmp_path / "out")).values()) == {None}
