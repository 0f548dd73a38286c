"""Held-out queries keep their exact neighbours through changes, and survive the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cpchub.index.engine.ground_truth import GroundTruth
from tests.cpchub.index.clustered import clustered


class TestHeldOutQueries:
    def test_following_changes_gives_what_comparing_with_all_gives(self) -> None:
        vectors, random = clustered(3000, 0), np.random.default_rng(3)
        ids = np.arange(2000)
        truth = GroundTruth.draw(vectors[:2000], ids)
        for first_new in (2000, 2500, 3000):  # two rounds of adding and removing, one of removing most
            share = 0.2 if first_new == 3000 else 0.9
            ids = np.concatenate(
                [ids[random.random(len(ids)) < share], np.arange(first_new, min(first_new + 500, 3000))]
            )
            truth.update(vectors[ids], ids, first_new)
            assert (truth.known >= 10).all()
            scores = truth.queries @ vectors[ids].T
            scores[truth.own[:, None] == ids] = -np.inf
            for query, known in enumerate(truth.known):
                expected = np.sort(scores[query])[::-1][: min(known, 10)]
                assert np.allclose(truth.scores[query, : len(expected)], expected, atol=1e-5)

    def test_following_a_change_twice_is_following_it_once(self) -> None:
        vectors, ids = clustered(1500, 0), np.arange(1500)
        once, twice = (GroundTruth.draw(vectors[:1000], ids[:1000]) for _ in range(2))
        for truth, times in ((once, 1), (twice, 2)):
            for _ in range(times):
                truth.update(vectors, ids, 1000)
        assert (twice.known >= 10).all()
        assert np.array_equal(once.ids[:, :10], twice.ids[:, :10])

    def test_they_survive_the_disk(self, tmp_path: Path) -> None:
        (tmp_path / "search").mkdir()
        truth = GroundTruth.draw(clustered(500, 0), np.arange(500))
        truth.save(tmp_path)
        again = GroundTruth.load(tmp_path)
        for name in ("queries", "own", "ids", "scores", "known"):
            assert np.array_equal(getattr(again, name), getattr(truth, name))

    def test_equally_near_images_count_as_found(self) -> None:
        twins = np.repeat(clustered(40, 0), 30, axis=0)  # 29 neighbours at the same distance
        truth = GroundTruth.draw(twins, np.arange(len(twins)))
        assert truth.hits(0, np.ones(10, np.float32))[-1] == 10
        assert truth.hits(0, np.zeros(10, np.float32))[-1] == 0
