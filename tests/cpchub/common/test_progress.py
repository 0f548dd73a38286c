"""Progress: rates that are true, lines in a pipe, a bar that leaves nothing behind."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.console import Console

from cpchub.common import progress
from cpchub.common.progress import BYTE, Pace, Report
from cpchub.common.quiet import quiet
from cpchub.encoders.load import load
from tests.processes import wait_for


class Clock:
    """Stands for the time, and goes on when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "monotonic", clock)
    return clock


def pipe() -> Console:
    return Console(file=io.StringIO(), width=200)


def terminal() -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=True, _environ={"TERM": "xterm-256color"})


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_two_batches_that_are_ready_together_make_no_millions_a_second(clock: Clock) -> None:
    pace = Pace()
    clock.now += 10
    pace.update(64)
    clock.now += 1e-6
    pace.update(128)
    assert pace.rate == pytest.approx(12.8)
    assert pace.seconds_left(256) == pytest.approx(10)


def test_one_batch_has_a_rate_too_and_nothing_has_none(clock: Clock) -> None:
    pace = Pace()
    assert pace.rate is None
    assert pace.seconds_left(64) is None
    clock.now += 4
    pace.update(64)
    assert pace.rate == pytest.approx(16)


def test_what_an_earlier_run_has_done_does_not_count(clock: Clock) -> None:
    pace = Pace(done=9000)
    clock.now += 10
    pace.update(9100)
    assert pace.rate == pytest.approx(10)


@pytest.mark.parametrize("pause", [0.001, 0.1, 1, 20, 100])
def test_the_rate_follows_the_last_half_minute(clock: Clock, pause: float) -> None:
    pace, done = Pace(), 0.0
    for rate in (1000, 10):
        until = clock.now + 300
        while clock.now < until:
            clock.now += pause
            done += rate * pause
            pace.update(done)
    assert pace.rate == pytest.approx(10)
    assert len(pace._marks) < 200


def test_a_line_has_count_rate_and_remaining_time(clock: Clock) -> None:
    with Report("Embedding", 10_000, done=1000, console=pipe()) as report:
        assert report.state() == "1,000 of 10,000 images"
        clock.now += 20
        report.advance(1000)
        assert report.state() == "2,000 of 10,000 images, 50 images/s, 0:02:40 left"
        report.update(10_000)
        assert report.state().endswith("images/s, in 0:00:20")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.001, "1,000 steps/s"), (0.5, "2.0 steps/s"), (1, "1.0 steps/s"), (4, "4.0 s/step"), (90, "90 s/step")],
)
def test_slow_units_tell_how_long_one_takes(clock: Clock, seconds: float, words: str) -> None:
    with Report("Training", 100, unit="step", console=pipe()) as report:
        clock.now += 10 * seconds
        report.advance(10)
        assert report.state().startswith(f"10 of 100 steps, {words}, ")


def test_parts_of_a_unit_are_counted_and_not_shown(clock: Clock) -> None:
    with Report("Training from scratch", 12, unit="network", rate=False, console=pipe()) as report:
        clock.now += 30
        for _ in range(300):
            report.advance(1 / 200)
        assert report.state() == "1 of 12 networks, 0:03:30 left"


def test_work_of_unlike_parts_tells_no_remaining_time(clock: Clock) -> None:
    with Report("Measuring", 40, unit="measurement", rate=False, left=False, console=pipe()) as report:
        report.note = "linear_probe"
        clock.now += 65
        report.advance()
        assert report.state() == "1 of 40 measurements, linear_probe, 0:01:05 so far"
    with Report("Listing images", None, console=pipe()) as report:
        clock.now += 12
        assert report.state() == "0:00:12 so far"
        report.advance()
        assert report.state().startswith("1 image, ")


def test_a_download_that_goes_on_counts_from_what_was_here(clock: Clock) -> None:
    with Report("weights.pth", None, unit=BYTE, console=pipe()) as report:
        clock.now += 5  # until the server answers
        report.update(90_000_000, 100_000_000)
        clock.now += 2
        report.update(94_000_000, 100_000_000)
        assert report.state() == "94.0 MB of 100.0 MB, 2.0 MB/s, 0:00:03 left"
        report.update(0, 100_000_000)  # the server begins anew
        clock.now += 1
        report.update(5_000_000, 100_000_000)
        assert report.state() == "5.0 MB of 100.0 MB, 5.0 MB/s, 0:00:19 left"


def test_a_pipe_gets_a_line_again_and_again_though_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress.EVERY == 10
    monkeypatch.setattr(progress, "EVERY", 0.01)
    console = pipe()
    with Report("Embedding", 7, console=console):
        wait_for(lambda: written(console).count("\n") >= 3, "there are no three lines")
    assert set(written(console).splitlines()) == {"Embedding: 0 of 7 images"}


def test_a_job_that_is_over_at_once_says_nothing_in_a_pipe() -> None:
    console = pipe()
    with Report("Encoding", 2, console=console) as report:
        report.advance(2)
    assert written(console) == ""


def test_of_a_job_within_a_job_the_inner_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    outer, inner = pipe(), pipe()
    with Report("Measuring", 2, console=outer):
        wait_for(lambda: "Measuring" in written(outer), "the outer job says nothing")
        with Report("Embedding", 7, console=inner):
            before = written(outer).count("\n")
            wait_for(lambda: written(inner).count("\n") >= 3, "the inner job says nothing")
            assert written(outer).count("\n") <= before + 1  # one that was on its way
        wait_for(lambda: written(outer).count("\n") > before + 1, "the outer job says no more")


def test_a_terminal_gets_a_bar_that_leaves_no_line_behind() -> None:
    console = terminal()
    with Report("Measuring", 2, console=console) as outer, Report("Encoding", 2, console=console) as report:
        report.advance(2)
        outer.advance()
    assert "Encoding" in written(console)
    after_the_last_erasing = written(console).rpartition("\x1b[2K")[2]
    assert re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", after_the_last_erasing).strip() == ""


def test_what_a_quiet_command_reports_is_not_shown() -> None:
    console = pipe()
    with quiet(True), Report("Embedding", 2, last_line=True, console=console) as report:
        report.say("A remark.")
    assert written(console) == ""
    with quiet(False), Report("Embedding", 2, last_line=True, console=console):
        pass
    assert written(console)


def test_a_quiet_console_stays_empty(capsys: pytest.CaptureFixture[str]) -> None:
    with Report("Embedding", 2, console=Console(stderr=True, quiet=True)) as report:
        report.advance(2)
        report.say("a sentence")
    assert capsys.readouterr() == ("", "")


def test_encoding_a_few_images_leaves_no_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    encoder = load("simclr", device="cpu")
    vectors = encoder.encode(list(np.zeros((3, 8, 8, 3), np.uint8)), progress=True)
    assert len(vectors) == 3
    assert capsys.readouterr() == ("", "")
