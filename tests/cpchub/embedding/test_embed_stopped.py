"""A run that is stopped at any moment goes on, and ends with the files of one that never was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cpchub.collection.collection import Collection
from cpchub.errors import (
    CollectionError,
    EncoderMismatchError,
    NoSpaceError,
    OutputError,
)
from tests.cpchub.embedding.runs import by_path, files_of, run
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save
from tests.processes import Processes


class Stopping(TinyEncoder):
    """An encoder that meets an event when it is given its `after`-th batch."""

    def __init__(self, event: BaseException, after: int) -> None:
        super().__init__()
        self.event, self.after = event, after

    def encode(self, images, **options):  # type: ignore[no-untyped-def]
        if len(self.batches) == self.after:
            raise self.event
        return super().encode(images, **options)


@pytest.mark.usefixtures("small_shards")
class TestBeingStopped:
    def test_ctrl_c_says_what_is_kept_and_the_next_run_goes_on(self, source: Path, tmp_path: Path) -> None:
        whole = run(source, tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt, match=r"6 images are done and kept in .*out\. Run the same command"):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=2))
        with pytest.raises(CollectionError, match="stopped before its end"):
            Collection.open(tmp_path / "out")
        encoder = TinyEncoder()
        assert len(run(source, tmp_path / "out", encoder)) == len(whole)
        assert encoder.seen == 4
        assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")

    def test_going_on_with_another_encoder_is_refused(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=1))
        with pytest.raises(EncoderMismatchError):
            run(source, tmp_path / "out", TinyEncoder("other", weights="cd" * 32))

    def test_a_source_that_was_moved_while_it_is_stopped_is_followed(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=2))
        moved = source.rename(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=r"photos, which is gone"):
            run(folder_of_images(tmp_path / "more", first=50), tmp_path / "out")
        encoder = TinyEncoder()
        collection = run(moved, tmp_path / "out", encoder)
        assert (encoder.seen, collection.source) == (4, moved)

    def test_files_that_change_while_it_is_stopped_are_embedded_as_they_are_now(
        self, source: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=2))
        save(an_image(77), source / "001.png")
        (source / "002.png").unlink()
        resumed = by_path(run(source, tmp_path / "out"))
        afresh = by_path(run(source, tmp_path / "afresh"))
        assert {path: vector for path, (_, vector) in resumed.items()} == {p: v for p, (_, v) in afresh.items()}

    def test_a_stopped_update_leaves_the_collection_as_it_was(self, source: Path, tmp_path: Path) -> None:
        before = by_path(run(source, tmp_path / "out"))
        folder_of_images(source / "more", 7, first=50)
        (source / "000.png").rename(source / "renamed.png")
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=1))
        assert by_path(Collection.open(tmp_path / "out")) == before
        collection = run(source, tmp_path / "out")
        assert collection.counts.added == 7
        assert by_path(collection)["renamed.png"] == before["000.png"]

    def test_a_full_disk_keeps_what_is_complete(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = run(source, tmp_path / "whole")
        calls = iter(range(100))

        def full(handle: int) -> None:
            if next(calls) >= 3:  # the job's record and two shards fit
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("cpchub.common.files.os.fsync", full)
            with pytest.raises(NoSpaceError, match=r"no space left .* goes on from there"):
                run(source, tmp_path / "out")
        assert not list((tmp_path / "out").rglob("*.partial"))
        encoder = TinyEncoder()
        assert len(run(source, tmp_path / "out", encoder)) == len(whole)
        assert encoder.seen == 4
        assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")

    def test_a_run_stopped_at_any_write_ends_with_the_same_files(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(source, tmp_path / "whole")
        expected = files_of(tmp_path / "whole")
        original, moments = Path.replace, 0
        for moment in range(40):
            calls = iter(range(1000))

            def stop(self: Path, target: Path) -> Path:
                if next(calls) == moment:  # noqa: B023 - used within the loop's own turn
                    raise KeyboardInterrupt
                return original(self, target)

            out = tmp_path / f"out{moment}"
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", stop)
                try:
                    run(source, out)
                    break
                except KeyboardInterrupt:
                    moments += 1
            run(source, out)
            assert files_of(out) == expected, moment
        assert moments > 10


KILLED = """
import sys
sys.path.insert(0, {repository!r})
from tests.cpchub.images import TinyEncoder
import cpchub.embedding.job
cpchub.embedding.job.SHARD = 3
class Stepwise(TinyEncoder):
    def encode(self, images, **options):
        print("batch", flush=True)
        sys.stdin.readline()
        return super().encode(images, **options)
cpchub.embedding.job.embed({source!r}, {out!r}, Stepwise(), batch_size=4, progress=False)
"""


def test_a_run_killed_without_warning_goes_on_and_ends_with_the_same_files(
    source: Path, tmp_path: Path, small_shards: None, processes: Processes
) -> None:
    run(source, tmp_path / "whole")
    out = tmp_path / "out"
    script = KILLED.format(repository=str(Path(__file__).parents[3]), source=str(source), out=str(out))
    process = processes.start(sys.executable, "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(2):
        assert process.stdout.readline() == "batch\n"
        process.stdin.write("go on\n")
        process.stdin.flush()
    assert process.stdout.readline() == "batch\n"
    process.kill()
    process.wait()
    assert not (out / "manifest.json").exists()
    encoder = TinyEncoder()
    run(source, out, encoder)
    assert 0 < encoder.seen <= 7
    assert files_of(out) == files_of(tmp_path / "whole")
