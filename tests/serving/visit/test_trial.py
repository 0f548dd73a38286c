"""Another encoder tried on a sample: embedded beside the page, compared on the same queries, failing in words."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cpchub.errors import HubError, QueryError
from cpchub_serving.visit import trial as trials_module
from cpchub_serving.visit.trial import Embedded, Trial, Trials
from tests.processes import PATIENCE


class Reversed:
    """The encoder of the collection with its numbers in another order: other vectors, the same cosines."""

    def __init__(self, encoder: Any) -> None:
        self.encoder, self.spec = encoder, encoder.spec

    def encode(self, images: Any, *, normalize: bool) -> Any:
        return np.ascontiguousarray(self.encoder.encode(images, normalize=normalize)[:, ::-1])


def ended(trial: Trial) -> Trial:
    trial.job.wait(PATIENCE)
    assert not trial.running
    return trial


def embedded(trial: Trial) -> Embedded:
    found = ended(trial).embedded
    assert found is not None, trial.in_words()
    return found


@pytest.fixture
def trials(served, monkeypatch: pytest.MonkeyPatch) -> Trials:
    monkeypatch.setattr(trials_module, "SAMPLE", 30)
    return Trials(served.index, lambda name: Reversed(served.encoder))


def test_an_encoder_with_the_same_cosines_finds_the_same_images(trials: Trials, served) -> None:
    sample = embedded(trials.start("other"))
    assert sample.rows.tolist() == trials.sample.tolist()
    row = int(sample.rows[4])
    pair = trials.side_by_side(sample, row, 5)
    assert [each for each, _ in pair.today] == [each for each, _ in pair.tried]
    assert row not in [each for each, _ in pair.today]
    assert pair.shared == 5
    today, tried = trials.agreement(sample)
    assert today == tried > 0.5
    assert not np.shares_memory(sample.vectors, served.index.vectors)


def test_the_sample_is_the_same_each_time_and_never_more_than_there_is() -> None:
    assert trials_module.sample_rows(10).tolist() == list(range(10))
    assert trials_module.sample_rows(10_000).tolist() == trials_module.sample_rows(10_000).tolist()


def test_a_row_outside_the_sample_is_refused(trials: Trials, served) -> None:
    sample = embedded(trials.start("other"))
    outside = next(row for row in range(len(served.index)) if row not in sample.rows)
    with pytest.raises(QueryError, match=f"{outside} is not in the sample"):
        trials.side_by_side(sample, outside, 5)


def test_one_encoder_is_tried_at_a_time(served) -> None:
    go_on = threading.Event()

    def slow(name: str) -> Any:
        go_on.wait(PATIENCE)
        return Reversed(served.encoder)

    trials = Trials(served.index, slow)
    first = trials.start("first")
    assert trials.start("first") is first
    with pytest.raises(QueryError, match="first is being tried"):
        trials.start("second")
    go_on.set()
    ended(first)
    embedded(trials.start("second"))


def refuses(name: str) -> Any:
    raise HubError("the Hub does not answer")


def breaks(name: str) -> Any:
    raise ValueError("/a/path/of/this/machine")


@pytest.mark.parametrize(("load", "said"), [(refuses, "the Hub does not answer"), (breaks, "in the log")])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_encoder_that_cannot_be_loaded_says_so_and_may_be_tried_again(
    served, load: Callable[[str], Any], said: str
) -> None:
    trials = Trials(served.index, load)
    trial = ended(trials.start("other"))
    assert said in trial.in_words()
    assert "/a/path" not in trial.in_words()
    assert trials.start("other") is not trial
    ended(trials.get("other"))


def test_a_trial_tells_how_far_it_is_and_ends_with_the_process(served) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(name: str) -> Any:
        begun.set()
        go_on.wait(PATIENCE)
        return Reversed(served.encoder)

    trial = Trials(served.index, slow).start("other")
    assert begun.wait(PATIENCE)
    assert (trial.in_words(), trial.job.progress.share) == ("other: Loading", 0.0)
    trial.job.stop()
    go_on.set()
    assert ended(trial).embedded is None
    assert "The server stops" in trial.in_words()
