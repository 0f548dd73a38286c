"""Optional packages: import one, or say which command installs it."""

from __future__ import annotations

import shlex
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from cpchub.errors import DependencyError

INSTALLED_IN = Path(__file__).resolve().parents[2]  # site-packages, or a checkout
PINS = "constraints.txt"


def need(*modules: str, extra: str) -> None:
    """Raise DependencyError, with the command to run, unless all `modules` of an extra are installed."""
    missing = [name for name in modules if sys.modules.get(name) is None and find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise DependencyError(f"{' and '.join(missing)} {verb} not installed; run: {install_command(extra)}")


def import_extra(module: str, *, extra: str) -> ModuleType:
    """A module of an extra. Raises DependencyError, with the command to run, where it cannot be imported."""
    need(module, extra=extra)
    try:
        return import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"{module} is installed and cannot be imported ({error}); run: {install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """The command that installs an extra: of a checkout with the versions that it pins, else by the package's name."""
    if not ((INSTALLED_IN / "pyproject.toml").is_file() and (INSTALLED_IN / PINS).is_file()):
        return f'pip install "cpchub[{extra}]"'
    if Path.cwd() == INSTALLED_IN:
        return f'pip install -c {PINS} -e ".[{extra}]"'
    return f"pip install -c {shlex.quote(str(INSTALLED_IN / PINS))} -e {shlex.quote(f'{INSTALLED_IN}[{extra}]')}"
