"""Work in the background: it is done once, tells how far it is, says why it failed, and ends when it is asked to."""

from __future__ import annotations

import threading

import pytest

from cpchub.errors import ArgumentError
from cpchub_serving.visit import background
from cpchub_serving.visit.background import Job, Tell
from tests.processes import PATIENCE


def ended(job: Job) -> Job:
    job.start()
    job.wait(PATIENCE)
    return job


def test_work_is_done_once_however_often_it_is_asked_for() -> None:
    done: list[str] = []
    job = Job(lambda tell: done.append("once") or len(done))
    assert job.progress.state == "waiting"
    for _ in range(3):
        ended(job)
    assert (job.progress.state, job.result, done) == ("done", 1, ["once"])


def test_what_is_told_is_the_progress() -> None:
    told, seen = threading.Event(), threading.Event()

    def work(tell: Tell) -> None:
        tell("Arranging", 0.25)
        told.set()
        seen.wait(PATIENCE)

    job = Job(work)
    job.start()
    assert told.wait(PATIENCE)
    assert (job.progress.state, job.progress.what, job.progress.share) == ("running", "Arranging", 0.25)
    seen.set()
    assert ended(job).progress.state == "done"


def test_an_error_of_ours_is_said_in_its_words() -> None:
    def work(tell: Tell) -> None:
        raise ArgumentError("three images are needed")

    job = ended(Job(work))
    assert (job.progress.state, job.progress.error) == ("failed", "three images are needed")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_any_other_error_is_for_the_log_and_not_for_visitors() -> None:
    def work(tell: Tell) -> None:
        raise ZeroDivisionError("/home/somebody/secret")

    job = ended(Job(work))
    assert job.progress.state == "failed"
    assert "in the log" in job.progress.error


def test_the_end_of_the_process_ends_the_work_at_its_next_word() -> None:
    def work(tell: Tell) -> None:
        while True:
            tell("For ever", 0.5)

    job: Job[None] = Job(work)
    job.start()
    background._end_all()
    assert job.progress.state == "failed"
