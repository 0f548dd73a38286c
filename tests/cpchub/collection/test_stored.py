"""Collections in an object store, here fsspec's `memory://`: one writer, whole updates, and a copy on each machine."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.stored.claim import Claim
from cpchub.collection.stored.copy import url_of
from cpchub.collection.stored.objects import Objects
from cpchub.errors import (
    CollectionError,
    OutputError,
    StoreError,
)
from tests.cpchub.buckets import another_machine, but_for_times, files_at, local_files
from tests.cpchub.embedding.runs import run
from tests.cpchub.embedding.test_embed_stopped import Stopping
from tests.cpchub.images import TinyEncoder, folder_of_images

pytestmark = pytest.mark.usefixtures("small_shards")


class TestWhatAPlaceIs:
    @pytest.mark.parametrize(
        ("place", "url"),
        [
            ("s3://photos/2019", "s3://photos/2019"),
            ("s3://photos/2019/", "s3://photos/2019"),
            (Path("s3://photos/2019"), "s3://photos/2019"),
            ("gs://photos", "gs://photos"),
            ("simplecache::s3://photos/x", "simplecache::s3://photos/x"),
            ("photos/2019", None),
            ("file:///photos", None),
            ("/photos/a:b", None),
            ("a:/b", None),
        ],
    )
    def test_a_url_is_told_from_a_folder_also_as_a_path_object(self, place: str | Path, url: str | None) -> None:
        assert url_of(place) == url

    def test_a_folder_that_is_there_is_one_whatever_it_is_called(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("s3:/photos").mkdir(parents=True)
        assert url_of(Path("s3:/photos")) is None


class TestWorkThatIsStopped:
    def test_another_machine_goes_on_with_what_was_stored_before_ctrl_c(
        self, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(source, tmp_path / "local")
        with pytest.raises(KeyboardInterrupt, match=f"6 images are done and kept in {place}. Run the same command"):
            run(source, place, Stopping(KeyboardInterrupt(), after=2))
        assert sorted(files_at(place)) == ["pending/000000.parquet", "pending/000001.parquet", "pending/job.json"]
        with pytest.raises(CollectionError, match=f"{place} is not a collection: embedding stopped before its end"):
            Collection.open(place)
        another_machine(monkeypatch, tmp_path / "elsewhere")
        encoder = TinyEncoder()
        run(source, place, encoder)
        assert encoder.seen == 2
        assert but_for_times(files_at(place)) == local_files(tmp_path / "local")

    @pytest.mark.parametrize("lost", ["pending/000001.parquet", "pending/"])
    def test_shards_that_could_not_be_stored_are_used_by_the_machine_that_has_them(
        self, place: str, source: Path, monkeypatch: pytest.MonkeyPatch, lost: str
    ) -> None:
        put = Objects.put

        def away(self: Objects, name: str, path: Path) -> None:
            if name.startswith(lost):
                raise StoreError("the store is away")
            put(self, name, path)

        with monkeypatch.context() as once:
            once.setattr(Objects, "put", away)
            with pytest.raises(KeyboardInterrupt, match=r"could not all be stored \(the store is away\)"):
                run(source, place, Stopping(KeyboardInterrupt(), after=2))
        assert "pending/000001.parquet" not in files_at(place)
        encoder = TinyEncoder()
        assert len(run(source, place, encoder)) == 8
        assert encoder.seen == 2

    def test_a_finished_collection_that_could_not_be_stored_is_not_embedded_again(
        self, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(source, tmp_path / "local")

        def away(*_: object) -> None:
            raise StoreError("the store is away")

        with monkeypatch.context() as once:
            once.setattr(Objects, "put", away)
            with pytest.raises(StoreError):
                run(source, place)
        encoder = TinyEncoder()
        run(source, place, encoder)
        assert encoder.seen == 0
        assert but_for_times(files_at(place)) == local_files(tmp_path / "local")

    def test_a_writer_that_dies_at_any_step_leaves_a_whole_state_and_the_next_one_goes_on(
        self, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cpchub.collection.stored.claim.BELIEVED_FOR", -1.0)
        monkeypatch.setattr("cpchub.collection.stored.carrier.LOOK_EVERY", 1000.0)  # all in one thread, to be counted
        filesystem = fsspec.filesystem("memory")
        states = [run(source, tmp_path / "local").paths]
        run(source, f"{place}/old")
        (source / "001.png").unlink()
        folder_of_images(source, 1, first=8)
        states.append(run(source, tmp_path / "local").paths)
        seen = []
        for steps in range(100):
            here = f"{place}/{steps}"
            filesystem.copy(f"{place}/old", here, recursive=True)
            another_machine(monkeypatch, tmp_path / "writer")
            with monkeypatch.context() as one:
                died = dying_after(steps, one)
                with contextlib.suppress(Died):
                    run(source, here)
            another_machine(monkeypatch, tmp_path / "reader")
            found = Collection.open(here)
            assert found.vectors().shape == (8, 48)
            seen.append(states.index(found.paths))
            another_machine(monkeypatch, tmp_path / "next")
            assert run(source, here).paths == states[1]
            assert but_for_times(files_at(here)) == local_files(tmp_path / "local")
            if not died:
                break
        assert seen == sorted(seen)
        assert set(seen) == {0, 1}
        assert seen.count(1) > 3  # it counts before its files are in their places


class Died(BaseException):
    """What a kill is to the code: the end, without a word."""


def dying_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the store change `steps` times more, and then die; what was not done is in the list."""
    asked, died, whole = itertools.count(), [], Objects._try

    def counting(self: Objects, what: str, call: Callable[[], Any], name: str = "", **absent: Any) -> Any:
        if what in ("write", "delete") and next(asked) >= steps:
            died.append(name)
            raise Died
        return whole(self, what, call, name, **absent)

    monkeypatch.setattr(Objects, "_try", counting)
    return died


class TestOneWriter:
    def test_a_second_writer_is_told_who_writes_and_the_place_is_free_afterwards(
        self, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objects = Objects(place)
        first = Claim(objects, "the copy of another machine")
        first.take()
        with pytest.raises(OutputError, match=rf"another process is writing to {place}: process \d+ of .*Wait for it"):
            run(source, place)
        first.release()
        assert len(run(source, place)) == 8
        assert ".writer.json" not in files_at(place)
        with pytest.raises(OutputError, match="has taken over"):
            first.check()

    def test_the_claim_of_a_process_that_was_killed_here_is_taken_over_at_once(
        self, place: str, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as killed:
            killed.setattr(Claim, "release", lambda self: None)
            with pytest.raises(KeyboardInterrupt):
                run(source, place, Stopping(KeyboardInterrupt(), after=1))
        assert ".writer.json" in files_at(place)
        assert len(run(source, place)) == 8

    def test_a_writer_that_was_taken_for_dead_stores_nothing(
        self, place: str, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Late(TinyEncoder):
            def encode(self, images, **options):  # type: ignore[no-untyped-def]
                monkeypatch.setattr("cpchub.collection.stored.claim.BELIEVED_FOR", -1.0)
                other.take()
                return super().encode(images, **options)

        other = Claim(Objects(place), "the copy of another machine")
        with pytest.raises(OutputError, match=r"has taken over the writing of .*run the same command again"):
            run(source, place, Late())
        assert "manifest.json" not in files_at(place)
