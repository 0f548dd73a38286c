"""Optional packages: what to say where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from cpchub.errors import (
    DependencyError,
)


def need(module: str, *, extra: str) -> None:
    """Raise DependencyError, with the command to run, unless `module` is installed."""
    if find_spec(module) is None:
        raise DependencyError(f'{module} is not installed; run: pip install "cpchub[{extra}]"')
