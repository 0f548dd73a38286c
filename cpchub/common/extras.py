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


def need(*modules: str, extra: str | None) -> None:
    """Raise DependencyError, with the command to run, unless all `modules` are installed.

    extra: ours that brings them; None for packages that none brings, whose modules have their names.
    """
    missing = [name for name in modules if not is_installed(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise DependencyError(f"{' and '.join(missing)} {verb} not installed; run: {_command(missing, extra)}")


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    return sys.modules.get(module) is not None or (module not in sys.modules and find_spec(module) is not None)


def import_extra(module: str, *, extra: str | None) -> ModuleType:
    """A module, with `extra` as for `need`. Raises DependencyError, with the command to run, if the import fails."""
    need(module, extra=extra)
    try:
        return import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"{module} is installed and cannot be imported ({error}); run: {_command([module], extra)}"
        ) from error


def install_command(extra: str) -> str:
    """The command that installs an extra: of a checkout with the versions that it pins, else by the package's name."""
    if not _in_checkout():
        return f'pip install "cpchub[{extra}]"'
    place = f'".[{extra}]"' if Path.cwd() == INSTALLED_IN else shlex.quote(f"{INSTALLED_IN}[{extra}]")
    return f"pip install {_pins()}-e {place}"


def install_packages(*names: str) -> str:
    """The command that installs packages that no extra brings; a checkout pins what they depend on."""
    return f"pip install {_pins()}{shlex.join(names)}"


def _command(modules: list[str], extra: str | None) -> str:
    return install_packages(*modules) if extra is None else install_command(extra)


def _in_checkout() -> bool:
    return (INSTALLED_IN / "pyproject.toml").is_file() and (INSTALLED_IN / PINS).is_file()


def _pins() -> str:
    if not _in_checkout():
        return ""
    return f"-c {PINS} " if Path.cwd() == INSTALLED_IN else f"-c {shlex.quote(str(INSTALLED_IN / PINS))} "
