"""A Ray cluster of two nodes on this machine; one of them is killed while both work."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpchub.embedding import on_ray
from cpchub.embedding.ray_nodes import CUT, GONE
from cpchub.encoders.load import load
from cpchub.errors import CpchubWarning, WorkerError
from tests.cpchub.embedding.gated import Gated
from tests.cpchub.embedding.runs import files_of, run
from tests.cpchub.images import an_image, folder_of_images, save
from tests.processes import EVERYBODYS, REPOSITORY, wait_for

# Ray leaves files and processes for the interpreter's end to close
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
OBJECT_STORE = 80 * 2**20  # bytes, the least that Ray takes


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one core each, of which `worker_nodes` has the one that may be killed."""
    pytest.importorskip("ray", reason="Ray is not installed here (extra `ray`)")
    places = [REPOSITORY, REPOSITORY / "training", REPOSITORY / "serving"]
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, places)), prepend=":")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    folder = tempfile.mkdtemp(prefix="ray-", dir=EVERYBODYS)  # a short name, as those of sockets have to be
    monkeypatch.setenv("RAY_TMPDIR", folder)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE, include_dashboard=False)
        except Exception as error:  # noqa: BLE001 - Ray raises it plain
            pytest.skip(f"this machine is too busy for Ray's own limit of 30 seconds ({error})")
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("small_shards")
def test_a_node_that_is_killed_while_it_works_changes_nothing(source: Path, tmp_path: Path, cluster: Any) -> None:
    folder_of_images(source, 14, first=10)
    (source / "004.png").write_bytes(b"")
    run(source, tmp_path / "one")
    import ray

    (tmp_path / "gate").mkdir()
    encoder = Gated(tmp_path / "gate" / "open")

    def kill_one() -> None:
        try:
            wait_for(lambda: len(list(encoder.gate.parent.glob("*.works"))) == 2, "two workers did not begin")
            cluster.remove_node(*cluster.worker_nodes, allow_graceful=False)
            wait_for(lambda: sum(node["Alive"] for node in ray.nodes()) == 1, "the node's end was not noticed")
        finally:
            encoder.gate.touch()

    killing = threading.Thread(target=kill_one)
    killing.start()
    with pytest.warns(CpchubWarning, match=r"a worker is lost on the node .*: the .*; 6 images are handed out again"):
        collection = run(source, tmp_path / "two", encoder, on="ray", address=cluster.address)
    killing.join()
    assert not ray.is_initialized()
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    assert (collection.counts.added, collection.counts.broken) == (23, 1)


@pytest.mark.slow  # two workers that import torch, and 5,000 images twice
def test_a_network_and_5000_images_with_a_node_killed_midway(
    tmp_path: Path, cluster: Any, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5000):
        save(an_image(number, (32, 32)), tmp_path / "photos" / f"{number // 100:02d}" / f"{number:04d}.jpg")
    (tmp_path / "photos" / "25" / "2500.jpg").write_bytes(b"no image")
    monkeypatch.setattr("cpchub.embedding.job.SHARD", 256)
    encoder = load(tiny_encoder_folder)
    run(tmp_path / "photos", tmp_path / "one", encoder, batch_size=64)
    lose, losses = on_ray._Pool._lose, []
    from cpchub.embedding.pending import Pending

    write = Pending.write

    def write_and_kill(self: Pending, *args: Any) -> None:
        write(self, *args)
        if self.count() > 1500 and cluster.worker_nodes:
            cluster.remove_node(*cluster.worker_nodes, allow_graceful=False)

    def counted(self: Any, worker: Any, reason: str) -> None:
        losses.append(reason)
        lose(self, worker, reason)

    monkeypatch.setattr(Pending, "write", write_and_kill)
    monkeypatch.setattr(on_ray._Pool, "_lose", counted)
    with pytest.warns(CpchubWarning):
        collection = run(
            tmp_path / "photos", tmp_path / "two", encoder, batch_size=64, on="ray", address=cluster.address
        )
    assert set(losses) <= {GONE, CUT}
    assert losses
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    assert (collection.counts.added, collection.counts.broken) == (4999, 1)


@pytest.mark.slow  # a cluster is started by the command
def test_a_cluster_of_this_machine_is_started_and_ended(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_shards: None
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed here (extra `ray`)")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY), prepend=":")
    with tempfile.TemporaryDirectory(prefix="ray-", dir=EVERYBODYS, ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        run(source, tmp_path / "one")
        run(source, tmp_path / "two", on="ray")
        assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
        assert not ray.is_initialized()
        ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)  # a GPU in name
        try:
            run(source, tmp_path / "three", on="ray")
        finally:
            ray.shutdown()
        assert files_of(tmp_path / "three") == files_of(tmp_path / "one")
        with pytest.raises(WorkerError, match=r"the Ray cluster at 127\.0\.0\.1:9 cannot be joined"):
            run(source, tmp_path / "four", on="ray", address="127.0.0.1:9")
