"""A checkpoint whose tensors do not fit their storages, or that is a file of another kind, is refused."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cpchub.errors import ImportFormatError
from cpchub.importers.readers.checkpoint import read_checkpoint
from tests.cpchub.importers.traps import save


def tensor_pickle(offset: int, size: tuple[int, ...], stride: tuple[int, ...], count: int = 4) -> bytes:
    storage = object()

    class Writer(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if obj is storage else None

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, OrderedDict())

    stream = io.BytesIO()
    Writer(stream, protocol=2).dump({"w": Tensor()})
    return stream.getvalue()


def zip_of(folder: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(folder / "checkpoint.pth", "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return folder / "checkpoint.pth"


class TestTensors:
    def test_one_that_fits_its_storage_is_read(self, tmp_path: Path) -> None:
        data = np.arange(4, dtype="<f4").tobytes()
        path = zip_of(tmp_path, {"data.pkl": tensor_pickle(1, (3,), (1,)), "data/0": data})
        assert read_checkpoint(path).tensors["w"].tolist() == [1.0, 2.0, 3.0]

    @pytest.mark.parametrize(
        ("offset", "size", "stride"),
        [
            (1, (4,), (1,)),
            (-1, (2,), (1,)),
            (0, (2,), (9,)),
            (0, (2,), (-1,)),
            (0, (-2,), (1,)),
            (0, (10**6, 10**6), (0, 0)),  # a few bytes that would become terabytes
            (0, (2**62, 2**62, 0), (1, 1, 1)),
            (0, (1,) * 40, (1,) * 40),
            (0, (2, 2), (1,)),
        ],
    )
    def test_one_that_reaches_beyond_its_storage_is_refused(
        self, offset: int, size: tuple[int, ...], stride: tuple[int, ...], tmp_path: Path
    ) -> None:
        path = zip_of(tmp_path, {"data.pkl": tensor_pickle(offset, size, stride), "data/0": bytes(16)})
        with pytest.raises(ImportFormatError):
            read_checkpoint(path)

    def test_a_storage_shorter_than_it_says_is_refused(self, tmp_path: Path) -> None:
        path = zip_of(tmp_path, {"data.pkl": tensor_pickle(0, (4,), (1,)), "data/0": bytes(12)})
        with pytest.raises(ImportFormatError, match="storage 0 has 12 bytes, 16 are needed"):
            read_checkpoint(path)

    def test_a_missing_storage_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportFormatError, match="lacks data/0"):
            read_checkpoint(zip_of(tmp_path, {"data.pkl": tensor_pickle(0, (4,), (1,))}))

    def test_a_compressed_storage_is_refused(self, tmp_path: Path) -> None:
        members = {"data.pkl": tensor_pickle(0, (4,), (1,)), "data/0": bytes(16)}
        with pytest.raises(ImportFormatError, match="compressed"):
            read_checkpoint(zip_of(tmp_path, members, zipfile.ZIP_DEFLATED))

    def test_the_file_is_not_written_to(self, tmp_path: Path) -> None:
        path = save(tmp_path, {"w": torch.ones(3)})
        before = path.read_bytes()
        read_checkpoint(path).tensors["w"].add_(1)
        assert path.read_bytes() == before


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty"),
            (b"\x1f\x8b" + bytes(600), "gzip"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
            (bytes(257) + b"ustar" + bytes(300), "a tar archive"),
            (b"hello", "neither torch.save's nor safetensors"),
            (pickle.dumps({"a": 1}), "not one that torch.save wrote"),
            (b"PK\x03\x04" + bytes(100), "not a complete zip"),
            (struct.pack("<Q", 20) + b"{" + bytes(100), "not safetensors"),
        ],
    )
    def test_a_file_of_another_kind_is_told_by_what_it_is(self, content: bytes, said: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ImportFormatError, match=said):
            read_checkpoint(tmp_path / "file")

    def test_torchscript_is_a_program_and_not_opened(self, tmp_path: Path) -> None:
        path = zip_of(tmp_path, {"data.pkl": b"N.", "constants.pkl": b"N."})
        with pytest.raises(ImportFormatError, match="TorchScript"):
            read_checkpoint(path)

    def test_a_big_endian_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ImportFormatError, match="big-endian"):
            read_checkpoint(zip_of(tmp_path, {"data.pkl": b"N.", "byteorder": b"big"}))
