"""What people's machines have: folders of any name, no locks, no home, data sets that stream, networks compiled."""

from __future__ import annotations

import errno
import fcntl
import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from cpchub.catalog.listing import folder_hub
from cpchub.cli.base import write_csv
from cpchub.collection.collection import Collection
from cpchub.collection.tables import write_table
from cpchub.common.files import cache_folder, expanded, only_writer
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.errors import HubError, OutputError, SourceError, WeightsUnavailableError
from cpchub.hub.locate import find
from cpchub.hub.publish import publish
from cpchub.importers.format import Checkpoint
from cpchub.importers.formats.registry import format_of
from cpchub.importers.readers.checkpoint import read_checkpoint
from cpchub.media.sources import find_images
from cpchub_training.evaluate.datasets import open_labelled
from tests.cpchub.foreign_checkpoints import torchvision_resnet
from tests.cpchub.images import TinyEncoder, folder_of_images
from tests.loopback_hub import LoopbackHub
from tests.tiny_encoder import DIM, files_of


def run(source: object, out: str | Path) -> Collection:
    return embed(source, out, TinyEncoder(), progress=False, batch_size=4)


class TestTilde:
    """`~root` and `~backup` are users of most machines, `~nobody-here` is of none: all three are names of folders."""

    @pytest.fixture(params=["~backup", "~root", "~nobody-here", "~", "~.photos~"])
    def name(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path / "~"))  # so that "~" means the folder of that name as well
        return str(request.param)

    def test_images_are_read_from_there_and_vectors_written(self, name: str, tmp_path: Path) -> None:
        folder_of_images(tmp_path / name / "photos", 3)
        assert len(find_images(f"{name}/photos")) == 3
        assert len(run(f"{name}/photos", f"{name}/out")) == 3
        assert (tmp_path / name / "out" / "manifest.json").is_file()
        assert len(Collection.open(f"{name}/out")) == 3
        assert run(f"{name}/photos", f"{name}/out").counts.unchanged == 3

    def test_tables_are_written_there(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).mkdir()
        write_table(pa.table({"a": [1]}), Path(name) / "a.parquet")
        write_csv(pa.table({"a": [1]}), Path(name) / "a.csv")
        assert {path.name for path in (tmp_path / name).iterdir()} == {"a.parquet", "a.csv"}

    def test_an_encoder_is_loaded_and_published_there(
        self, name: str, tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(exported, f"{name}/shared/tiny")
        assert (tmp_path / name / "shared" / "tiny" / "config.json").is_file()
        assert (find(f"{name}/shared/tiny") / "config.json").is_file()
        monkeypatch.setenv("CPCHUB_HUB", f"{name}/shared")
        assert (folder_hub() or Path()).resolve() == tmp_path / name / "shared"

    def test_labelled_data_is_found_there(self, name: str, tmp_path: Path) -> None:
        for label in ("cat", "dog"):
            folder_of_images(tmp_path / name / "data" / label, 4)
        assert open_labelled(f"{name}/data").classes == ("cat", "dog")

    def test_a_user_without_a_home_is_told_or_not_bothered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nobody(*_: Any) -> Any:
            raise KeyError("no such user")

        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr("pwd.getpwuid", nobody)
        assert expanded("~/photos") == Path("~/photos").absolute()
        with pytest.raises(OutputError, match="set HOME or XDG_CACHE_HOME"):
            cache_folder()


@pytest.mark.usefixtures("own_cache")
class TestOneName:
    """`you/photos` is the Hub's for loading and for publishing, unless an encoder lies in a folder of that name."""

    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        return tmp_path / "here"

    @pytest.mark.parametrize("content", ["nothing", "pictures"])
    def test_a_folder_without_an_encoder_hides_no_repository(
        self, content: str, hub: LoopbackHub, exported: Path, here: Path
    ) -> None:
        (here / "you" / "photos").mkdir(parents=True)
        if content == "pictures":
            folder_of_images(here / "you" / "photos", 2)
        assert publish(exported, "you/photos", token="secret").repo_id == "you/photos"
        assert load("you/photos").dim == DIM
        assert {path.suffix for path in (here / "you" / "photos").iterdir()} <= {".png"}

    def test_where_the_hub_has_none_either_the_folder_is_named_with_the_way_to_mean_it(
        self, hub: LoopbackHub, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (here / "you" / "photos").mkdir(parents=True)
        with pytest.raises(WeightsUnavailableError, match=r"no repository you/photos.*\./you/photos would mean the"):
            load("you/photos")
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(WeightsUnavailableError, match=r"cannot be reached.*\./you/photos would mean the folder"):
            load("you/photos")

    def test_a_folder_with_an_encoder_is_meant_and_publishing_asks_which(
        self, hub: LoopbackHub, exported: Path, here: Path
    ) -> None:
        publish(exported, "./you/photos")
        hub.add("you/photos", files_of(exported))
        before = hub.total_requests()
        assert find("you/photos") == Path("you/photos")
        assert hub.total_requests() == before
        with pytest.raises(OutputError, match="hf-hub:you/photos to publish to the Hub, or folder:you/photos"):
            publish(exported, "you/photos", token="secret")
        assert publish(exported, "hf-hub:you/photos", token="secret").repo_id == "you/photos"
        assert publish(exported, "folder:you/photos").repo_id == "folder:you/photos"
        assert "hub" in str(find("hf-hub:you/photos"))

    def test_a_run_that_is_not_finished_is_not_looked_for_on_the_hub(self, hub: LoopbackHub, here: Path) -> None:
        (here / "runs" / "photos").mkdir(parents=True)
        (here / "runs" / "photos" / "recipe.json").write_text("{}")
        with pytest.raises(ValueError, match="the run in runs/photos has not exported its encoder yet"):
            load("runs/photos")
        assert hub.total_requests() == 0

    def test_a_path_of_more_parts_is_a_folder_for_both(self, exported: Path, here: Path) -> None:
        publish(exported, "a/b/c")
        assert find("a/b/c") == Path("a/b/c")

    def test_what_cannot_be_a_name_is_told(self, hub: LoopbackHub, exported: Path) -> None:
        with pytest.raises(HubError, match="cannot be a Hub id"):
            publish(exported, "hf-hub:you/photos@v1", token="secret")


class TestNoLocks:
    @pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
    def no_locks(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        def flock(*_: Any) -> None:
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(fcntl, "flock", flock)

    @pytest.mark.usefixtures("no_locks")
    def test_the_work_is_done_with_a_warning_that_names_the_folder(self, tmp_path: Path) -> None:
        folder_of_images(tmp_path / "photos", 3)
        with pytest.warns(UserWarning, match=rf"file system of {tmp_path / 'out'} cannot lock"):
            assert len(run(tmp_path / "photos", tmp_path / "out")) == 3

    @pytest.mark.usefixtures("no_locks", "own_cache")
    def test_weights_are_downloaded_all_the_same_or_another_disk_is_advised(
        self, hub: LoopbackHub, exported: Path
    ) -> None:
        hub.add("lab/tiny", files_of(exported))
        try:
            assert load("lab/tiny").dim == DIM
        except HubError as error:  # the client does without locks only where the system does not know of any
            assert "cannot lock" in str(error)  # noqa: PT017
            assert "set HF_HOME, or cache_dir=, to a folder on another one" in str(error)  # noqa: PT017

    def test_another_failure_to_lock_names_the_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def flock(*_: Any) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(OutputError, match=f"{tmp_path} cannot be locked"), only_writer(tmp_path):
            pass


class TestDataSets:
    @pytest.fixture
    def datasets(self) -> Any:
        return pytest.importorskip("datasets")

    @pytest.fixture
    def data(self, datasets: Any) -> Any:
        from tests.cpchub.images import an_image

        stream = io.BytesIO()
        an_image(1).save(stream, "PNG")
        rows = {"image": [{"bytes": stream.getvalue(), "path": None}] * 3}
        return datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()}))

    def test_a_streaming_one_is_refused_with_the_two_ways_out(self, data: Any, tmp_path: Path) -> None:
        for stream in (data.to_iterable_dataset(), data.to_iterable_dataset().map(lambda row: row)):
            with pytest.raises(SourceError, match=r"without streaming=True, or a part of it: Dataset\.from_list"):
                run(stream, tmp_path / "out")

    def test_the_second_way_works(self, data: Any, datasets: Any, tmp_path: Path) -> None:
        stream = data.to_iterable_dataset()
        part = datasets.Dataset.from_list(list(stream.take(2)), features=stream.features)
        assert len(run(part, tmp_path / "out")) == 2

    def test_the_parts_of_one_are_named(self, data: Any, datasets: Any, tmp_path: Path) -> None:
        for parts in (
            datasets.DatasetDict(train=data, test=data),
            datasets.IterableDatasetDict(train=data.to_iterable_dataset()),
        ):
            with pytest.raises(SourceError, match=r"parts of a data set \(train.*as data\['train'\]"):
                run(parts, tmp_path / "out")

    def test_a_row_that_cannot_be_read_is_that_images_failure(
        self, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = type(data).__getitem__

        def row(self: Any, key: Any) -> Any:
            if key == 1:
                raise pa.ArrowInvalid("the buffer is cut off")
            return whole(self, key)

        monkeypatch.setattr(type(data), "__getitem__", row)
        failures = run(data, tmp_path / "out").failures.to_pylist()
        assert [row["reason"] for row in failures] == ["the data set cannot be read (the buffer is cut off)"]


class TestCompiledNetworks:
    @pytest.mark.parametrize(
        "prefix",
        ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_orig_mod._orig_mod.", "_fsdp_wrapped_module."],
    )
    def test_what_torch_wraps_around_a_network_is_not_in_its_names(self, prefix: str, tmp_path: Path) -> None:
        network = torchvision_resnet().state_dict()
        torch.save({"state_dict": {f"{prefix}{name}": value for name, value in network.items()}}, tmp_path / "x.pth")
        plain = prefix.replace("_orig_mod.", "").replace("_fsdp_wrapped_module.", "")
        checkpoint = read_checkpoint(tmp_path / "x.pth")
        assert set(checkpoint.tensors) == {f"state_dict/{plain}{name}" for name in network}
        assert format_of(checkpoint).name == "torchvision"

    def test_a_part_of_a_network_may_be_compiled_alone(self, tmp_path: Path) -> None:
        names = {"backbone._orig_mod.layer1.0._checkpoint_wrapped_module.conv1.weight": Tensor([1.0])}
        torch.save(names, tmp_path / "x.pth")
        assert list(read_checkpoint(tmp_path / "x.pth").tensors) == ["backbone.layer1.0.conv1.weight"]

    def test_a_file_with_both_keeps_both(self, tmp_path: Path) -> None:
        names = {"_orig_mod.a.weight": Tensor([1.0]), "a.weight": Tensor([2.0])}
        assert dict(Checkpoint(tmp_path, names).tensors) == names
