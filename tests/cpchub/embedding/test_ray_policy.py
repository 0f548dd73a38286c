"""What is done about nodes that join, fail, vanish, or cannot do the work; Ray itself is played by this process."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cpchub.embedding import on_ray, ray_nodes
from cpchub.errors import ArgumentError, CollectionError, CpchubWarning, SourceError, WorkerError
from cpchub.media.sources.storage import Disk
from tests.cpchub.buckets import another_machine, but_for_times, files_at, local_files
from tests.cpchub.embedding.fake_ray import FakeRay, RayError
from tests.cpchub.embedding.runs import files_of, run
from tests.cpchub.images import TinyEncoder

pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """Two nodes of two cores; a look at the cluster in every round."""
    ray = FakeRay({"a": {"CPU": 2}, "b": {"CPU": 2}})
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_nodes, "import_extra", lambda name, extra: ray)
    monkeypatch.setattr(on_ray, "LOOK_EVERY", 0.0)
    return ray


def shards_of(ray: FakeRay) -> Counter[str]:
    """Node -> how many shards it was given."""
    return Counter(node for node, method in ray.calls if method == "embed")


def test_the_files_are_those_of_one_process_and_every_node_works(source: Path, tmp_path: Path, ray: FakeRay) -> None:
    (source / "004.png").write_bytes(b"")
    run(source, tmp_path / "one")
    collection = run(source, tmp_path / "two", on="ray")
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    assert (collection.counts.added, collection.counts.broken) == (9, 1)
    assert set(shards_of(ray)) == {"a", "b"}
    assert Counter(ray.calls)["a", "kill"] == Counter(ray.calls)["b", "kill"] == 1


def test_into_a_bucket_only_this_process_writes(
    source: Path, tmp_path: Path, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_machine(monkeypatch, tmp_path / "cache")
    run(source, tmp_path / "one")
    run(source, "memory://of-ray/photos", on="ray")
    assert but_for_times(files_at("memory://of-ray/photos")) == local_files(tmp_path / "one")
    assert set(shards_of(ray)) == {"a", "b"}


def test_where_there_are_gpus_they_embed_and_the_other_processors_read(
    source: Path, tmp_path: Path, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "PART", 2)
    ray.alive = {"cpus": {"CPU": 3}, "gpus": {"CPU": 2, "GPU": 2}}
    (source / "004.png").write_bytes(b"")
    run(source, tmp_path / "one")
    run(source, tmp_path / "two", on="ray")
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    assert shards_of(ray) == {"gpus": 4}
    assert Counter(ray.calls)["SPREAD", "read_part"] == 7  # 3 images in parts of 2 and 1, thrice, and the last alone


def test_a_node_that_is_lost_has_its_shards_done_by_others(source: Path, tmp_path: Path, ray: FakeRay) -> None:
    def leave(node: str, method: str) -> None:
        if (node, method) == ("b", "embed"):
            ray.alive.pop("b", None)

    ray.trouble = leave
    run(source, tmp_path / "one")
    with pytest.warns(
        CpchubWarning, match=r"lost on the node b \(10\.0\.0\.1\): the node is gone; . images are handed"
    ):
        run(source, tmp_path / "two", on="ray")
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


def test_a_node_that_joins_gets_work(
    source: Path, tmp_path: Path, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def join(node: str, method: str) -> None:
        if method == "embed":
            ray.alive["c"] = {"CPU": 1}

    monkeypatch.setattr("cpchub.embedding.job.SHARD", 1)
    ray.alive, ray.trouble = {"a": {"CPU": 1}}, join
    run(source, tmp_path / "out", on="ray")
    assert shards_of(ray)["c"] > 0


def test_a_worker_that_fails_once_is_replaced(source: Path, tmp_path: Path, ray: FakeRay) -> None:
    def fail(node: str, method: str) -> None:
        if method == "embed" and Counter(ray.calls)[node, "embed"] == 1:
            raise RayError("ray::embed()\nRuntimeError: CUDA error: the bus is on fire")

    ray.alive, ray.trouble = {"a": {"CPU": 1}}, fail
    with pytest.warns(CpchubWarning, match="CUDA error: the bus is on fire; "):
        assert len(run(source, tmp_path / "out", on="ray")) == 10


def test_a_shard_that_always_fails_ends_the_job_with_node_and_reason_and_keeps_the_rest(
    source: Path, tmp_path: Path, ray: FakeRay
) -> None:
    def fail(node: str, method: str) -> None:
        if method == "embed" and Counter(m for _, m in ray.calls)["embed"] > 2:
            raise RayError("RuntimeError: no")

    ray.trouble = fail
    with (
        pytest.warns(CpchubWarning),
        pytest.raises(WorkerError, match=r"images from 00\d\.png on failed 3 times, .* node . \(10.*\): Runtime.*kept"),
    ):
        run(source, tmp_path / "out", on="ray")
    encoder = TinyEncoder()
    run(source, tmp_path / "out", encoder)
    assert encoder.seen == 4


def test_workers_that_do_not_start_end_the_job(source: Path, tmp_path: Path, ray: FakeRay) -> None:
    def fail(node: str, method: str) -> None:
        if method == "ready":
            raise RayError("ModuleNotFoundError: No module named 'mine'")

    ray.trouble = fail
    with (
        pytest.warns(CpchubWarning),
        pytest.raises(WorkerError, match=r"no worker of the Ray cluster is left, .*'mine'"),
    ):
        run(source, tmp_path / "out", on="ray")


def test_when_all_nodes_are_gone_the_job_ends(
    source: Path, tmp_path: Path, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(node: str, method: str) -> None:
        if method == "embed":
            ray.alive.clear()

    monkeypatch.setattr(on_ray, "ALONE", 0.0)
    ray.trouble = leave
    with (
        pytest.warns(CpchubWarning),
        pytest.raises(WorkerError, match=r"no node of the Ray cluster can work; the last loss: .* the node is gone"),
    ):
        run(source, tmp_path / "out", on="ray")


def test_an_error_of_the_encoder_ends_the_job_as_in_one_process(source: Path, tmp_path: Path, ray: FakeRay) -> None:
    class Wrong(TinyEncoder):
        def encode(self, images: Any, **options: Any) -> Any:
            return super().encode(images, **options)[:, :5]

    with pytest.raises(CollectionError, match="vectors of shape"):
        run(source, tmp_path / "out", Wrong(), on="ray")


def test_another_version_on_a_node_is_refused_with_both(
    source: Path, tmp_path: Path, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_nodes, "versions", lambda: {"pillow": "0.9", "torch-of-the-future": "9.1"})
    with pytest.raises(
        WorkerError, match=r"the node a \(10.*\) has pillow [\d.]+ instead of 0\.9, torch.* missing inst"
    ):
        run(source, tmp_path / "out", on="ray")


class Hidden(Disk):
    """A folder that is not to be seen from within a call on a node."""

    ray: Any = None

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        if self.ray.hides():
            return Disk(self.root / "nowhere").read(path)
        return super().read(path, start, length)


@pytest.fixture
def unseen(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """`seen_by`: the call on a node that goes on just now; `hides`: whether the folder is not to be seen from it."""
    hidden: list[tuple[str, str]] = []
    enter, get = ray.enter, ray.get
    depth = [0]

    def entering(node: str, method: str) -> None:
        hidden[:] = [(node, method)]
        enter(node, method)

    def getting(ref: Any) -> Any:
        depth[0] += 1
        try:
            return get(ref)
        finally:
            depth[0] -= 1
            if not depth[0]:
                hidden.clear()

    monkeypatch.setattr(ray, "enter", entering)
    monkeypatch.setattr(ray, "get", getting)
    monkeypatch.setattr("cpchub.media.sources.Disk", Hidden)
    monkeypatch.setattr(Hidden, "ray", ray)
    ray.seen_by = hidden  # type: ignore[attr-defined]
    ray.hides = lambda: False  # type: ignore[attr-defined]
    return ray


def test_a_source_that_a_node_cannot_see_is_told_before_the_work(source: Path, tmp_path: Path, unseen: FakeRay) -> None:
    unseen.hides = lambda: ("b", "look") in unseen.seen_by  # type: ignore[attr-defined]
    with pytest.raises(
        SourceError, match=r"the node b .* cannot read 000\.png of .*photos \(no such file\).*Every node"
    ):
        run(source, tmp_path / "out", on="ray")
    assert not shards_of(unseen)


def test_a_node_that_loses_sight_of_the_source_fails_no_image(source: Path, tmp_path: Path, unseen: FakeRay) -> None:
    run(source, tmp_path / "one")
    unseen.hides = lambda: ("b", "embed") in unseen.seen_by  # type: ignore[attr-defined]
    with pytest.warns(CpchubWarning, match=r"node b .*: it can read none of . images, .*no such file"):
        run(source, tmp_path / "two", on="ray")
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The actor died.\n\tip: 10.0.0.1\nThe actor died because its node has died. Node Id: ab", "the node is gone"),
        (
            "Task was killed due to the node running low on memory.\nMemory on the node was 15GB / 16GB",
            "ran low on memory",
        ),
        ("Worker unexpectedly exits with a connection error. (1) killed by the OOM killer", "ended by itself"),
        ("ray::ShardWorker.embed()\n  File x\nRuntimeError: CUDA error\n", "RuntimeError: CUDA error"),
        ("", "RayError"),
    ],
)
def test_of_rays_report_the_line_that_matters_is_told(text: str, reason: str) -> None:
    assert reason in ray_nodes.reason_of(RayError(text))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on": "dask"}, "it can be ray"),
        ({"address": "auto"}, "needs on='ray'"),
        ({"on": "ray", "devices": ["cuda:0"]}, "Ray chooses the GPUs"),
        ({"on": "ray", "address": "ray://head:10001"}, "give HOST:PORT"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    source: Path, tmp_path: Path, ray: FakeRay, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        run(source, tmp_path / "out", **options)
