"""Full disks, kills, several processes, several programs at once: the files come out the same."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cpchub.collection.collection import Collection
from cpchub.common import files
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.errors import ArgumentError, NoSpaceError, OutputError, WorkerError
from cpchub.media.decode import read_image
from tests.cpchub.embedding.runs import files_of, run
from tests.cpchub.images import Dying, Movable, TinyEncoder, an_image, folder_of_images, save
from tests.processes import wait_for

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.usefixtures("small_shards")
class TestAFullDisk:
    @pytest.mark.parametrize("what", ["flush", "write"])
    def test_at_any_point_it_is_told_and_the_run_goes_on_later(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        run(source, tmp_path / "whole")
        expected = files_of(tmp_path / "whole")
        owner, name = {"flush": (files, "_flush"), "write": (pq.ParquetWriter, "write_table")}[what]
        original = getattr(owner, name)
        told: set[str] = set()
        for moment in range(40):
            calls = iter(range(1000))

            def full(*args: Any, **options: Any) -> None:
                if next(calls) >= moment:  # noqa: B023 - used within the loop's own turn
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                original(*args, **options)

            out = tmp_path / f"out{moment}"
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, full)
                try:
                    run(source, out)
                    break
                except NoSpaceError as error:
                    told.add(str(error).partition(" of ")[0])
            assert not list(out.rglob("*.partial"))
            run(source, out)
            assert files_of(out) == expected, moment
        assert 5 < moment < 40
        assert told == {"no space left on the disk"}

    def test_a_disk_that_is_really_full(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "whole")
        disk = tmp_path / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a small disk here")
        try:
            with pytest.raises(NoSpaceError, match="make room"):
                run(source, disk / "out")
            subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
            run(source, disk / "out")
            assert files_of(disk / "out") == files_of(tmp_path / "whole")
        finally:
            subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.usefixtures("small_shards")
class TestSeveralPrograms:
    def test_readers_go_on_while_a_writer_works(self, source: Path, tmp_path: Path) -> None:
        before = run(source, tmp_path / "out")
        first_row = before.vectors()[0].tobytes()
        folder_of_images(source / "more", 7, first=50)
        (source / "005.png").unlink()
        read: list[int] = []

        class Watched(TinyEncoder):
            def encode(self, images: Any, **options: Any) -> Any:
                collection = Collection.open(tmp_path / "out")
                assert collection.vectors()[0].tobytes() == first_row
                read.append(len(collection))
                return super().encode(images, **options)

        after = run(source, tmp_path / "out", Watched())
        assert read == [10] * len(read)
        assert read
        assert len(after) == 16
        assert len(before) == len(before.items) == 10  # one that was opened and read before stays what it was

    def test_a_second_writer_is_refused_while_the_first_works(self, source: Path, tmp_path: Path) -> None:
        refusals: list[OutputError] = []

        class Meddling(TinyEncoder):
            def encode(self, images: Any, **options: Any) -> Any:
                with pytest.raises(OutputError, match="another process is writing") as caught:
                    run(source, tmp_path / "out")
                refusals.append(caught.value)
                return super().encode(images, **options)

        assert len(run(source, tmp_path / "out", Meddling())) == 10
        assert refusals


@pytest.mark.usefixtures("small_shards")
class TestSeveralProcesses:
    def test_they_write_the_files_that_one_writes(self, source: Path, tmp_path: Path) -> None:
        (source / "004.png").write_bytes(b"")
        run(source, tmp_path / "one")
        collection = run(source, tmp_path / "two", processes=2)
        assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
        assert (collection.counts.added, collection.counts.broken) == (9, 1)

    @pytest.mark.slow  # each process imports torch
    def test_a_real_network_is_shared_with_them(self, source: Path, tmp_path: Path, tiny_encoder_folder: Path) -> None:
        encoder = load(tiny_encoder_folder)
        one = embed(source, tmp_path / "one", encoder, progress=False)
        two = embed(source, tmp_path / "two", encoder, progress=False, devices=["cpu", "cpu"])
        assert (one.vectors() * two.vectors()).sum(1).min() > 0.999999

    def test_one_device_is_used_as_several_are_and_the_encoder_comes_back(self, source: Path, tmp_path: Path) -> None:
        encoder = Movable()
        assert len(run(source, tmp_path / "out", encoder, devices=["gpu:1"])) == 10
        assert encoder.device == "cuda:0"

    def test_a_device_that_is_not_there_is_named(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(ArgumentError, match="device 'gpu:9' cannot be used: invalid device ordinal"):
            run(source, tmp_path / "out", Movable(), devices=["gpu:9"])

    def test_one_that_dies_is_told_and_what_was_complete_is_kept(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "whole")
        marker = tmp_path / "marker"
        marker.touch()
        with pytest.raises(WorkerError, match=r"exit code -9.*run the same command again"):
            run(source, tmp_path / "out", Dying(marker), processes=2)
        run(source, tmp_path / "out")
        assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")

    def test_an_error_in_one_is_the_error_of_the_run(self, source: Path, tmp_path: Path) -> None:
        encoder = TinyEncoder()
        encoder.side = 5  # not what its spec says
        with pytest.raises(Exception, match="its spec says 48 dimensions"):
            run(source, tmp_path / "out", encoder, processes=2)


JOB = """
import sys
sys.path.insert(0, {repository!r})
from tests.cpchub.images import TinyEncoder
import cpchub.embedding.job
cpchub.embedding.job.SHARD = 64
cpchub.embedding.job.embed({source!r}, {out!r}, TinyEncoder(), batch_size=16, progress=False, processes={processes})
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_twenty_kills_at_random_moments_leave_the_files_of_a_run_that_was_never_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr("cpchub.embedding.job.SHARD", 64)
    source = folder_of_images(tmp_path / "photos", 2000)
    started = time.monotonic()
    run(source, tmp_path / "whole", batch_size=16)
    once = time.monotonic() - started
    expected = files_of(tmp_path / "whole")
    generator, kills, attempts = random.Random(processes), 0, 0
    while kills < 20:
        attempts += 1
        out = tmp_path / f"out{attempts}"
        script = JOB.format(repository=str(REPOSITORY), source=str(source), out=str(out), processes=processes)
        for _ in range(4):
            with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as job:
                wait_for(lambda job=job, out=out: out.exists() or job.poll() is not None, "the job has not begun")
                try:
                    job.wait(generator.uniform(0, (2 if processes > 1 else 1) * once))
                except subprocess.TimeoutExpired:
                    job.send_signal(signal.SIGKILL)
                    kills += 1
                if job.wait() == 0:
                    break
        collection = run(source, out, batch_size=16)
        assert files_of(out) == expected
        for row in range(0, len(collection), 97):
            alone = TinyEncoder().encode([read_image(collection.path_of(row), size=4)], normalize=True)[0]
            assert np.allclose(collection.vectors()[row], alone, atol=1e-6)


PEAK = """
import resource, sys
sys.path.insert(0, {repository!r})
from tests.cpchub.images import TinyEncoder
from cpchub.embedding.job import embed
import torch  # as large as a real job
embed({source!r}, {out!r}, TinyEncoder(), progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peaks = []
    kept = [save(an_image(n, (64, 48)), tmp_path / f"{n}.jpg") for n in range(20)]
    for count in (1000, 50_000):
        source = tmp_path / f"photos{count}"
        source.mkdir()
        for number in range(count):
            os.link(kept[number % len(kept)], source / f"{number:06d}.jpg")
        script = PEAK.format(repository=str(REPOSITORY), source=str(source), out=str(tmp_path / f"out{count}"))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] <= 1.1 * peaks[0], peaks


class TestHowVectorsAreKept:
    def test_float16_takes_half_the_room_and_stays_close(self, source: Path, tmp_path: Path) -> None:
        full, half = run(source, tmp_path / "full"), run(source, tmp_path / "half", dtype="float16")
        assert (half.dtype, half.vectors().dtype) == ("float16", np.float32)
        assert ((full.vectors() * half.vectors()).sum(1) > 0.9999).all()
        kind = pq.read_table(tmp_path / "half" / "vectors").schema.field("vector").type
        assert str(kind) == "fixed_size_list<element: halffloat>[48]"

    def test_the_choice_holds_for_later_runs_and_cannot_be_changed(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out", dtype="float16")
        (source / "003.png").unlink()
        save(an_image(70), source / "new.png")
        collection = run(source, tmp_path / "out")
        assert collection.dtype == "float16"
        assert (collection.counts.added, collection.counts.removed) == (1, 1)
        with pytest.raises(OutputError, match="stores its vectors as float16, not float32"):
            run(source, tmp_path / "out", dtype="float32")


class TestLabelsFromACsv:
    def test_labels_and_columns_are_joined_by_path_and_follow_the_file(self, source: Path, tmp_path: Path) -> None:
        csv = tmp_path / "labels.csv"
        csv.write_text("path,label,split,width\n000.png,cat,train,9\n./003.png,7,test,9\nnot/there.png,dog,test,9\n")
        items = run(source, tmp_path / "out", labels=csv).items
        assert items["label"].to_pylist()[:4] == ["cat", None, None, "7"]
        assert items["split"].to_pylist()[:4] == ["train", None, None, "test"]
        assert items["source_width"].to_pylist()[0] == 9
        csv.write_text("path,label\n001.png,dog\n")
        encoder = TinyEncoder()
        after = run(source, tmp_path / "out", encoder).items
        assert (encoder.seen, after["label"].to_pylist()[:2]) == (0, [None, "dog"])
        assert "split" not in after.column_names

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("file,label\na,b\n", r"no column named path \(its columns: file, label\)"),
            ("path,label\nelsewhere.png,b\n", "no path in .* is one of the collection"),
        ],
    )
    def test_a_csv_that_does_not_fit_is_refused(self, source: Path, tmp_path: Path, text: str, match: str) -> None:
        (tmp_path / "labels.csv").write_text(text)
        with pytest.raises(Exception, match=match):
            run(source, tmp_path / "out", labels=tmp_path / "labels.csv")
