"""Importing timm is quick: without torch's compiler, and with the garbage collector at rest."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from cpchub.common.quick_import import without_collecting

COMPILER = ("torch._dynamo", "torch._inductor", "sympy")


def in_a_new_interpreter(code: str) -> None:
    """Not in a fork that has torchvision: here all is imported, as by a user."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_encoder_is_loaded_and_encodes_without_the_compiler_which_is_there_when_it_is_used() -> None:
    in_a_new_interpreter(f"""
import sys
import cpchub
from cpchub.catalog.listing import bundled_encoder
from PIL import Image
encoder = cpchub.load(bundled_encoder())
assert encoder.encode([Image.new("RGB", (8, 8))]).shape == (1, encoder.dim)
assert [name for name in {COMPILER!r} if name in sys.modules] == []

import torch, torchvision
boxes = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
assert torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), boxes, 2).tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]
from torchvision.ops import roi_align
assert sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu") is True
assert torch._dynamo.utils.__file__
assert torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2)).tolist() == [1, 1]
assert torch.compiler.disable.__module__ == "torch.compiler"
from timm.layers import disable_compiler
assert disable_compiler(lambda x: 2 * x)(torch.ones(1)).item() == 2
""")


def test_what_the_stand_in_lacks_comes_from_the_true_module() -> None:
    in_a_new_interpreter("""
import sys
from cpchub.common.quick_import import DYNAMO_UTILS, dynamo_when_called
with dynamo_when_called():
    assert "torch._dynamo" not in sys.modules
    import torch._dynamo
assert sys.modules[DYNAMO_UTILS].__file__.endswith("utils.py")
assert torch._dynamo.utils.counters is sys.modules[DYNAMO_UTILS].counters
""")


def test_the_collector_is_as_it_was_afterwards_also_where_the_import_fails() -> None:
    def fails() -> None:
        assert not gc.isenabled()
        raise ValueError("not today")

    assert gc.isenabled()
    with pytest.raises(ValueError, match="not today"), without_collecting():
        fails()
    assert gc.isenabled()
    gc.disable()
    try:
        with without_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
