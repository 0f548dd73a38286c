"""Large libraries imported in less time: what their import does without need is put off, or left out."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

DYNAMO = "torch._dynamo"
DYNAMO_UTILS = f"{DYNAMO}.utils"


@contextmanager
def without_collecting() -> Iterator[None]:
    """Stop the garbage collector for an import.

    A library makes hundreds of thousands of objects that stay. The collector looks through all of them again and again,
    a fifth of the time that torch, torchvision and timm take to import.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def dynamo_when_called() -> Iterator[None]:
    """Let timm and torchvision import torch's compiler when they call it, not while they are imported.

    The compiler takes half as long to import as torch, and an encoder does not need it. Two places import it at once:

    - torchvision takes `is_compile_supported` from `torch._dynamo.utils` for `roi_align`. Meanwhile a stand-in has that
      name among the loaded modules. Whoever asks it for anything else gets that of the true module.
    - timm marks methods with `torch.compiler.disable`. They are marked with `torch._disable_dynamo` instead, which
      torch has for the same purpose: it does the same at the first call of the method.
    """
    if DYNAMO_UTILS in sys.modules or "torchvision" in sys.modules:
        yield
        return
    try:
        import torch
    except ImportError:  # whoever needs it will say so
        yield
        return
    disable = torch.compiler.disable

    def disabled(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
        """`torch.compiler.disable`, which imports nothing where the compiler is not imported yet."""
        if DYNAMO in sys.modules:
            return disable(fn, recursive, reason=reason)
        return torch._disable_dynamo(fn, recursive)  # type: ignore[attr-defined]

    stand_in = _StandIn(DYNAMO_UTILS)
    sys.modules[DYNAMO_UTILS] = stand_in
    torch.compiler.disable = disabled
    try:
        yield
    finally:
        torch.compiler.disable = disable
        stand_in.leave()


class _StandIn(ModuleType):
    """Has the names of a module, and imports it when one of them is asked for."""

    def is_compile_supported(self, device_type: str) -> bool:
        """As in the true module."""
        return bool(self._true().is_compile_supported(device_type))

    def leave(self) -> None:
        """Make room for the true module."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def _true(self) -> ModuleType:
        self.leave()
        return import_module(self.__name__)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks at __spec__ and __path__
            raise AttributeError(name)
        return getattr(self._true(), name)
