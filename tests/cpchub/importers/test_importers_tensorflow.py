"""TensorFlow's checkpoints read without it, against files that TensorFlow wrote (tests/data/make_tf_simclr.py)."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from cpchub.errors import ImportFormatError
from cpchub.importers.readers.tensorflow import TensorBundle, is_checkpoint, read
from cpchub.importers.readers.tf_objects import LONGEST_WAY, ways
from cpchub.importers.readers.wire import DamagedError
from tests.cpchub.importers.leveldb import graph, table

DATA = Path(__file__).parents[2] / "data"
NUMPY_NAMES = {"half": "float16"}
PREFIX = "model.ckpt-7"
TENSORS = DATA / "tf_tensors" / PREFIX


class TestWhatTensorFlowWrote:
    @pytest.mark.parametrize("folder", ["tf_tensors", "tf_simclr_v1", "tf_simclr_v2_sk", "tf_simclr_basic"])
    def test_every_tensor_is_the_same_to_the_bit(self, folder: str) -> None:
        digests = json.loads((DATA / folder / "digests.json").read_text())
        bundle = TensorBundle(DATA / folder / PREFIX)
        assert set(digests) == set(bundle) - {"sliced", "words"}
        for name, (dtype, shape, digest) in digests.items():
            tensor = bundle[name]
            assert str(tensor.dtype) == f"torch.{NUMPY_NAMES.get(dtype, dtype)}"
            assert list(tensor.shape) == shape
            raw = bytes(tensor.contiguous().flatten().view(torch.uint8).numpy()) if tensor.numel() else b""
            assert hashlib.sha256(raw).hexdigest() == digest

    def test_several_data_files_are_one_checkpoint(self) -> None:
        bundle = TensorBundle(TENSORS)
        assert bundle.shards == 3
        assert {entry.shard for entry in bundle.entries.values()} == {0, 1, 2}

    def test_text_and_slices_are_listed_and_refused_by_name(self) -> None:
        bundle = TensorBundle(TENSORS)
        with pytest.raises(ImportFormatError, match="words has TensorFlow's type 7"):
            bundle["words"]
        with pytest.raises(ImportFormatError, match="sliced is saved in slices"):
            bundle["sliced"]


class TestSavedModel:
    SAVED = DATA / "tf_saved_model"

    @pytest.mark.parametrize("name", ["", "saved_model.pb", "variables", "variables/variables.index"])
    def test_its_variables_are_called_by_their_way_through_the_objects(self, name: str) -> None:
        assert is_checkpoint(self.SAVED / name)
        tensors = read(self.SAVED / name).tensors
        values = {key.partition("/.")[0]: tensors[key].tolist() for key in tensors if "/" in key}
        assert values == {"network/layers/0/kernel": [[1, 2]], "network/layers/0/bias": [3], "lonely/0": [4]}

    def test_a_damaged_description_of_its_objects_is_refused(self, tmp_path: Path) -> None:
        shutil.copytree(self.SAVED, tmp_path / "broken")
        changed(tmp_path / "broken" / "variables" / "variables.data-00000-of-00001", at=30)
        with pytest.raises(ImportFormatError, match="_CHECKPOINTABLE_OBJECT_GRAPH cannot be read"):
            read(tmp_path / "broken")

    def test_without_its_variables_it_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "saved_model.pb").touch()
        with pytest.raises(ImportFormatError, match=r"variables\.index cannot be read: No such file"):
            read(tmp_path)

    def test_objects_that_refer_to_one_another_end_somewhere(self) -> None:
        circle = graph({"again": 0, "next": 1}, {"back": 0, "here": 1, "value": 2}, variable="key")
        assert ways(circle) == {"key": "next/value/.ATTRIBUTES/VARIABLE_VALUE"}

    def test_names_that_grow_without_end_are_not_followed(self) -> None:
        assert ways(graph({"x" * LONGEST_WAY: 1}, {"value": 2}, variable="key")) == {}

    def test_an_object_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(DamagedError, match="object 9 of 2"):
            ways(graph({"next": 9}, variable="key"))


class TestFinding:
    @pytest.mark.parametrize(
        "name", ["", PREFIX, f"{PREFIX}.index", f"{PREFIX}.data-00000-of-00001", f"{PREFIX}.meta", "checkpoint"]
    )
    def test_any_of_its_files_stands_for_the_checkpoint(self, name: str) -> None:
        path = DATA / "tf_simclr_v1" / name
        assert is_checkpoint(path)
        found = read(path)
        assert (found.path.name, found.container) == (f"{PREFIX}.index", "tensorflow")
        assert "base_model/conv2d/kernel" in found.tensors

    def test_other_files_and_folders_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "checkpoint").write_bytes(b"\x80\x02 a pickle that is called so")
        (tmp_path / "weights.pth").touch()
        assert not any(map(is_checkpoint, (tmp_path, tmp_path / "checkpoint", tmp_path / "weights.pth")))

    def test_of_several_the_one_that_the_folder_calls_its_latest_is_read(self, copied: Path) -> None:
        for file in list(copied.parent.glob(f"{PREFIX}*")):
            shutil.copy(file, file.with_name(file.name.replace("7", "12", 1)))
        with pytest.raises(
            ImportFormatError, match=r"model\.ckpt-12\.index, model\.ckpt-7\.index; name the checkpoint"
        ):
            read(copied.parent)
        state = 'model_checkpoint_path: "/where/it/was/written/model.ckpt-12"\n'
        (copied.parent / "checkpoint").write_text(state)
        assert read(copied.parent).path.name == "model.ckpt-12.index"


class TestDamage:
    def test_a_changed_byte_of_a_tensor_is_refused(self, copied: Path) -> None:
        changed(copied.with_name(f"{PREFIX}.data-00000-of-00003"), at=0)
        with pytest.raises(ImportFormatError, match=r"data-00000-of-00003: \w+ cannot be read: its bytes do not have"):
            list(TensorBundle(copied).values())

    @pytest.mark.parametrize("at", [3, 200, -45])
    def test_a_changed_byte_of_the_index_is_refused(self, copied: Path, at: int) -> None:
        index = copied.with_name(f"{PREFIX}.index")
        changed(index, at)
        with pytest.raises(
            ImportFormatError, match=r"model\.ckpt-7\.index cannot be read: .*copy or download it again"
        ):
            TensorBundle(copied)

    @pytest.mark.parametrize("kept", [0, 47, 300, -1])
    def test_an_index_that_is_cut_off_is_refused(self, copied: Path, kept: int) -> None:
        index = copied.with_name(f"{PREFIX}.index")
        index.write_bytes(index.read_bytes()[:kept])
        with pytest.raises(ImportFormatError, match="does not end as a table does"):
            TensorBundle(copied)

    def test_data_that_is_cut_off_is_refused(self, copied: Path) -> None:
        data = copied.with_name(f"{PREFIX}.data-00000-of-00003")
        data.write_bytes(data.read_bytes()[:-1])
        with pytest.raises(ImportFormatError, match=r"it ends at byte 420 of a file of 419"):
            list(TensorBundle(copied).values())

    @pytest.mark.parametrize("shard", ["index", "data-00001-of-00003"])
    def test_a_file_that_is_missing_is_named(self, copied: Path, shard: str) -> None:
        path = copied.with_name(f"{PREFIX}.{shard}")
        path.unlink()
        with pytest.raises(ImportFormatError, match=rf"{path.name}.*No such file"):
            list(TensorBundle(copied).values())

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (b"\x08\x01\x12\x04\x12\x02\x08\x02\x28\x04", "4 bytes, not the 8 of its shape"),
            (b"\x08\x01\x12\x04\x12\x02\x08\x02\x20\x08\x28\x08", "it ends at byte 16 of a file of 8"),
            (b"\x08\x01\x12\x0d\x12\x0b\x08" + b"\xff" * 9 + b"\x01", "a shape that none has"),  # a size of -1
            (b"\x08\x01\x18\x05", "data file 5 of 1"),
            (b"\x08", "cut off"),
            (b"\x08\x01\x12\x7f", "outside"),
            (b"\x0a\x00", "bytes where a number belongs"),
            (b"\x0b", "kind 3"),
        ],
    )
    def test_an_index_that_lies_with_good_checksums_is_refused(
        self, tmp_path: Path, entry: bytes, message: str
    ) -> None:
        prefix = tmp_path / "lie"
        prefix.with_name("lie.data-00000-of-00001").write_bytes(bytes(8))
        prefix.with_name("lie.index").write_bytes(table({b"": b"\x08\x01", b"weight": entry}))
        with pytest.raises(ImportFormatError, match=message):
            TensorBundle(prefix)["weight"]

    @pytest.mark.parametrize(
        ("header", "message"),
        [(b"\x08\x01\x10\x01", "big-endian"), (b"\x08\x01\x1a\x02\x10\x02", "version 2"), (b"", "0 data files")],
    )
    def test_a_header_that_asks_for_more_than_can_be_read_is_refused(
        self, tmp_path: Path, header: bytes, message: str
    ) -> None:
        (tmp_path / "x.index").write_bytes(table({b"": header}))
        with pytest.raises(ImportFormatError, match=message):
            TensorBundle(tmp_path / "x")

    def test_a_checkpoint_of_version_1_is_said_to_be_one(self, tmp_path: Path) -> None:
        (tmp_path / "x.index").write_bytes(table({b"weight": b""}))
        with pytest.raises(ImportFormatError, match="no header"):
            TensorBundle(tmp_path / "x")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the checkpoint with three data files, to be broken."""
    shutil.copytree(TENSORS.parent, tmp_path / "broken")
    return tmp_path / "broken" / PREFIX


def changed(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
