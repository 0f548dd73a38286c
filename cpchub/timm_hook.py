"""Register our networks with timm as soon as there is a timm to register them with.

timm has no discovery of plug-ins, and `import cpchub` must not import timm, which takes seconds. So where timm is
already there our networks register at once, and else a finder waits for `import timm` and adds them when that is done.
Either way `timm.create_model("cpc_resnet170")` works once both are imported, in whatever order.

The import itself is made quicker on the way, see `cpchub.common.quick_import`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from cpchub.common.quick_import import dynamo_when_called, without_collecting

if TYPE_CHECKING:
    from importlib.abc import Loader  # at run time it would double the time that `import cpchub` takes

TIMM = "timm"


def register_with_timm() -> None:
    """Register now if timm is imported, else when it is; calling it again does nothing."""
    if sys.modules.get(TIMM) is not None:
        _register()
    elif not any(isinstance(finder, _TimmFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TimmFinder())


class _TimmFinder:
    """Finds what the other finders find, and only for timm: with a loader that goes on to our networks."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != TIMM:
            return None
        for finder in [each for each in sys.meta_path if each is not self]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = cast("Loader", _TimmLoader(spec.loader, self))
                return spec
        return None


class _TimmLoader:
    """timm's own loader, in every respect but that our networks follow once timm has been executed."""

    def __init__(self, loader: Any, finder: _TimmFinder) -> None:
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader  # inspect and importlib.resources shall meet the true one
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with without_collecting(), dynamo_when_called():
            self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        _register()


def _register() -> None:
    try:
        import_module("cpchub.architectures")
    except Exception as error:  # noqa: BLE001  whatever is wrong with ours, `import timm` is not to fail for it
        warnings.warn(
            f"cpchub's networks are not registered with timm ({type(error).__name__}: {error}); timm works without "
            "them, and `import cpchub.architectures` shows where it fails",
            RuntimeWarning,
            stacklevel=2,
        )
