"""A checkpoint is read without executing it: what would run code is refused, or stays undone."""

from __future__ import annotations

import argparse
import contextlib
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cpchub.errors import ImportFormatError, UnsafeWeightsError
from cpchub.importers.readers.checkpoint import read_checkpoint
from tests.cpchub.foreign_checkpoints import MemoryBank
from tests.cpchub.importers.traps import LAYOUTS, Built, Reduced, read_pickle, save, trap
from tests.processes import at_most


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
