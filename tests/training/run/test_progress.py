"""What a run, an evaluation and the quickstart tell of their progress in a log file."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from cpchub.cli.main import main
from cpchub.common.progress import Report
from cpchub_training.evaluate.features import SHARD, FeatureCache
from cpchub_training.jobs import few_labels, quickstart
from cpchub_training.report import report
from cpchub_training.run.loop import train
from tests.progress_lines import tell_every_update
from tests.training.evaluate.colours import folder_of_colours
from tests.training.jobs.test_quickstart import photos, tiny
from tests.training.small_runs import small, some_digits

LEFT = r"\d+:\d\d:\d\d left"
PAST = r"\d+:\d\d:\d\d so far"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_training_tells_the_time_that_is_left_and_its_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_every_update(monkeypatch)
    train(small(epochs=2), tmp_path / "run", images=some_digits(), stop_after_steps=6)
    lines = capsys.readouterr().out
    assert re.search(rf"tiny_simclr: 5 of 8 steps, epoch 2/2, loss [\d.]+, [\d,]+ images/s, kNN [\d.]+%, {LEFT}", lines)
    monkeypatch.undo()
    train(small(epochs=2), tmp_path / "run", images=some_digits())
    (last,) = [line for line in capsys.readouterr().out.splitlines() if "8 of 8 steps" in line]
    assert re.search(r"tiny_simclr: 8 of 8 steps, epoch 2/2, loss .*, in 0:0", last)


def test_an_evaluation_and_its_report_say_where_they_are(
    here: Path, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = folder_of_colours(here / "colours", each=12)
    tell_every_update(monkeypatch)
    assert main(["eval", str(tiny_encoder_folder), "--images", str(colours), "--protocol", "knn", "-o", "out"]) == 0
    said = capsys.readouterr()
    assert re.search(rf"Measuring tiny-simclr: 1 of \d measurements, knn, k = \d+, {PAST}", said.err)
    assert re.search(r"Embedding colours, train: \d+ of \d+ images, ", said.err)
    assert "Measuring" not in said.out
    report([str(tiny_encoder_folder)], str(colours), out=here / "report")
    assert "Drawing: 1 of 1 encoder, " in capsys.readouterr().err


def test_features_of_an_earlier_call_do_not_count_for_the_rate(
    here: Path, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cpchub.encoders.load import load
    from cpchub_training.evaluate.datasets import Part

    begun: list[tuple[float, int | None]] = []
    enter = Report.__enter__

    def note(self: Report) -> Report:
        begun.append((self.done, self.total))
        return enter(self)

    monkeypatch.setattr(Report, "__enter__", note)
    cache = FeatureCache(load(tiny_encoder_folder, device="cpu"), here / "cache")
    pixels = np.zeros((SHARD + 3, 8, 8, 3), np.uint8)
    home = here / "features"
    home.mkdir()
    np.save(home / "shard-00000.npy", np.ones((SHARD, cache.encoder.dim), np.float32))
    cache._compute(home, Part(pixels, np.zeros(len(pixels), np.int64), "digest"), "pooled", "blank")
    assert begun == [(SHARD, SHARD + 3)]
    assert np.load(home / "features.npy").shape == (SHARD + 3, cache.encoder.dim)


def test_the_quickstart_counts_its_networks_from_scratch_and_says_what_to_type_next(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = photos(here / "own photos")
    monkeypatch.setattr(few_labels, "SEEDS", (0,))
    monkeypatch.setattr(few_labels, "PER_CLASS", (1, 2))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    tell_every_update(monkeypatch)
    quickstart.run(images, here / "my out", recipe=tiny(images), scratch_steps=2)
    said = capsys.readouterr()
    assert re.search(rf"Training from scratch: 1 of 2 networks, {LEFT}", said.err)
    commands = [line.partition(": ")[2] for line in said.out.splitlines()[-3:]]
    assert [command.split()[:2] for command in commands] == [["cpchub", each] for each in ("search", "demo", "index")]
    search = shlex.split(commands[0].replace("IMAGE", shlex.quote(str(images / "red" / "0.png"))))
    assert main([*search[1:], "-k", "40"]) == 0
    scores = {fields[1]: float(fields[0]) for fields in map(str.split, capsys.readouterr().out.splitlines())}
    assert scores["red/0.png"] > 0.999  # others may be as near: two steps teach an encoder little
