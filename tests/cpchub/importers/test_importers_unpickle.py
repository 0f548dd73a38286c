"""A checkpoint is read without executing it: made to run code, it is refused; damaged, it is a typed error."""

from __future__ import annotations

import argparse
import contextlib
import io
import pickle
import random
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cpchub.errors import CpchubError, ImportFormatError, UnsafeWeightsError
from cpchub.importers.readers.checkpoint import read_checkpoint
from cpchub.importers.readers.unpickle import unpickle
from tests.cpchub.foreign_checkpoints import MemoryBank
from tests.processes import at_most

LAYOUTS = {"zip": True, "the older one": False}
RAN: list[str] = []  # what a pickle has managed to run


def trap(*_: Any) -> None:
    RAN.append("a pickle ran this")


class Reduced:
    """Runs a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Built:
    """Runs code as its state is set."""

    def __setstate__(self, state: Any) -> None:
        trap()

    def __getstate__(self) -> dict[str, int]:
        return {"x": 1}


@pytest.fixture(autouse=True)
def _nothing_runs() -> Any:
    RAN.clear()
    yield
    assert not RAN


def save(folder: Path, content: Any, new: bool = True) -> Path:
    torch.save(content, folder / "checkpoint.pth", _use_new_zipfile_serialization=new)
    return folder / "checkpoint.pth"


def read_pickle(data: bytes) -> Any:
    return unpickle(io.BytesIO(data), "a pickle")[0]


@pytest.mark.parametrize("new", LAYOUTS.values(), ids=LAYOUTS)
class TestLayouts:
    def test_tensors_of_every_kind_come_back(self, new: bool, tmp_path: Path) -> None:
        base = torch.arange(24, dtype=torch.float32)
        kinds = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8]
        content: dict[str, Any] = {str(kind): base.to(kind) for kind in (*kinds, torch.uint8)}
        content |= {"bool": base > 3, "transposed": base.reshape(4, 6).t(), "part": base[5:9], "scalar": base[7]}
        content |= {"empty": torch.zeros(0, 3), "parameter": torch.nn.Parameter(base), "every third": base[::3]}
        checkpoint = read_checkpoint(save(tmp_path, {"state_dict": OrderedDict(content)}, new))
        assert set(checkpoint.tensors) == {f"state_dict/{name}" for name in content}
        for name, value in content.items():
            read = checkpoint.tensors[f"state_dict/{name}"]
            assert read.dtype == value.dtype
            assert torch.equal(read, value)

    def test_other_values_are_plain_ones(self, new: bool, tmp_path: Path) -> None:
        content = {
            "epoch": np.int64(3),
            "best": np.float64(0.5),
            "opt": argparse.Namespace(lr=0.1, milestones=[1, 2], where=Path("runs")),
            "size": torch.Size([2, 3]),
            "type": torch.float32,
            "device": torch.device("cpu"),
            "nothing": None,
        }
        meta = read_checkpoint(save(tmp_path, content, new)).meta
        assert (meta["epoch"], meta["best"], meta["size"], meta["device"]) == (3, 0.5, [2, 3], "cpu")
        assert (meta["opt"]["lr"], meta["opt"]["milestones"]) == (0.1, [1, 2])
        assert meta["type"] == "torch.float32"

    def test_a_pickled_network_has_the_names_of_its_state_dict(self, new: bool, tmp_path: Path) -> None:
        network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Sequential(torch.nn.BatchNorm1d(3)))
        alone = read_checkpoint(save(tmp_path, network, new))
        assert list(alone.tensors) == list(network.state_dict())
        inside = read_checkpoint(save(tmp_path, {"net": network, "bank": MemoryBank()}, new))
        assert list(inside.tensors) == [*(f"net/{name}" for name in network.state_dict()), "bank/memory", "bank/params"]

    def test_a_call_that_runs_code_is_refused(self, new: bool, tmp_path: Path) -> None:
        import os

        marker = tmp_path / "ran"
        for function, argument in ((os.system, f"touch {marker}"), (exec, "trap()"), (eval, "1"), (__import__, "os")):
            path = save(tmp_path, {"state_dict": {"w": torch.zeros(1)}, "x": Reduced(function, argument)}, new)
            with pytest.raises(UnsafeWeightsError, match="was not imported and nothing of it was run"):
                read_checkpoint(path)
        assert not marker.exists()

    def test_calls_and_objects_of_other_code_stay_undone(self, new: bool, tmp_path: Path) -> None:
        content = {"w": torch.ones(2), "call": Reduced(trap, 1), "object": Built()}
        checkpoint = read_checkpoint(save(tmp_path, content, new))
        assert torch.equal(checkpoint.tensors["w"], torch.ones(2))
        assert checkpoint.meta["object"] == {"x": 1}


class TestPrograms:
    """Pickles written by hand, operation by operation."""

    @pytest.mark.parametrize(
        "program",
        [
            b"cos\nsystem\n(S'true'\ntR.",  # GLOBAL, REDUCE
            b"(S'true'\nios\nsystem\n.",  # INST
            b"(cos\nsystem\nS'true'\no.",  # OBJ
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",  # STACK_GLOBAL
            b"\x80\x02csubprocess\nPopen\n)\x81.",  # NEWOBJ
            b"\x80\x04csubprocess\nPopen\n)}\x92.",  # NEWOBJ_EX
            b"c__builtin__\neval\n(S'1'\ntR.",  # Python 2's names
            b"cbuiltins\ngetattr\n(cbuiltins\n__import__\nS'x'\ntR.",
            b"cimportlib\nimport_module\n.",
            b"ccopyreg\nadd_extension\n.",
            b"cpickle\nloads\n(S'x'\ntR.",
            b"cos.path\njoin\n.",
        ],
    )
    def test_whatever_way_a_name_is_reached_it_is_refused(self, program: bytes) -> None:
        with pytest.raises(UnsafeWeightsError):
            read_pickle(program)

    @pytest.mark.parametrize(
        "program",
        [
            b"",
            b"N",  # no end
            b".",  # nothing on the stack
            b"(.",  # a mark as the result
            b"t.",  # a tuple without a mark
            b"h\x05.",  # what was never memorised
            b"\x82\x01.",  # a registered extension
            b"Px\n.",  # a persistent id in text
            b"NQ.",  # a reference to nothing
            b"NNNs.",  # a key and a value for nothing
            b"NNb.",  # a state for nothing
            b"N(NNe.",  # elements for nothing
            b"\x80\x02X\xff\xff\xff\x7fabc.",  # text longer than the file
            b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes longer than any memory
            b"I12x\n.",
            b"\x97.",  # an out-of-band buffer
            b"\x00",
        ],
    )
    def test_a_program_that_is_not_complete_is_a_typed_error(self, program: bytes) -> None:
        with pytest.raises(ImportFormatError):
            read_pickle(program)

    def test_a_path_is_harmless_whichever_python_wrote_it(self) -> None:
        for module in (b"pathlib", b"pathlib._local"):
            assert read_pickle(b"c" + module + b"\nPosixPath\n(S'runs'\ntR.").args == ("runs",)

    def test_nesting_does_not_end_the_process(self) -> None:
        depth = 200_000
        assert read_pickle(b"]" * depth + b"a" * (depth - 1) + b".") is not None
        assert read_pickle(b"})" + b"\x85" * depth + b"Ns.") is not None  # as the key of a dictionary

    def test_calls_within_calls_do_not_end_the_process(self) -> None:
        rebuild = b"ctorch._tensor\n_rebuild_from_type_v2\n"
        depth = 20_000
        nested = rebuild + (b"(" + rebuild + b"N") * depth + b")" + b"t" * depth + b"R."
        assert read_pickle(nested) is not None

    def test_a_short_pickle_cannot_ask_for_much_memory_or_time(self, tmp_path: Path) -> None:
        doubling = b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(80)) + b"."
        text = b"X" + struct.pack("<I", 10_000) + b"a" * 10_000 + b"q\x00"
        copies = b"c_codecs\nencode\nq\x01(" + b"h\x01h\x00X\x06\x00\x00\x00latin1\x86R" * 1000 + b"t."
        with at_most(cpu_seconds=5):
            assert read_pickle(doubling) is not None
            assert len(read_pickle(text + copies)) == 1000

    @pytest.mark.parametrize(
        "program",
        {
            "arguments with keywords": b"(" + b"N" * 30_000 + b"tq\x00)q\x01ctorch\nSize\nq\x02("
            + b"h\x02h\x00h\x01\x92" * 5_000 + b"t.",
            "arguments": b"ccollections\nOrderedDict\nq\x02(" + b"N" * 100_000 + b"tq\x00("
            + b"h\x02h\x00R0" * 10_000 + b"t.",
            "what are no pairs": b"ccollections\nOrderedDict\nq\x02(" + b"]" + b"(" + b"NN\x86" * 30_000
            + b"Ne\x85q\x00(" + b"h\x02h\x00R0" * 10_000 + b"t.",
            "a name": b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000 + b"q\x00h\x00\x93q\x01)q\x02("
            + b"h\x01h\x02R" * 5_000 + b"t.",
            "a number": b"\x8b" + struct.pack("<I", 1_000_000) + b"\x7f" * 1_000_000 + b"q\x00}("
            + b"h\x00N" * 50_000 + b"u.",
        }.values(),
        ids=["arguments with keywords", "arguments", "what are no pairs", "a name", "a number"],
    )  # fmt: skip
    def test_what_is_long_is_not_copied_or_read_over_and_over(self, program: bytes) -> None:
        tracemalloc.start()
        with at_most(cpu_seconds=10), contextlib.suppress(ImportFormatError):  # refused at once is as good
            read_pickle(program)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000_000

    def test_what_it_holds_is_listed_in_bounded_time(self, tmp_path: Path) -> None:
        shared: list[Any] = [torch.ones(1)]
        for _ in range(50):
            shared = [shared, shared]
        with at_most(cpu_seconds=5):
            checkpoint = read_checkpoint(save(tmp_path, {"w": torch.ones(2), "shared": shared}))
        assert len(checkpoint.tensors) == 2


class TestNames:
    def test_keys_that_read_the_same_are_told_apart(self, tmp_path: Path) -> None:
        nan = {float("nan"): torch.full((1,), float(number)) for number in range(3)}
        found = read_checkpoint(save(tmp_path, {1: torch.zeros(1), "1": torch.ones(1), "n": nan})).tensors
        assert list(found) == ["1", "1 (2)", "n/nan", "n/nan (2)", "n/nan (3)"]
        assert [float(found[name]) for name in list(found)[2:]] == [0.0, 1.0, 2.0]

    def test_long_ways_are_refused_before_they_are_written_out_for_every_tensor(self, tmp_path: Path) -> None:
        nested: dict[str, Any] = {str(number): torch.ones(1) for number in range(5)}
        for number in range(10):
            nested = {f"{number}" * 300: nested}
        with pytest.raises(ImportFormatError, match="a way of 1,2"):
            read_checkpoint(save(tmp_path, nested))


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


def valid_files(folder: Path) -> list[bytes]:
    content = {
        "state_dict": OrderedDict(w=torch.ones(2, 3), b=torch.zeros(3, dtype=torch.int64)),
        "opt": argparse.Namespace(lr=0.1),
        "best": np.float64(0.5),
        "bank": MemoryBank(),
        "call": Reduced(trap, 1),
    }
    return [save(folder, content, new).read_bytes() for new in LAYOUTS.values()]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file with a few bytes changed, a part cut out, repeated or put elsewhere, or its end missing."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if len(changed) < 2:
            break
        at, length = rng.randrange(len(changed)), rng.randrange(1, 16)
        match rng.randrange(5):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case 3:
                changed[at:at] = rng.choice((b"cos\nsystem\n", b"R", b"b", b"o", b"\x81", b"(", b"\x86R", b"0", b"2"))
            case 4:
                del changed[max(1, at) :]
    return bytes(changed) or b"\x80"


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_never_runs_never_hangs_and_ends_in_a_typed_error(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    files = valid_files(tmp_path)
    path, refused = tmp_path / "mutated.pth", 0
    for number in range(300):
        path.write_bytes(mutated(files[number % 2], rng))
        try:
            with at_most(cpu_seconds=5):
                checkpoint = read_checkpoint(path)
            assert all(isinstance(value, torch.Tensor) for value in checkpoint.tensors.values())
        except CpchubError:
            refused += 1
    assert 100 < refused < 300  # damage is noticed, and small damage to values cannot be
    assert not RAN


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_pickle_never_runs_never_hangs_and_ends_in_a_typed_error(seed: int, tmp_path: Path) -> None:
    rng = random.Random(100 + seed)
    with zipfile.ZipFile(
        save(tmp_path, {"w": torch.ones(2), "n": argparse.Namespace(a=1), "x": Reduced(trap)})
    ) as file:
        (name,) = [each for each in file.namelist() if each.endswith("data.pkl")]
        data = file.read(name)
    for _ in range(1500):
        try:
            read_pickle(mutated(data, rng))
        except (ImportFormatError, UnsafeWeightsError):
            continue
