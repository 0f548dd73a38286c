"""The kind of index is chosen by count, memory and recall, or refused with what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpchub.errors import ArgumentError
from cpchub.index import Index, build
from cpchub.index.engine import kinds
from cpchub.index.engine.kinds import choose
from cpchub.index.setting import IndexRequest
from tests.cpchub.index.clustered import clustered, stored


class TestChoosing:
    def test_few_vectors_are_compared_exactly_and_many_lie_in_lists(self) -> None:
        kinds = [choose(count, 128, IndexRequest()).kind for count in (10, 400_000, 1_000_000, 20_000_000)]
        assert kinds == ["exact", "exact", "ivf-rabitq", "ivf-rabitq"]

    def test_less_memory_takes_smaller_codes(self) -> None:
        plans = [choose(1_000_000, 384, IndexRequest(memory=memory)) for memory in (70_000_000, 40_000_000, 12_000_000)]
        assert [plan.kind for plan in plans] == ["ivf-rabitq", "pq", "pq"]
        assert plans[1].parts > plans[2].parts
        assert 1_000_000 * (plans[2].parts / 2 + 8) <= 12_000_000

    def test_memory_for_not_even_the_ids_is_refused_with_what_it_takes(self) -> None:
        with pytest.raises(ArgumentError, match=r"1,000,000 vectors cannot be indexed in 1 MB.*9 MB at least"):
            choose(1_000_000, 128, IndexRequest(memory=1_000_000))

    def test_nothing_missed_in_less_memory_than_all_vectors_take_is_refused(self) -> None:
        assert choose(10_000, 128, IndexRequest(recall=1, memory=6_000_000)).kind == "exact"
        with pytest.raises(ArgumentError, match=r"recall 1 cannot be had in 5 MB: .* 10,000 take 5 MB"):
            choose(10_000, 128, IndexRequest(recall=1, memory=5_000_000))

    def test_a_recall_that_cannot_be_had_is_refused_with_the_best_there_is(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).normal(size=(60_000, 64)).astype(np.float32)
        collection = stored(tmp_path, np.arange(len(noise)), noise)
        with pytest.raises(ArgumentError, match=r"recall 0\.999 cannot be kept by pq .*the best is 0\.\d"):
            Index.build(collection, recall=0.999, memory=540_000)

    @pytest.mark.parametrize(
        ("kind", "bytes_a_vector"), [("exact", 512), ("rabitq", 32), ("ivf-rabitq", 32), ("hnsw", 776)]
    )
    def test_a_kind_that_does_not_fit_the_memory_is_refused_with_what_it_takes(
        self, kind: Any, bytes_a_vector: int
    ) -> None:
        takes = bytes_a_vector * 100_000
        assert choose(100_000, 128, IndexRequest(kind, memory=takes)).kind == kind
        with pytest.raises(ArgumentError, match=f"kind {kind} takes {takes / 1e6:.0f} MB for 100,000 vectors"):
            choose(100_000, 128, IndexRequest(kind, memory=takes - 1))

    @pytest.mark.parametrize(("query", "scan", "kind"), [(1.0, 9.0, "ivf-rabitq"), (9.0, 1.0, "exact")])
    def test_what_this_machine_takes_for_a_query_decides(
        self, query: float, scan: float, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kinds, "EXACT_SCAN", 0)
        monkeypatch.setattr(build, "query_ms", lambda *_: query)
        monkeypatch.setattr(build, "scan_ms", lambda *_: scan)
        index = Index.build(stored(tmp_path, np.arange(4000), clustered(4000, 0)))
        assert index.setting.kind == kind
        assert f"a query takes {query:.2g} ms here, and comparing all 4,000 vectors {scan:.2g} ms" in str(index.setting)

    @pytest.mark.parametrize("wish", [{"kind": "annoy"}, {"recall": 0}, {"recall": 1.1}, {"memory": 0}])
    def test_wishes_that_mean_nothing_are_refused(self, wish: dict) -> None:
        with pytest.raises(ArgumentError):
            IndexRequest(**wish)
