"""Where an optional package is missing, the error has the one command that installs it from where cpchub came."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from cpchub.common import extras
from cpchub.common.extras import import_extra, install_command, need
from cpchub.errors import DependencyError


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, with a space in its name, that the package is taken to lie in."""
    folder = tmp_path / "my work"
    folder.mkdir()
    monkeypatch.setattr(extras, "INSTALLED_IN", folder)
    return folder


def as_a_checkout(folder: Path) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        (folder / name).touch()


def test_an_installed_package_is_named(checkout: Path) -> None:
    assert install_command("train") == 'pip install "cpchub[train]"'


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_one_of_the_two_files_makes_no_checkout(name: str, checkout: Path) -> None:
    (checkout / name).touch()
    assert install_command("train") == 'pip install "cpchub[train]"'


def test_inside_a_checkout_the_command_is_that_of_the_readme(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_a_checkout(checkout)
    monkeypatch.chdir(checkout)
    assert install_command("demo") == 'pip install -c constraints.txt -e ".[demo]"'


def test_elsewhere_the_command_says_where_the_checkout_is(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_a_checkout(checkout)
    monkeypatch.chdir(checkout.parent)
    words = shlex.split(install_command("demo"))
    assert words == ["pip", "install", "-c", f"{checkout}/constraints.txt", "-e", f"{checkout}[demo]"]


def test_every_extra_that_is_asked_for_is_one_of_the_package() -> None:
    """A hint that names no extra of pyproject.toml would install nothing and say nothing."""
    repository = Path(__file__).parents[3]
    section = (repository / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    known = set(re.findall(r"^(\w+) = \[", section.split("\n[")[0], re.MULTILINE))
    asked = set()
    for package in ("cpchub", "training", "serving"):
        for path in (repository / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            asked |= set(re.findall(r'(?:need|import_extra)\([^()]*extra="(\w+)"', text))
            asked |= set(re.findall(r'install_command\(["\'](\w+)["\']\)', text))
    assert asked <= known
    assert len(asked) >= 8


def test_all_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    need("json", extra="scale")
    with pytest.raises(DependencyError, match=r"^fsspec is not installed; run: pip install .*\[scale\]"):
        need("json", "fsspec", extra="scale")
    with pytest.raises(DependencyError, match=r"^fsspec and no_such_package are not installed"):
        need("fsspec", "json", "no_such_package", extra="scale")


def test_a_package_that_is_there_and_breaks_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_extra.py").write_text("import a_library_that_is_gone\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DependencyError, match=r"cannot be imported \(No module named 'a_library_that_is_gone'\)"):
        import_extra("broken_extra", extra="map")


def test_a_module_that_is_there_is_given() -> None:
    assert import_extra("json", extra="map") is sys.modules["json"]
