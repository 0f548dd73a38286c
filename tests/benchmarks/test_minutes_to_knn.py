"""What the benchmark of minutes says of two runs, and that it never calls a bound a measurement."""

from __future__ import annotations

import argparse

import pytest

from benchmarks import minutes_to_knn

OURS = [(60.0, 0.40), (120.0, 0.56)]


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (OURS, [(100.0, 0.2), (480.0, 0.35)], "cpchub 2.0 minutes; lightly not reached: 35.0% after 8.0 minutes, 4.0"),
        (OURS, [(100.0, 0.2), (420.0, 0.55)], "cpchub 2.0 minutes, lightly 7.0: 3.5 times"),
        (OURS[:1], [(100.0, 0.2)], "cpchub did not reach the aim: 40.0% after 1.0 minutes"),
    ],
)
def test_the_verdict_says_what_was_reached_and_when(
    monkeypatch: pytest.MonkeyPatch, ours: list[tuple[float, float]], theirs: list[tuple[float, float]], said: str
) -> None:
    curves = {
        name: [{"seconds": seconds, "images": 1, "knn": knn} for seconds, knn in curve]
        for name, curve in (("cpchub", ours), ("lightly", theirs))
    }
    limits: list[float] = []
    monkeypatch.setattr(minutes_to_knn, "run", lambda who, _, limit=0.0: limits.append(limit) or curves[who])
    report = minutes_to_knn.compare(argparse.Namespace(aim=0.55, small=False, threads=2, times=4))
    assert report["verdict"].startswith(said)
    assert limits == [0.0, 4 * ours[-1][0]]
