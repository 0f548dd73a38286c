"""What a machine sees of a collection in an object store, by its copy; and what is refused there."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.collection.merge import merge
from cpchub.collection.stored.objects import Objects
from cpchub.common.files import only_writer
from cpchub.errors import (
    ArgumentError,
    CollectionError,
    EncoderMismatchError,
    OutputError,
    SourceError,
    StoreError,
)
from cpchub.index import Index
from cpchub.index.info import info_of
from cpchub.index.ready import check_store
from tests.cpchub.buckets import another_machine, but_for_times, files_at, local_files
from tests.cpchub.embedding.runs import run
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save

pytestmark = pytest.mark.usefixtures("small_shards")


class TestTheCopy:
    def test_a_machine_with_an_older_copy_sees_the_update(
        self, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(source, place)
        another_machine(monkeypatch, tmp_path / "elsewhere")
        older = Collection.open(place)
        another_machine(monkeypatch, tmp_path / "cache")
        (source / "000.png").unlink()
        newer = Index.build(run(folder_of_images(source, 9, first=3), place))
        another_machine(monkeypatch, tmp_path / "elsewhere")
        with pytest.raises(CollectionError, match=f"{place} was updated since it was opened; open it again"):
            older.vectors()
        seen = Index.open(place)
        assert seen.collection.paths == newer.collection.paths
        assert (seen.collection.vectors() == newer.collection.vectors()).all()
        assert seen.search_row(2, 3) == newer.search_row(2, 3)

    def test_what_a_stopped_build_of_the_index_left_in_the_copy_is_not_stored(
        self, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collection = Index.build(run(source, place)).collection
        whole = files_at(place)["index.faiss"]
        (collection.folder / "index.faiss").write_bytes(b"half an index")
        save(an_image(90), source / "new.png")
        run(source, place)
        assert files_at(place)["index.faiss"] == whole

    def test_a_place_that_was_emptied_is_empty_here_too(self, place: str, source: Path) -> None:
        run(source, place)
        fsspec.filesystem("memory").rm(place, recursive=True)
        with pytest.raises(CollectionError, match=f"{place} is not a collection"):
            Collection.open(place)
        other = TinyEncoder("other", weights="cd" * 32)
        assert run(source, place, other).encoder_name == "other"

    def test_a_store_that_does_not_answer_names_the_copy_which_opens_as_it_is(
        self, place: str, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = Index.build(run(source, place)).collection.folder

        def away(self: Objects) -> None:
            raise StoreError(f"cannot list {self.url}: no route to host")

        monkeypatch.setattr(Objects, "top", away)
        with pytest.raises(StoreError, match=rf"{place}: no route to host. The copy of it in {copy} is a collection"):
            Index.open(place)
        assert len(Index.open(copy)) == 8

    def test_while_a_process_here_writes_it_the_copy_is_read_as_it_is(
        self, place: str, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collection = run(source, place)
        with only_writer(collection.folder):
            (collection.folder / "pending").mkdir()
            assert Collection.open(place).paths == collection.paths
            assert (collection.folder / "pending").is_dir()

    def test_a_collection_that_was_copied_to_a_bucket_opens_and_its_size_is_told(
        self, place: str, source: Path, tmp_path: Path
    ) -> None:
        local = Index.build(run(source, tmp_path / "local"))
        fsspec.filesystem("memory").put(f"{tmp_path}/local/", place, recursive=True)
        opened = Index.open(place)
        assert (opened.collection.vectors() == local.collection.vectors()).all()
        assert info_of(opened.collection).disk == info_of(local.collection).disk


class TestOtherWaysToMakeOne:
    def test_parts_are_merged_into_the_collection_of_one_process(
        self, place: str, source: Path, tmp_path: Path
    ) -> None:
        run(source, tmp_path / "local")
        parts = [f"{place}/part-{number}" for number in (1, 2)]
        for number, part in enumerate(parts, start=1):
            run(source, part, part=f"{number}/2")
        whole = merge(parts, f"{place}/whole")
        assert (whole.place, len(whole)) == (f"{place}/whole", 8)
        assert but_for_times(files_at(f"{place}/whole")) == local_files(tmp_path / "local")
        with pytest.raises(OutputError, match=r"whole exists with other content .*choose a new place"):
            merge(parts, f"{place}/whole")

    def test_imported_vectors_are_stored_and_replaced(self, place: str) -> None:
        vectors = np.eye(4, dtype=np.float32)
        first = import_vectors(place, vectors, ["a", "b", "c", "d"])
        assert (first.place, first.paths) == (place, ["a", "b", "c", "d"])
        import_vectors(place, vectors[:3], ["a", "b", "x"])
        assert Collection.open(place).paths == ["a", "b", "x"]


class TestWhatIsRefused:
    def test_a_place_that_holds_something_else_stays_as_it_is(self, place: str, source: Path) -> None:
        fsspec.filesystem("memory").pipe_file(f"{place}/thesis.txt", b"mine")
        with pytest.raises(OutputError, match=rf"{place} exists with other content \(thesis.txt\); choose an empty"):
            run(source, place)
        assert files_at(place) == {"thesis.txt": b"mine"}

    def test_what_the_user_keeps_beside_a_collection_stays(self, place: str, source: Path) -> None:
        run(source, place)
        fsspec.filesystem("memory").pipe_file(f"{place}/thesis.txt", b"mine")
        save(an_image(90), source / "new.png")
        run(source, place)
        assert files_at(place)["thesis.txt"] == b"mine"

    def test_another_encoder_names_the_place(self, place: str, source: Path) -> None:
        run(source, place)
        with pytest.raises(EncoderMismatchError, match=f"{place} was embedded by 'tiny'"):
            run(source, place, TinyEncoder("other", weights="cd" * 32))

    def test_images_of_which_none_can_be_read_leave_nothing(self, place: str, tmp_path: Path) -> None:
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "a.png").write_text("no image")
        with pytest.raises(SourceError, match="can be read"):
            run(tmp_path / "bad", place)
        assert files_at(place) == {}

    def test_a_source_around_the_collection_does_not_take_it_for_images(self, place: str, source: Path) -> None:
        fsspec.filesystem("memory").put(f"{source}/", place, recursive=True)
        for _ in range(2):
            collection = run(place, f"{place}/collection")
            assert len(collection) == 8
        assert collection.counts.unchanged == 8

    def test_milvus_lite_which_is_of_one_machine_is_refused_before_the_work(self, place: str, source: Path) -> None:
        with pytest.raises(ArgumentError, match=rf"photos.db is a folder of this machine, and {place} is for many"):
            check_store(place, "milvus:photos.db")
        with pytest.raises(ArgumentError, match="is a folder of this machine"):
            Index.build(run(source, place), store="milvus:photos.db")
